"""Regular expressions whose cost has a bound that is known before they meet a text.

Python's engine backtracks: some patterns take time that grows with a power of the text, or exponentially. A pattern is
taken only if the ways in which it can match at one place of a short text are few, counted from its own structure.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

LONGEST_TEXT = 1_024
"""Characters of a text that patterns look at."""
MOST_WAYS = 2_048
"""With them a search ends after about two million steps at worst: some ten milliseconds."""
_LONGEST_PATTERN = 500

# The standard library's own reader of patterns: it has no public name since `sre_parse` was retired.
_reader: Any = importlib.import_module("re._parser")  # Any: it has no type stubs


def compile_bounded(pattern: str) -> re.Pattern[str]:
    """The pattern, ready to search the first LONGEST_TEXT characters of a text.

    Raises:
        ValueError: it is no pattern, or it may take too long. The message says which.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"is longer than {_LONGEST_PATTERN} characters")
    try:
        tree = _reader.parse(pattern)
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression ({error})") from error
    if _ways(tree) > MOST_WAYS:
        raise ValueError(
            "may take too long on some texts: several of its parts can each match in many ways. "
            "Bound them, as in 'invoice.{0,40}due' for 'invoice.*due'"
        )
    return compiled


def _ways(tree: Any) -> int:  # Any: the reader's own lists of (operator, arguments)
    """In how many ways a pattern can match at one place, at most; capped a little above MOST_WAYS."""
    ways = 1
    for operator, arguments in tree:
        ways = min(ways * _ways_of_part(str(operator), arguments), MOST_WAYS + 1)
    return ways


def _ways_of_part(operator: str, arguments: Any) -> int:  # Any: differs by operator
    match operator:
        case "BRANCH":
            return sum(map(_ways, arguments[1]))
        case "SUBPATTERN" | "ASSERT" | "ASSERT_NOT":
            return _ways(arguments[-1])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, repeated = arguments
            return _ways_of_repeat(least, min(int(most), LONGEST_TEXT), _ways(repeated))
        case "ATOMIC_GROUP":
            return _ways(arguments)
        case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY" | "AT":
            return 1
        case _:  # references to groups, whose cost depends on the text
            return MOST_WAYS + 1


def _ways_of_repeat(least: int, most: int, each: int) -> int:
    """Ways of `least` to `most` repetitions of something that can match in `each` ways."""
    if each == 1:
        return most - least + 1
    total = 0
    for times in range(least, most + 1):
        total += each**times
        if total > MOST_WAYS:
            return MOST_WAYS + 1
    return total
