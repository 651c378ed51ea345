"""The commands: parse, load, call one function of the domain, show its result, choose the exit code.

Objects are put together here and nowhere else.
"""
