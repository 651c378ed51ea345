"""Turns recorded calls and what humans said about them into immutable training, validation and test sets.

Deduplication, splitting, masking and the check for leaks live here; models do not.
"""
