"""What the ledger says about each task: volume, tokens, cost at dated prices, latency, rhythm.

It looks back only: no forecast beyond a monthly volume, no chart.
"""
