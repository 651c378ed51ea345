"""Shared rules about text: personal data, fingerprints, near-duplicates and the small linear probe.

Nothing here reads a file or loads a language model.
"""
