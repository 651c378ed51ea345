"""Engines that run an own model, the files they read, and the OpenAI-compatible endpoint in front of them.

The proxy to rented models is never here.
"""
