"""Replays a trace against replicas that batch continuously: how long calls wait, and how busy the replicas are.

One replica works in steps. Each step gives one token to every call that decodes, and reads prompts with what is left
of `chunk_tokens`; calls wait in the order of their arrival until keys and values fit into memory. What a step costs
comes from the capacity model (`capacity.step_costs`). docs/decisions/0009-simulation.md tells the rules in full.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from freehold.core.errors import InputError
from freehold.economics import _compile
from freehold.economics._batching import replay
from freehold.economics._fleet import (
    ADMITTED,
    ARRIVAL,
    BUSY,
    FINISHED,
    FIRST,
    KV_PEAK,
    NEVER,
    OVERFLOWED,
    PREEMPTIONS,
    STOPPED,
    Engine,
    Watch,
    new_calls,
    new_fleet,
)
from freehold.economics.service import Percentiles, Simulated, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.economics._fleet import Table
    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.service import Goals, Server
    from freehold.economics.trace import Trace

Dispatch = Literal["least-loaded", "round-robin"]

TICKS_PER_S = 1e11
"""A tick is ten picoseconds: fine enough for the keys and values of one token, and 62 bits of them are 1.5 years."""
ROOM_TO_GROW = 0.01
"""Share of the memory for keys and values that is left free when a call joins others; vLLM's default."""
MOST_REPLICAS = 4096
MOST_WINDOWS = 144
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800)

_TOO_SLOW = "The replicas would work on this trace for more than eight months. Use more or faster ones, or fewer calls."


def simulate(trace: Trace, server: Server, *, replicas: int, dispatch: Dispatch = "least-loaded") -> Simulated:
    """Replay every call of the trace.

    Args:
        trace: The calls.
        server: Each replica.
        replicas: How many.
        dispatch: A call goes to the replica with the fewest calls (the first of equals), or to each in turn.

    Raises:
        InputError: no or too many replicas, or they would work for more than eight months.
    """
    replayed = _replay(trace, server, replicas=replicas, dispatch=dispatch, limits=None)
    assert replayed is not None
    return replayed.summary()


def simulate_if_held(
    trace: Trace, server: Server, goals: Goals, *, replicas: int, dispatch: Dispatch = "least-loaded"
) -> Simulated | None:
    """The same replay if it meets the goals; None, and given up early, if it does not."""
    replayed = _replay(trace, server, replicas=replicas, dispatch=dispatch, limits=goals)
    shown = None if replayed is None else replayed.summary()
    return shown if shown is not None and shown.meets(goals) else None


@dataclass(frozen=True, slots=True)
class _Replayed:
    """The tables after a replay."""

    trace: Trace
    server: Server
    fits: Table
    """Positions in the trace of the calls that were replayed."""
    calls: Table
    fleet: Table
    windows: Table
    window_s: float

    def summary(self) -> Simulated:
        calls, replicas = self.calls, len(self.fleet)
        ttft = _ms(calls[:, FIRST] - calls[:, ARRIVAL])
        asked = self.trace.output_tokens
        lost = self.trace.calls - len(self.fits)
        several = asked[self.fits] > 1
        tpot = _ms((calls[:, FINISHED] - calls[:, FIRST])[several]) / (asked[self.fits][several] - 1)
        lost_several = int((asked > 1).sum()) - len(tpot)
        ended_s = float(calls[:, FINISHED].max(initial=0)) / TICKS_PER_S
        lasted_s = max(ended_s, self.trace.span_s)
        busy_s = float(self.windows[:, BUSY].sum()) / TICKS_PER_S
        return Simulated(
            replicas=replicas,
            calls=self.trace.calls,
            too_long=lost,
            ttft_ms=_percentiles(ttft, lost),
            tpot_ms=_percentiles(tpot, lost_several),
            queue_ms=_percentiles(_ms(calls[:, ADMITTED] - calls[:, ARRIVAL]), lost),
            utilisation=busy_s / (replicas * lasted_s) if lasted_s else 0.0,
            kv_peak=float(self.windows[:, KV_PEAK].max()) / int(self.server.costs.kv_tokens),
            preemptions=int(self.fleet[:, PREEMPTIONS].sum()),
            lasted_s=lasted_s,
            output_tokens_per_s=float(asked[self.fits].sum()) / lasted_s if lasted_s else 0.0,
            window_s=self.window_s,
            windows=self._windows(ttft, replicas),
        )

    def _windows(self, ttft_ms: FloatArray, replicas: int) -> tuple[Window, ...]:
        """The windows that the trace covers; work after its end is in the totals alone."""
        at = (self.calls[:, ARRIVAL] // round(self.window_s * TICKS_PER_S)).astype(np.int64)
        edges = np.searchsorted(at, np.arange(len(self.windows)))
        rows = []
        for index in range(len(self.windows) - 1):
            inside = ttft_ms[edges[index] : edges[index + 1]]
            rows.append(
                Window(
                    t_s=index * self.window_s,
                    calls=len(inside),
                    busy=float(self.windows[index, BUSY]) / (replicas * self.window_s * TICKS_PER_S),
                    kv_peak=float(self.windows[index, KV_PEAK]) / int(self.server.costs.kv_tokens),
                    ttft_p95_ms=_percentiles(inside, 0).p95,
                )
            )
        return tuple(rows)


def _replay(
    trace: Trace, server: Server, *, replicas: int, dispatch: Dispatch, limits: Goals | None
) -> _Replayed | None:
    """The replay; None when more calls than the limits allow were late."""
    if not 1 <= replicas <= MOST_REPLICAS:
        raise InputError(f"Between 1 and {MOST_REPLICAS:,} replicas can be simulated, not {replicas!r}.")
    fits = np.flatnonzero(trace.input_tokens + trace.output_tokens <= server.longest_call)
    arrival = np.rint((trace.t_s[fits] - trace.t_s[0]) * TICKS_PER_S).astype(np.int64)
    cached = None if trace.cached_tokens is None else trace.cached_tokens[fits]
    calls = new_calls(arrival, trace.input_tokens[fits], trace.output_tokens[fits], cached)
    costs, engine = _engine(server)
    slowest = int(costs.max()) + engine.context_ticks * engine.kv_tokens
    if slowest * min(server.longest_call, int(trace.output_tokens.max())) > NEVER // 2:
        raise InputError(_TOO_SLOW)
    window_s = next((width for width in WIDTHS_S if trace.span_s <= width * MOST_WINDOWS), WIDTHS_S[-1])
    windows = np.zeros((int(trace.span_s // window_s) + 2, 2), dtype=np.int64)
    heaps = np.zeros((replicas, server.most_requests), dtype=np.int64)
    fleet = new_fleet(replicas)
    watch = _watch(trace, limits, round(window_s * TICKS_PER_S))
    status = _fast_replay()(calls, fleet, heaps, windows, costs, engine, watch, dispatch == "round-robin")
    if status == OVERFLOWED:
        raise InputError(_TOO_SLOW)
    return None if status == STOPPED else _Replayed(trace, server, fits, calls, fleet, windows, float(window_s))


def _engine(server: Server) -> tuple[Table, Engine]:
    """Costs of the steps in ticks. A step that only reads prompts reads the weights too, as one that decodes does."""
    costs, ticks = server.costs, TICKS_PER_S * server.slowness
    decode = [costs.decode_s(max(1, requests), 0.0) for requests in range(server.most_requests + 1)]
    with_prompts = [costs.prefill_s(0.0, decoding=requests) for requests in range(server.most_requests + 1)]
    kv_tokens = int(costs.kv_tokens)
    engine = Engine(
        context_ticks=round(costs.decode_s_per_context_token * ticks),
        prompt_ticks=costs.prefill_s_per_token * ticks,
        prompt_ticks2=costs.prefill_s_per_token2 * ticks,
        kv_tokens=kv_tokens,
        admission_tokens=kv_tokens - int(ROOM_TO_GROW * kv_tokens),
        most_requests=server.most_requests,
        chunk_tokens=server.chunk_tokens,
    )
    return np.rint(np.array([decode, with_prompts]).T * ticks).astype(np.int64), engine


def _watch(trace: Trace, limits: Goals | None, window_ticks: int) -> Watch:
    """Limits in ticks, rounded up, and how many calls may be later without moving the 95th percentile beyond them."""
    if limits is None:
        return Watch(window_ticks, NEVER, NEVER // (2 * int(trace.output_tokens.max())), trace.calls, trace.calls)
    to_ticks = TICKS_PER_S / 1e3
    several = int((trace.output_tokens > 1).sum())
    return Watch(
        window_ticks,
        math.ceil(limits.ttft_p95_ms * to_ticks) + 1,
        math.ceil(limits.tpot_p95_ms * to_ticks) + 1,
        trace.calls - math.ceil(0.95 * trace.calls) + 1,
        several - math.ceil(0.95 * several) + 1,
    )


@cache
def _fast_replay() -> Callable[..., int]:
    return _compile.compiled(replay)


def _ms(ticks: Table) -> FloatArray:
    return np.asarray(ticks / (TICKS_PER_S / 1e3))


def _percentiles(values: FloatArray, lost: int) -> Percentiles:
    """Of the values and of so many infinite ones."""
    if not len(values) + lost:
        return Percentiles(p50=None, p95=None, p99=None)
    every = np.concatenate([values, np.full(lost, math.inf)])
    found = np.percentile(every, [50, 95, 99], method="inverted_cdf").tolist()
    p50, p95, p99 = (value if math.isfinite(value) else None for value in found)
    return Percentiles(p50=p50, p95=p95, p99=p99)
