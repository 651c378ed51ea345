"""The fewest replicas that hold a service level on a trace."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from freehold.economics.montecarlo import Z95
from freehold.economics.service import Goals, Simulated
from freehold.economics.simulation import MOST_REPLICAS, simulate, simulate_if_held
from freehold.economics.trace import LONGEST_S, Trace

if TYPE_CHECKING:
    from freehold.economics.service import Server
    from freehold.economics.simulation import Dispatch

_LONE_CALLS = 2_000
"""So many calls, evenly drawn from the trace, tell how fast one is that has a replica for itself."""
_RELAXED = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """How many replicas are needed, and what the trace looks like on them."""

    replicas: int | None
    """None: no number holds the goals."""
    reason: str | None
    """Why there is none."""
    simulated: Simulated
    """On `replicas`; where there are none, on the fewest that keep calls within twice the time of a lone one."""
    tried: tuple[tuple[int, bool], ...]
    """Each number of replicas that was replayed, and whether it held, by rising number."""


def fewest_replicas(
    trace: Trace, server: Server, goals: Goals, *, dispatch: Dispatch = "least-loaded", near: int = 1
) -> Sizing:
    """Double the replicas until they hold the goals, then halve the gap: the number below the answer was replayed too.

    `near` is where the search begins; a good guess saves replays and changes no answer.

    More replicas can be slower for single calls, since a call then meets other neighbours; the percentiles of a whole
    trace do not show it beyond noise, and a number below one that fails is not tried.

    Raises:
        InputError: see `simulation.simulate`.
    """
    lone = lone_latency(trace, server)
    reason = _unreachable(lone, goals)
    if reason is None:
        search = _search(trace, server, goals, dispatch, near)
        reason = None if search.held else f"Not even {max(search.tried):,} replicas hold the goals."
        shown = search.held or simulate(trace, server, replicas=max(search.tried), dispatch=dispatch)
    else:
        search = _Search()
        if lone.ttft_ms.p95 is not None:
            search = _search(trace, server, _relaxed(goals, lone), dispatch, near)
        shown = search.held or simulate(trace, server, replicas=1, dispatch=dispatch)
    return Sizing(
        replicas=None if reason else shown.replicas,
        reason=reason,
        simulated=shown,
        tried=tuple(sorted(search.tried.items())),
    )


def replica_interval(
    trace: Trace, server: Server, goals: Goals, found: int, *, dispatch: Dispatch = "least-loaded"
) -> tuple[int | None, int | None]:
    """Replicas if the engine is as fast as its 95th percentile, and if it is as slow as its 5th.

    `found` replicas are enough at its typical speed; both searches begin where their speed would lead in proportion.
    """
    spread = math.exp(Z95 * server.costs.log_sd)

    def needed(slowness: float) -> int | None:
        slowed = replace(server, slowness=slowness * server.slowness)
        near = max(1, round(found * slowness))
        return fewest_replicas(trace, slowed, goals, dispatch=dispatch, near=near).replicas

    return 1 if found == 1 else needed(1.0 / spread), needed(spread)


def lone_latency(trace: Trace, server: Server) -> Simulated:
    """The calls of a trace, each with a replica for itself, so that nothing but its own length slows it."""
    chosen = np.unique(np.linspace(0, trace.calls - 1, min(trace.calls, _LONE_CALLS)).round().astype(np.int64))
    prompts = np.minimum(trace.input_tokens[chosen], server.longest_call)
    answers = np.minimum(trace.output_tokens[chosen], server.longest_call)
    slowest_s = server.costs.decode_s(1, float(server.longest_call)) + server.costs.decode_experts_s
    read_s = prompts * (server.costs.prefill_s_per_token + server.costs.prefill_s_per_token2 * prompts)
    steps = prompts / server.chunk_tokens + answers + 1.0
    gaps_s = 2.0 * server.slowness * (read_s + steps * slowest_s)
    t_s = np.minimum(np.cumsum(gaps_s), LONGEST_S)
    return simulate(
        Trace(
            t_s=t_s,
            input_tokens=trace.input_tokens[chosen],
            output_tokens=trace.output_tokens[chosen],
            cached_tokens=None if trace.cached_tokens is None else np.minimum(trace.cached_tokens[chosen], prompts),
        ),
        server,
        replicas=1,
    )


def _unreachable(lone: Simulated, goals: Goals) -> str | None:
    """Why no number of replicas can hold the goals; None: some may."""
    ttft, tpot = lone.ttft_ms.p95, lone.tpot_ms.p95
    if ttft is None:
        return (
            f"{lone.too_long:,} of {lone.calls:,} calls are longer than the model's context or the replica's memory, "
            "and the goals hold for 95 of 100 calls. Shorten them, use more devices per replica or another model."
        )
    if ttft > goals.ttft_p95_ms:
        return (
            f"A call that has a replica for itself waits {ttft:,.3g} ms for its first token (p95), which is longer "
            f"than {goals.ttft_p95_ms:g} ms: more replicas do not help, faster ones or more devices in each do."
        )
    if tpot is not None and tpot > goals.tpot_p95_ms:
        return (
            f"A call that has a replica for itself gets a token every {tpot:,.3g} ms (p95), which is slower than "
            f"{goals.tpot_p95_ms:g} ms: more replicas do not help, faster ones or more devices in each do."
        )
    return None


def _relaxed(goals: Goals, lone: Simulated) -> Goals:
    """Goals that are within reach: a missed one becomes twice what a lone call has."""
    return Goals(
        ttft_p95_ms=max(goals.ttft_p95_ms, _RELAXED * (lone.ttft_ms.p95 or 0.0)),
        tpot_p95_ms=max(goals.tpot_p95_ms, _RELAXED * (lone.tpot_ms.p95 or 0.0)),
    )


@dataclass(slots=True)
class _Search:
    """What was tried, and the replay on the fewest replicas that held."""

    held: Simulated | None = None
    tried: dict[int, bool] = field(default_factory=dict)


def _search(trace: Trace, server: Server, goals: Goals, dispatch: Dispatch, near: int) -> _Search:
    search = _Search()

    def holds(replicas: int) -> bool:
        shown = simulate_if_held(trace, server, goals, replicas=replicas, dispatch=dispatch)
        search.tried[replicas] = shown is not None
        search.held = shown or search.held
        return shown is not None

    most = min(MOST_REPLICAS, trace.calls)
    failing, holding, stride = 0, min(near, most), 1
    if holds(holding):
        while holding > 1:
            below = max(1, holding - stride)
            if not holds(below):
                failing = below
                break
            holding, stride = below, 2 * stride
    else:
        while True:
            if holding == most:
                return search
            failing, holding = holding, min(most, 2 * holding)
            if holds(holding):
                break
    while holding - failing > 1:
        middle = (failing + holding) // 2
        failing, holding = (failing, middle) if holds(middle) else (middle, holding)
    return search
