"""Claims about costs as data: each is computed again, judged by rules, and solved for what would make it true.

Pure functions of values, like the rest of the room; docs/decisions/0011-claims.md has the rules.
"""
