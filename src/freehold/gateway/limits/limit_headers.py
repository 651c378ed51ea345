"""What is left of a key's limits, in the headers that OpenAI's clients know.

`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`. Of several limits of one measure the one is told that is
nearest to its end. What is left is what this worker knows: what other workers have spent since they were last heard of
(a second ago) is not in it, and what calls under way have reserved is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from freehold.gateway.http.headers import Header
    from freehold.gateway.limits.slices import Slice

_MEASURES = ("requests", "tokens")
NAMES = frozenset(
    f"x-ratelimit-{what}-{measure}".encode() for what in ("limit", "remaining", "reset") for measure in _MEASURES
)


def limit_headers(slices: Iterable[Slice], at: float) -> tuple[Header, ...]:
    """The headers.

    Args:
        slices: Of the key's limits, in the windows that run.
        at: Now, in seconds since 1970.
    """
    nearest: dict[str, tuple[int, Slice]] = {}
    for one in slices:
        measure = one.account.measure
        left = max(0, one.account.limit - one.known_spent - one.reserved)
        if measure in _MEASURES and (measure not in nearest or left < nearest[measure][0]):
            nearest[measure] = left, one
    headers: list[Header] = []
    for left, one in nearest.values():
        end = one.account.measure.encode()
        headers += [
            (b"x-ratelimit-limit-" + end, b"%d" % one.account.limit),
            (b"x-ratelimit-remaining-" + end, b"%d" % left),
            (b"x-ratelimit-reset-" + end, time_left(one.ends - at).encode()),
        ]
    return tuple(headers)


def with_limits(headers: list[Header], limits: tuple[Header, ...]) -> list[Header]:
    """The headers of an answer under limits: theirs take the place of the provider's, which tell of its own."""
    return [header for header in headers if header[0] not in NAMES] + [*limits] if limits else headers


def time_left(seconds: float) -> str:
    """A time as OpenAI writes it: `1s`, `6m0s`, `23h59m59s`."""
    whole = max(0, -int(-seconds // 1))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}h{minutes}m{whole % 60}s"
    return f"{minutes}m{whole % 60}s" if minutes else f"{whole}s"
