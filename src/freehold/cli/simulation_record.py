"""Puts a trace, a replica and its rent together: the question that `simulate` asks, and its record."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from freehold import __version__
from freehold.cli.capacity_files import model_named, precision_for
from freehold.cli.traced_calls import TraceReading, fact, traced_calls
from freehold.core.errors import InputError
from freehold.economics._compile import version as numba_version
from freehold.economics.capacity import capacity
from freehold.economics.facts import hardware
from freehold.economics.hourly import replicas_by_hour
from freehold.economics.montecarlo import number
from freehold.economics.rentals import rental
from freehold.economics.service import Goals, Server
from freehold.economics.simulation import ROOM_TO_GROW, simulate
from freehold.economics.sizing import fewest_replicas, replica_interval
from freehold.economics.steps import step_costs

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from freehold.economics.decoder import ModelFacts
    from freehold.economics.hourly import ByHour
    from freehold.economics.machine import Hardware
    from freehold.economics.precision import Precision
    from freehold.economics.service import Simulated
    from freehold.economics.simulation import Dispatch
    from freehold.economics.trace import Trace

_INTERVAL_WORK = 10_000_000
"""Calls times replicas from which on a trace is searched once and not three times, so that it takes seconds."""
_MOST_USD = 1e9
_AS_TRACED = "trace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The options of `simulate`."""

    trace: Path
    model: str
    gpu: str
    gpus: int = 1
    precision: str | None = None
    ttft_p95_ms: float = 500.0
    tpot_p95_ms: float = 50.0
    replicas: int | None = None
    by_hour: bool = False
    """Also the fewest replicas of each hour."""
    dispatch: Dispatch = "least-loaded"
    chunk_tokens: int = 2048
    times: float = 1.0
    cached_share: str | None = None
    """Of each prompt, what the engine finds in its cache: a share, or `trace` for what the file says. None: nothing."""
    reading: TraceReading = field(default_factory=TraceReading)
    gpu_usd_per_hour: float | None = None
    as_of: date | None = None
    seed: int = 0


def simulation_record(question: Question) -> dict[str, Any]:  # Any: JSON
    """The record of schema freehold.simulate/1, but for the time that it took.

    Raises:
        InputError: a file, a name or a number is wrong.
    """
    goals = Goals(ttft_p95_ms=question.ttft_p95_ms, tpot_p95_ms=question.tpot_p95_ms)
    model, device = model_named(question.model), hardware(question.gpu)
    precision = precision_for(question.precision, question.model, model, device)
    if question.seed < 0:
        raise InputError(f"--seed is {question.seed}; it must be 0 or more.")
    if question.by_hour and question.replicas is not None:
        raise InputError("--by-hour searches the replicas of each hour and --replicas names them; leave one out.")
    traced = traced_calls(question.trace, question.reading, counting="replayed", seed=question.seed)
    trace, known, warnings = traced.trace.times(question.times), traced.known, traced.warnings
    trace = _with_cache(trace, question.cached_share, known)
    server = _server(question, trace, model, device, precision)
    found = _found(question, trace, server, goals)
    shown: Simulated = found.pop("shown")
    hourly = _by_hour(question, trace, server, goals, found["replicas"])
    if shown.too_long:
        warnings.append(
            f"{shown.too_long:,} calls are longer than the {server.longest_call:,} tokens that context or memory of a "
            "replica hold; they are never answered and count as infinitely late."
        )
    return {
        "schema": "freehold.simulate/1",
        **found,
        "goals": {"ttft_p95_ms": goals.ttft_p95_ms, "tpot_p95_ms": goals.tpot_p95_ms},
        "simulated_replicas": shown.replicas,
        **{name: value for name, value in shown.as_record().items() if name != "replicas"},
        "trace_s": number(trace.span_s),
        "calls_per_s": number(trace.requests_per_s),
        "calls_per_month": number(trace.calls_per_month),
        "peak_to_mean": number(trace.peak_to_mean()),
        "mean_input_tokens": number(float(trace.input_tokens.mean())),
        "mean_output_tokens": number(float(trace.output_tokens.mean())),
        "capacity_used": number(
            _capacity_used(shown, trace, model, device, server, gpus=question.gpus, precision=precision)
        ),
        **_cost(question, device, shown, hourly, known),
        "assumptions": [*_engine_facts(question, server), *known],
        "skipped": traced.left_out.as_record(),
        "warnings": warnings,
        "inputs": {
            "trace": question.trace.name,
            "model": model.name,
            "gpu": device.name,
            "gpus": question.gpus,
            "precision": precision,
            "times": question.times,
            "cached_share": question.cached_share,
            "dispatch": question.dispatch,
            "chunk_tokens": question.chunk_tokens,
        },
        "seed": question.seed,
        "versions": {"freehold": __version__, "numba": numba_version()},
    }


def _found(question: Question, trace: Trace, server: Server, goals: Goals) -> dict[str, Any]:  # Any: JSON
    """The number of replicas and the replay, as asked for or as searched."""
    if question.replicas is not None:
        shown = simulate(trace, server, replicas=question.replicas, dispatch=question.dispatch)
        return {
            "replicas": question.replicas,
            "meets_slo": shown.meets(goals),
            "searched": False,
            "reason": None,
            "replicas_interval": None,
            "tried": [],
            "shown": shown,
        }
    sizing = fewest_replicas(trace, server, goals, dispatch=question.dispatch)
    interval = None
    if sizing.replicas is not None and trace.calls * sizing.replicas <= _INTERVAL_WORK:
        interval = list(replica_interval(trace, server, goals, sizing.replicas, dispatch=question.dispatch))
    return {
        "replicas": sizing.replicas,
        "meets_slo": sizing.replicas is not None,
        "searched": True,
        "reason": sizing.reason,
        "replicas_interval": interval,
        "tried": [{"replicas": count, "meets_slo": holds} for count, holds in sizing.tried],
        "shown": sizing.simulated,
    }


def _with_cache(trace: Trace, asked: str | None, known: list[dict[str, Any]]) -> Trace:  # Any: JSON
    """The calls with what a cache holds of their prompts; how much that is becomes a row of `known`."""
    rules = "docs/decisions/0009-simulation.md"
    if asked is None:
        known.append(fact("prompts found in the cache", 0.0, "share", f"none are assumed; {rules}", is_assumption=True))
        return replace(trace, cached_tokens=None)
    if asked == _AS_TRACED:
        if trace.cached_share is None:
            raise InputError("--cached-share trace: no row of the file has cache_read_tokens. Give a share.")
        source = "cache_read_tokens of the file; own replicas are assumed to find as much"
    else:
        try:
            trace = trace.with_cached_share(float(asked))
        except ValueError:
            raise InputError(f"--cached-share is {asked!r}; it must be a share from 0 to 1, or: trace.") from None
        source = "given"
    share = number(trace.cached_share)
    known.append(fact("prompts found in the cache", share, "share", source, is_assumption=True))
    return trace


def _server(question: Question, trace: Trace, model: ModelFacts, device: Hardware, precision: Precision) -> Server:
    context = float(trace.input_tokens.mean() + trace.output_tokens.mean() / 2.0)
    costs = step_costs(
        model, device, gpus=question.gpus, precision=precision, context_tokens=min(context, model.context_tokens)
    )
    return Server(costs=costs, context_tokens=model.context_tokens, chunk_tokens=question.chunk_tokens)


def _capacity_used(
    shown: Simulated,
    trace: Trace,
    model: ModelFacts,
    device: Hardware,
    server: Server,
    *,
    gpus: int,
    precision: Precision,
) -> float | None:
    """Calls that arrive over those that saturated replicas would serve at the mean lengths; None: not known."""
    if trace.cached_tokens is not None:
        return None  # the capacity model knows no cache
    try:
        full = capacity(
            model,
            device,
            input_tokens=float(trace.input_tokens.mean()),
            output_tokens=float(trace.output_tokens.mean()),
            gpus=gpus,
            precision=precision,
            concurrency=float(server.most_requests),
        )
    except InputError:
        return None
    rate = trace.requests_per_s
    return None if rate is None else rate / (shown.replicas * full.requests_per_s)


def _by_hour(question: Question, trace: Trace, server: Server, goals: Goals, found: int | None) -> ByHour | None:
    """The fleet that follows the traffic, where it was asked for and some number holds the goals."""
    if not question.by_hour:
        return None
    return None if found is None else replicas_by_hour(trace, server, goals, fixed=found, dispatch=question.dispatch)


def _cost(
    question: Question,
    device: Hardware,
    shown: Simulated,
    hourly: ByHour | None,
    known: list[dict[str, Any]],  # Any: JSON
) -> dict[str, Any]:
    """Rent of the replicas from the first call to the last answer, whether busy or not; and of those hour by hour."""
    by_hour = None if hourly is None else hourly.as_record() | {"usd_per_1000_calls": None}
    unknown = {"usd_per_1000_calls": None, "usd_per_1000_calls_range": None, "usd_per_hour": None, "by_hour": by_hour}
    if question.gpu_usd_per_hour is not None:
        rent = question.gpu_usd_per_hour
        if not 0.0 <= rent <= _MOST_USD:
            raise InputError(f"--gpu-usd-per-hour is {rent!r}; it must be from 0 to {_MOST_USD:,.0f} dollars.")
        rents, source = (rent, rent, rent), "given by the user"
    else:
        try:
            row = rental(device.name, question.as_of)
        except InputError as error:
            return {**unknown, "usd_reason": str(error)}
        rents, source = row.usd_per_hour, f"{row.terms}, as of {row.as_of}: {row.source}"
    known.append(fact("rent of a device", [number(each) for each in rents], "USD/h", source))
    low, typical, high = (shown.usd_per_1000_calls(each, devices=question.gpus) for each in rents)
    if hourly is not None and by_hour is not None:
        by_hour["usd_per_1000_calls"] = number(hourly.usd_per_1000_calls(rents[1], devices=question.gpus))
    return {
        "by_hour": by_hour,
        "usd_per_1000_calls": number(typical),
        "usd_per_1000_calls_range": [number(low), number(high)],
        "usd_per_hour": number(rents[1] * question.gpus * shown.replicas),
        "usd_reason": None,
    }


def _engine_facts(question: Question, server: Server) -> list[dict[str, Any]]:  # Any: JSON
    rules, steps = "docs/decisions/0009-simulation.md", question.chunk_tokens
    kv_tokens, log_sd = int(server.costs.kv_tokens), number(server.costs.log_sd)
    return [
        fact("a call goes to", f"{question.dispatch} replica", "", rules, is_assumption=True),
        fact("tokens of one step", steps, "tokens", "vLLM's default is 2048", is_assumption=True),
        fact("calls together at most", server.most_requests, "calls/replica", "engine's limit", is_assumption=True),
        fact("memory for contexts", kv_tokens, "tokens/replica", "capacity model"),
        fact("memory free when a call joins", ROOM_TO_GROW, "share", "vLLM's default", is_assumption=True),
        fact("spread of the speed, log sd", log_sd, "", "capacity model, measured over predicted"),
    ]
