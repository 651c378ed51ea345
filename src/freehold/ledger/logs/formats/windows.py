"""Volumes by client and window of time (`client`, `t_s`, `requests`), and what is known of the clients' calls.

ServeGen publishes traffic in this way: one file says how many calls each tenant made in each window of ten minutes,
another one how long the calls of a tenant were. Where the second is imported along, the tokens of a window are its
calls times the mean; otherwise they stay unknown.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from freehold.core.task import fault_of_name
from freehold.ledger.logs.format import BadRow, Context, Format, Item, Skipped, Values, Volume
from freehold.ledger.logs.values import count_of, moment_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SPACE = "lengths of clients"
_FIRST_MOMENT_S = 946_684_800.0
"""The year 2000 in seconds since 1970; smaller numbers count from the start of the trace."""
_WAITING_ROWS = 5_000
"""So many rows tell how wide a window is."""


class _Lengths(msgspec.Struct):
    input_tokens: float | None
    output_tokens: float | None


class ClientReader:
    """Keeps how long the calls of each client are."""

    def __init__(self, context: Context) -> None:
        self._shelf = context.shelf

    def read(self, values: Values, _line: int) -> Iterable[Item]:
        """Nothing but a note: a client is no call."""
        client = text_of(values, "client")
        if client is None or "requests_total" not in values:
            raise BadRow("no 'client' with 'requests_total'")
        lengths = _Lengths(_mean(values, "input_tokens"), _mean(values, "output_tokens"))
        if lengths.input_tokens is None and lengths.output_tokens is None:
            yield Skipped("a client of unknown lengths: the tokens of its windows stay unknown")
            return
        self._shelf.put(_SPACE, client, msgspec.json.encode(lengths))
        yield Skipped("lengths of a client, used for its windows")

    def finish(self) -> Iterable[Item]:
        """Nothing waits."""
        return ()


class WindowReader:
    """Reads windows; how wide they are follows from how far apart they begin."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: list[tuple[float | datetime, str, Values]] = []
        self._width_s: float | None = None

    def read(self, values: Values, _line: int) -> Iterable[Item]:
        """The volume of a window, as soon as it is known how wide it is."""
        client = text_of(values, "client")
        if client is None or "t_s" not in values:
            raise BadRow("no 'client' with 't_s' and 'requests'")
        if count_of(values, "requests") is None:
            raise BadRow("'requests' is empty")
        begins: float | datetime | None = offset_s(values)
        if begins is None:
            begins = moment_of(values, "t_s")
        if begins is None:
            raise BadRow("'t_s' is empty")
        self._waiting.append((begins, client, values))
        if len(self._waiting) >= _WAITING_ROWS:
            yield from self.finish()

    def finish(self) -> Iterator[Item]:
        """The volumes that wait."""
        self._width_s = _least_gap(self._waiting, self._width_s)
        for begins, client, values in self._waiting:
            yield self._volume(begins, client, values)
        self._waiting = []

    def _volume(self, begins: float | datetime, client: str, values: Values) -> Volume:
        requests = count_of(values, "requests")
        assert requests is not None
        started_at, origin = begins, ""
        if not isinstance(started_at, datetime):
            started_at = (self._context.starts_at or datetime.fromtimestamp(0, UTC)) + timedelta(seconds=started_at)
            origin = self._context.anchor
        input_tokens, output_tokens = (count_of(values, name) for name in ("input_tokens", "output_tokens"))
        known = self._context.shelf.look(_SPACE, client)
        if known is not None and input_tokens is None and output_tokens is None:
            lengths = msgspec.json.decode(known, type=_Lengths)
            input_tokens = _times(lengths.input_tokens, requests)
            output_tokens = _times(lengths.output_tokens, requests)
            self._context.say("The tokens of a window are its calls times the mean length of the client's calls.")
        width_s = number_of(values, "window_s")
        return Volume(
            source_id=f"windows:{origin}:{client}:{begins}",
            started_at=started_at,
            window_s=self._width_s if width_s is None else width_s,
            task=text_of(values, "task") or self._context.task or task_of_client(client),
            provider=text_of(values, "provider"),
            model=text_of(values, "model"),
            key_id=client,
            calls=requests,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )


def task_of_client(client: str) -> str:
    """The task that stands for a tenant of a trace."""
    name = f"client-{client}" if client.isdigit() else client.strip()
    return "unassigned" if fault_of_name(name) is not None else name


def offset_s(values: Mapping[str, Any]) -> float | None:  # Any: as above
    """Seconds from the start of its trace to a row; None: its time is a moment, or it has none."""
    try:
        number = float(values["t_s"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < _FIRST_MOMENT_S else None


def _mean(values: Mapping[str, Any], name: str) -> float | None:  # Any: as above
    lengths = values.get(name)
    return number_of(lengths, "mean") if isinstance(lengths, dict) else number_of(values, name)


def _times(mean: float | None, calls: int) -> int | None:
    return None if mean is None else round(mean * calls)


def _least_gap(waiting: list[tuple[float | datetime, str, Values]], known_s: float | None) -> float | None:
    moments = sorted({begins.timestamp() if isinstance(begins, datetime) else begins for begins, _, _ in waiting})
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return min([*gaps, *([] if known_s is None else [known_s])], default=None)


CLIENTS = Format(
    name="window-clients",
    recognises=lambda values: "client" in values and "requests_total" in values,
    reader=ClientReader,
    order=-1,
    says="'client' with 'requests_total'",
)
WINDOWS = Format(
    name="windows",
    recognises=lambda values: "client" in values and "requests" in values and "t_s" in values,
    reader=WindowReader,
    offset_s=offset_s,
    says="'client' with 't_s' and 'requests'",
)
