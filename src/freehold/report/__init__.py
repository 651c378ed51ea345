"""Results as files and lines that people read: plain text for the terminal, one HTML page, SVG figures.

No number is computed here; it is looked up in a record, rounded for people and shown with its unit.
"""
