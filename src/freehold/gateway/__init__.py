"""The proxy in front of all models: every call passes as it came, and is on record before its last byte leaves.

It knows providers by their address and dialect, never by the engine behind it, and it computes no prices.
"""
