"""Words of the simulation: a replica as a server, the service level, and what a replay measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError
from freehold.economics.montecarlo import number

if TYPE_CHECKING:
    from freehold.economics.steps import StepCosts

CHUNK_TOKENS = 2048
"""Tokens of one step; the default of vLLM's server on most devices."""
MOST_CHUNK_TOKENS = 1_000_000
LONGEST_GOAL_MS = 1e7
"""Almost three hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One replica: what its steps cost and how it batches.

    Raises:
        InputError: it has no room for a single token, or its steps are no number of tokens.
    """

    costs: StepCosts
    context_tokens: float = math.inf
    """Longest call that the model can hold; a longer one is never answered."""
    chunk_tokens: int = CHUNK_TOKENS
    slowness: float = 1.0
    """Every step takes so many times as long as its costs say."""

    def __post_init__(self) -> None:
        if not 1 <= self.chunk_tokens <= MOST_CHUNK_TOKENS:
            raise InputError(f"A step has between 1 and {MOST_CHUNK_TOKENS:,} tokens, not {self.chunk_tokens!r}.")
        if self.costs.kv_tokens < 2.0 or self.costs.most_requests < 1.0:
            raise InputError("The replica holds no call: its memory has no room for the keys and values of one.")

    @property
    def longest_call(self) -> int:
        """Tokens of prompt and answer that fit into the context and, but for the last one, into memory."""
        return int(min(self.costs.kv_tokens + 1.0, self.context_tokens))

    @property
    def most_requests(self) -> int:
        """Calls that run together at most; each takes a token of every step."""
        return int(min(self.costs.most_requests, self.chunk_tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """Service level: 95 of 100 calls are at least this fast."""

    ttft_p95_ms: float
    """From arrival to the first token."""
    tpot_p95_ms: float
    """Between two tokens of one answer, on average over the answer."""

    def __post_init__(self) -> None:
        for name, value in (("ttft_p95_ms", self.ttft_p95_ms), ("tpot_p95_ms", self.tpot_p95_ms)):
            if not 0.0 < value <= LONGEST_GOAL_MS:
                raise InputError(
                    f"{name} must be a number of milliseconds above 0 and up to {LONGEST_GOAL_MS:,.0f}, not {value!r}."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Each a value that a call had. None: the call that stands there was never answered, or there is none."""

    p50: float | None
    p95: float | None
    p99: float | None

    def as_record(self) -> dict[str, float | None]:
        """Under their names."""
        return {"p50": number(self.p50), "p95": number(self.p95), "p99": number(self.p99)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What happened in one stretch of time."""

    t_s: float
    """Beginning, from the first arrival."""
    calls: int
    """That arrived."""
    busy: float
    """Share of the replicas' time in which they worked."""
    kv_peak: float
    """Largest share of its memory for keys and values that one replica used."""
    ttft_p95_ms: float | None
    """Of the calls that arrived; None without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A trace after its replay."""

    replicas: int
    calls: int
    too_long: int
    """Calls that do not fit into context or memory; they count as infinitely late."""
    ttft_ms: Percentiles
    tpot_ms: Percentiles
    """Over answers of two tokens and more."""
    queue_ms: Percentiles
    """From arrival until the engine takes the call in: waiting for the step in progress, and for room."""
    utilisation: float
    """Share of the replicas' time in which they worked, from the first arrival to the last answer."""
    kv_peak: float
    preemptions: int
    """Calls put back for want of memory; their prompts are read again."""
    lasted_s: float
    """From the first arrival to the last answer, and no less than the trace covers."""
    output_tokens_per_s: float
    window_s: float
    windows: tuple[Window, ...]

    def meets(self, goals: Goals) -> bool:
        """Whether both percentiles are within the goals; without answers of two tokens the second one holds."""
        ttft, tpot = self.ttft_ms.p95, self.tpot_ms.p95
        return ttft is not None and ttft <= goals.ttft_p95_ms and (tpot is None or tpot <= goals.tpot_p95_ms)

    def usd_per_1000_calls(self, usd_per_device_hour: float, *, devices: int) -> float:
        """Rent of all replicas over the whole replay, busy or idle, for a thousand of its calls.

        replicas · devices · rent · hours · 1000 / calls; `devices` are those of one replica.
        """
        hours = self.lasted_s / 3600.0
        return self.replicas * devices * usd_per_device_hour * hours * 1000.0 / self.calls

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As `simulate --json` shows it."""
        return {
            "replicas": self.replicas,
            "calls": self.calls,
            "too_long_calls": self.too_long,
            "ttft_ms": self.ttft_ms.as_record(),
            "tpot_ms": self.tpot_ms.as_record(),
            "queue_ms": self.queue_ms.as_record(),
            "utilisation": number(self.utilisation),
            "kv_peak": number(self.kv_peak),
            "preemptions": self.preemptions,
            "lasted_s": number(self.lasted_s),
            "output_tokens_per_s": number(self.output_tokens_per_s),
            "window_s": self.window_s,
            "windows": [
                {
                    "t_s": number(each.t_s),
                    "calls": each.calls,
                    "busy": number(each.busy),
                    "kv_peak": number(each.kv_peak),
                    "ttft_p95_ms": number(each.ttft_p95_ms),
                }
                for each in self.windows
            ],
        }
