"""The ledger keeps every call that was made or imported, as Parquet files by day that anyone can query.

Tokens are facts and stand here; prices do not: cost is derived when the ledger is read.
"""
