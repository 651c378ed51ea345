"""What humans said the answers should have been: kept beside the calls, never in place of them.

Capture and reading live here; what may train is decided where datasets are built.
"""
