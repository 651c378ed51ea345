"""Calls of a trace for `simulate` and `breakeven`: the options that say how a file is read, and what they lead to."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.cli.trace_file import Duplicates
    from freehold.cli.trace_rows import Counting, LeftOut
    from freehold.economics.trace import Lengths, Trace

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--input-tokens", type=float, help="Of every call, where the file tells no lengths."),
    click.option("--output-tokens", type=float, help="Of every call, likewise."),
    click.option("--lengths", type=_FILE, help="Trace whose pairs of lengths are drawn from instead."),
    click.option("--client", "clients", multiple=True, help="Of counted calls only this client; may be repeated."),
    click.option("--share", type=float, help="Of counted calls keep each with this probability."),
    click.option("--window-s", type=float, help="Width of a window; default: the distance between two."),
    click.option("--sort", is_flag=True, help="Put the calls of a trace into the order of their arrival."),
    click.option(
        "--duplicates", type=click.Choice(["refuse", "keep", "drop"]),
        help="Rows of a trace that are there twice.  [default: refuse]",
    ),
)  # fmt: skip


def trace_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a TraceReading, for a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReading:
    """How the rows of a trace are taken."""

    input_tokens: float | None = None
    """Of every call, where the file does not tell."""
    output_tokens: float | None = None
    lengths: Path | None = None
    """Trace to draw lengths from, where the file does not tell."""
    clients: tuple[str, ...] = ()
    share: float | None = None
    window_s: float | None = None
    sort: bool = False
    duplicates: Duplicates | None = None

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> TraceReading:  # Any: as click parsed them
        """Takes its own options out of those of a command."""
        return cls(**{each.name: options.pop(each.name) for each in fields(cls) if each.name in options})

    def for_traces_alone(self) -> list[str]:
        """Names of the options that were given and mean nothing without a trace."""
        given = {
            "--lengths": self.lengths, "--client": self.clients or None, "--share": self.share,
            "--window-s": self.window_s, "--sort": self.sort or None, "--duplicates": self.duplicates,
        }  # fmt: skip
        return [name for name, value in given.items() if value is not None]


@dataclass(slots=True)
class Traced:
    """The calls of a file, and what has to be said about them."""

    trace: Trace
    left_out: LeftOut
    known: list[dict[str, Any]] = field(default_factory=list)  # Any: JSON
    """What was assumed or given to get calls, as rows of `assumptions`."""
    warnings: list[str] = field(default_factory=list)


def traced_calls(path: Path, reading: TraceReading, *, counting: Counting, seed: int) -> Traced:
    """Calls as they were recorded; of counted ones each at some moment of its window.

    Where the file does not tell how long calls are, all have the lengths that `reading` gives.

    Raises:
        InputError: the file cannot be read, or lengths are missing or told twice.
    """
    from freehold.cli.trace_file import first_row, is_windowed, read_trace
    from freehold.cli.trace_rows import TIMES, LeftOut, tells_lengths
    from freehold.core.errors import InputError

    first = first_row(path)
    is_counted = is_windowed(first)
    known: list[dict[str, Any]] = []  # Any: JSON
    if not is_counted and not any(name in first for name in TIMES) and not tells_lengths(first):
        columns = ", ".join(repr(str(name)[:30]) for name in sorted(first)[:6])
        raise InputError(
            f"{path} has neither times nor tokens; its first row has the columns {columns}. Is it UTF-8 text, and a "
            "trace as docs/reference/traces.md shows them?"
        )
    lengths = _lengths(path, reading, known, tells=not is_counted and tells_lengths(first))
    if is_counted:
        assert lengths is not None
        return _spread(path, reading, lengths, known, seed=seed)
    if reading.clients or reading.share is not None or reading.window_s is not None:
        raise InputError("--client, --share and --window-s are for files of calls counted by window; leave them out.")
    left_out, warnings = LeftOut(), list[str]()
    trace = read_trace(
        path, lengths=lengths, seed=seed, sort=reading.sort, duplicates=reading.duplicates or "refuse",
        counting=counting, warnings=warnings, left_out=left_out,
    )  # fmt: skip
    return Traced(trace, left_out, known, warnings)


def fact(name: str, value: Any, unit: str, source: str, *, is_assumption: bool = False) -> dict[str, Any]:  # Any: JSON
    """A row of `assumptions`."""
    return {"name": name, "value": value, "unit": unit, "source": source, "is_assumption": is_assumption}


def _spread(
    path: Path,
    reading: TraceReading,
    lengths: Lengths,
    known: list[dict[str, Any]],  # Any: JSON
    *,
    seed: int,
) -> Traced:
    """Calls of a file that counts them by window."""
    from freehold.cli.trace_rows import LeftOut
    from freehold.cli.volume_file import read_volumes
    from freehold.core.errors import InputError
    from freehold.economics.trace import LARGEST_CV, spread

    share = 1.0 if reading.share is None else reading.share
    if not 0.0 < share <= 1.0:
        raise InputError(f"--share must be above 0 and up to 1, not {share!r}.")
    volumes = read_volumes(path, clients=reading.clients, window_s=reading.window_s, sort=reading.sort)
    how = "independent of each other" if volumes.cv is None else f"gamma gaps of the file's cv, {LARGEST_CV:g} at most"
    known.append(fact("arrivals inside a window", how, "", "assumption: the file counts calls", is_assumption=True))
    known.append(fact("width of a window", volumes.window_s, "s", "given" if reading.window_s else "the file"))
    if share < 1.0:
        known.append(fact("share of the calls kept", share, "", "given: each call by chance, with the seed"))
    whose = "all clients together" if not reading.clients else f"{len(reading.clients)} of its clients"
    warnings = [f"The file counts calls: {whose}, each call at some moment of its window."]
    return Traced(spread(volumes, lengths, seed=seed, kept=share), LeftOut(), known, warnings)


def _lengths(
    path: Path,
    reading: TraceReading,
    known: list[dict[str, Any]],  # Any: JSON
    *,
    tells: bool,
) -> Lengths | None:
    """Lengths to give to every call, or None where the file tells them."""
    import numpy as np

    from freehold.cli.trace_file import read_lengths
    from freehold.core.errors import InputError
    from freehold.economics.montecarlo import number
    from freehold.economics.trace import MOST_TOKENS, Lengths

    typed = (reading.input_tokens, reading.output_tokens)
    if reading.lengths is not None and typed != (None, None):
        raise InputError("--lengths and --input-tokens or --output-tokens contradict each other; leave one out.")
    if tells:
        if typed != (None, None) or reading.lengths is not None:
            raise InputError(
                f"{path} tells how long its calls are; --input-tokens, --output-tokens and --lengths are for files "
                "that count calls by window or tell their arrivals alone. Leave them out."
            )
        return None
    if reading.lengths is not None:
        lengths = read_lengths(reading.lengths)
        source = f"assumption: drawn in pairs from the {len(lengths.input_tokens):,} rows of {reading.lengths.name}"
    else:
        tokens = [int(each) for each in typed if each is not None and 1 <= each <= MOST_TOKENS and each == each // 1]
        if len(tokens) != len(typed):
            raise InputError(
                f"{path} does not tell how long its calls are: give both --input-tokens and --output-tokens, whole "
                f"numbers from 1 to {MOST_TOKENS:,}, or another trace with --lengths."
            )
        lengths = Lengths(input_tokens=np.array(tokens[:1]), output_tokens=np.array(tokens[1:]))
        source = "assumption: given, the same for every call"
    for name in ("input_tokens", "output_tokens"):
        mean = float(getattr(lengths, name).mean())
        known.append(fact(name, number(mean), "tokens/call", source, is_assumption=True))
    return lengths
