"""The words of the trade: messages, calls, tasks, errors and the protocols between rooms.

Nothing here does input or output, reads settings or imports a third-party package.
"""
