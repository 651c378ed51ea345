"""What renting and owning cost: dated prices, the capacity of a replica, break-even volumes, Monte Carlo.

Pure functions of values: no clock, no database, no network; `facts` alone reads files, the shipped tables.
"""
