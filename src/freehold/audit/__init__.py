"""What the ledger says about each task: volume, tokens, cost at dated prices, latency, rhythm, and what follows.

Growth and a back-tested forecast, what could be saved today, how ordinary the work is, and what to do first. No chart.
"""
