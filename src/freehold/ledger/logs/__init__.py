"""Logs of other tools, brought into the ledger: which files, of which format, row by row, each one accounted for.

`format.py` says what a format is, `formats/` has one module for each, `engine.py` does the import.
"""
