"""Who answers a task's held-out cases how well, compared case by case, and the verdict that follows.

It speaks to models through the `ChatModel` protocol, never trains one, and its verdict is a pure function.
"""
