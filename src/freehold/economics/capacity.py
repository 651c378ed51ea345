"""What one replica delivers in steady state, on one or several GPUs or on a plain CPU.

Requests come and go; at any time B of them are in the replica. Each costs its own prefill once, and every answer
token costs one step that all share. Time to compute and time to read memory are added, which fits measurements far
better than taking the larger of the two. docs/decisions/0007-capacity.md says what was fitted to what, and how far
off it is on points that were not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from freehold.core.errors import InputError
from freehold.economics.machine import engine_of
from freehold.economics.montecarlo import number
from freehold.economics.precision import PRECISIONS, kv_bytes
from freehold.economics.steps import (
    CRAMPED_LOG_SD,
    CRAMPED_REQUESTS,
    StepCosts,
    does_not_fit,
    free_bytes,
    kv_shards,
    step_costs,
)

if TYPE_CHECKING:
    from freehold.economics.decoder import ModelFacts
    from freehold.economics.machine import Engine, Hardware
    from freehold.economics.precision import Precision

BoundBy = Literal["compute", "memory", "kv", "engine"]

PROMPTS_AHEAD = 0.155
"""Share of the other requests whose prompts are read before one's own: clients that were answered together ask again
together. Fitted to 1,900 measured runs; engines that read prompts at once are below, those that gather them above."""

MOST_TOKENS = 1e9
MOST_GPUS = 4096
P95 = 1.6448536269514722
"""Standard normal deviate of the 95th percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Steady state of one replica: saturated, or with so many requests in it as were asked for."""

    output_tokens_per_s: float
    requests_per_s: float
    ttft_ms: float
    """Mean time to the first token, waiting for other prompts included, and for room if clients are more than fit.

    It is that of a closed loop, in which each client asks again as soon as it was answered. Arrivals at their own
    times wait less or more; `freehold simulate` replays those. A batch job waits for no room and no client."""
    tpot_ms: float
    """Mean time of each further token, other requests' prefills included."""
    step_ms: float
    """One decode step while no prompt is read."""
    concurrency: float
    """Requests that the replica works on at a time."""
    kv_limited_concurrency: float
    """Requests whose keys and values fit in memory at once."""
    log_sd: float
    """Standard deviation of the logarithm of measured over predicted."""
    bound_by: BoundBy

    @property
    def interval(self) -> tuple[float, float]:
        """Output tokens per second, 5th and 95th percentile."""
        spread = math.exp(P95 * self.log_sd)
        return self.output_tokens_per_s / spread, self.output_tokens_per_s * spread

    def as_record(self) -> dict[str, object]:
        """The fields for people and programs, rounded so that the same input gives the same bytes."""
        low, high = self.interval
        return {
            "output_tokens_per_s": number(self.output_tokens_per_s),
            "requests_per_s": number(self.requests_per_s),
            "ttft_ms": number(self.ttft_ms),
            "tpot_ms": number(self.tpot_ms),
            "batch": number(self.concurrency),
            "kv_limited_concurrency": number(self.kv_limited_concurrency),
            "interval": {"p5": number(low), "p95": number(high)},
            "log_sd": number(self.log_sd),
            "bound_by": self.bound_by,
        }


def capacity(
    model: ModelFacts,
    hardware: Hardware,
    *,
    input_tokens: float,
    output_tokens: float,
    gpus: int = 1,
    precision: Precision | None = None,
    concurrency: float | None = None,
    engine: Engine | None = None,
) -> Capacity:
    """Throughput and latency of one replica spread over `gpus` devices.

    With i input and o output tokens and B requests in the replica, P the prefill of one prompt, S the step of B
    requests whose mean context is i + o/2 (`steps.step_costs`), and R the round trip of one request:
    output tokens/s = B o / (B P + o S + R). The first token takes R + P (1 + a (B - 1)) + S, where a is
    `PROMPTS_AHEAD`; the rest of the cycle is shared by the o - 1 further tokens. R is nothing in a batch job, and
    where clients wait for room.

    Args:
        model: the decoder.
        hardware: one device.
        input_tokens: of one call.
        output_tokens: of one call.
        gpus: devices of one replica, tensor parallel.
        precision: of the weights; None takes the hardware's usual one.
        concurrency: clients that each wait for an answer and ask again. None asks for the most that memory and
            engine allow, as a batch job would: no token is streamed to a client.
        engine: shares of the data sheet; None takes the fitted ones.

    Raises:
        InputError: the model does not fit, the devices do not divide its attention heads, a call is longer than its
            context, or a number is none.
    """
    chosen = precision or hardware.default_precision
    _check(model, input_tokens, output_tokens, gpus=gpus, precision=chosen, concurrency=concurrency)
    reached = engine or engine_of(hardware)
    context = input_tokens + output_tokens / 2.0
    costs = step_costs(
        model,
        hardware,
        gpus=gpus,
        precision=chosen,
        context_tokens=context,
        is_streamed=concurrency is not None,
        engine=reached,
    )
    fitting = costs.kv_tokens / context
    if fitting < 1.0:
        raise InputError(does_not_fit(model, hardware, gpus, chosen, reached))
    # servers on GPUs are started with as many slots as they have clients; the CPU engine's are few and fixed
    slots = costs.most_requests if hardware.kind == "cpu" or concurrency is None else math.inf
    return _steady(
        costs,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        clients=concurrency,
        fitting=fitting,
        slots=slots,
        round_trip_s=1e-3 * reached.round_trip_ms,
    )


def _steady(
    costs: StepCosts,
    *,
    input_tokens: float,
    output_tokens: float,
    clients: float | None,
    fitting: float,
    slots: float,
    round_trip_s: float,
) -> Capacity:
    """The closed loop of so many clients, served as far as memory and slots allow; None: a batch job fills both."""
    offered = slots if clients is None else min(clients, slots)
    batch = max(1.0, min(offered, fitting))
    # where somebody waits for a place it is taken at once, however far the next client is
    round_trip_s = round_trip_s if clients is not None and clients <= batch else 0.0
    context = input_tokens + output_tokens / 2.0
    prefill_s = costs.prefill_s(input_tokens, decoding=batch)
    step_s = costs.decode_s(batch, batch * context)
    cycle_s = batch * prefill_s + output_tokens * step_s + round_trip_s
    rate = batch / cycle_s
    # of its time in the replica a request waits for prompts first, and is interrupted by them later
    first_s = round_trip_s + prefill_s * (1.0 + PROMPTS_AHEAD * (batch - 1.0)) + step_s
    later_s = (cycle_s - first_s) / (output_tokens - 1.0) if output_tokens > 1.0 else step_s
    first_s = first_s if output_tokens > 1.0 else cycle_s
    waiting_s = 0.0 if clients is None else max(0.0, clients - batch) / rate
    attending_s = costs.decode_compute_s_per_context_token
    cached_s = batch * context * (costs.decode_s_per_context_token - attending_s)
    read_s = costs.decode_read_s + costs.experts_s(batch) + cached_s
    compute_s = batch * (costs.decode_compute_s_per_request + context * attending_s)
    cache_s = batch * costs.decode_cache_s_per_request
    return Capacity(
        output_tokens_per_s=rate * output_tokens,
        requests_per_s=rate,
        ttft_ms=1e3 * (first_s + waiting_s),
        tpot_ms=1e3 * later_s,
        step_ms=1e3 * step_s,
        concurrency=batch,
        kv_limited_concurrency=fitting,
        log_sd=costs.log_sd if fitting >= CRAMPED_REQUESTS else max(costs.log_sd, CRAMPED_LOG_SD),
        bound_by=_bound_by(
            compute_s=batch * prefill_s + output_tokens * compute_s,
            memory_s=output_tokens * (read_s + cache_s),
            engine_s=output_tokens * (step_s - compute_s - read_s - cache_s) + round_trip_s,
            is_kv_limited=fitting < offered,
        ),
    )


def _bound_by(*, compute_s: float, memory_s: float, engine_s: float, is_kv_limited: bool) -> BoundBy:
    """The largest share of the time; memory that is short of room for more requests is called kv."""
    if compute_s >= max(memory_s, engine_s):
        return "compute"
    if is_kv_limited:
        return "kv"
    return "memory" if memory_s >= engine_s else "engine"


def most_that_fit(
    model: ModelFacts, hardware: Hardware, *, context_tokens: float, gpus: int, precision: Precision
) -> float:
    """Requests of this length whose keys and values fit beside the weights; 0 where the weights do not fit."""
    free = free_bytes(model, hardware, gpus, precision, engine_of(hardware))
    return max(0.0, free) * kv_shards(model, gpus) / gpus / (model.cached_values(context_tokens) * kv_bytes(precision))


def _check(
    model: ModelFacts,
    input_tokens: float,
    output_tokens: float,
    *,
    gpus: int,
    precision: str,
    concurrency: float | None,
) -> None:
    _check_number("input tokens", input_tokens, least=0.0, most=MOST_TOKENS)
    _check_number("output tokens", output_tokens, least=1.0, most=MOST_TOKENS)
    _check_number("gpus", gpus, least=1, most=MOST_GPUS)
    if gpus != int(gpus):
        raise InputError(f"gpus is {gpus!r}; it must be a whole number.")
    if concurrency is not None:
        _check_number("concurrency", concurrency, least=1.0, most=MOST_TOKENS)
    if precision not in PRECISIONS:
        raise InputError(f"Unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")
    tokens = input_tokens + output_tokens
    if tokens > model.context_tokens:
        raise InputError(
            f"{model.name}: a call of {tokens:,.0f} tokens is longer than its context of "
            f"{model.context_tokens:,} tokens. Shorten the calls or choose another model."
        )


def _check_number(what: str, value: float, *, least: float, most: float) -> None:
    if not least <= value <= most:  # NaN fails too
        raise InputError(f"{what} is {value!r}; it must be a number from {least:g} to {most:,.0f}.")
