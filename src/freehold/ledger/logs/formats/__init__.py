"""One module for each format of log that can be imported; `table.py` lists them, most specific first."""
