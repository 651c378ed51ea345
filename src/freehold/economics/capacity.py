"""What one replica of a dense model delivers in steady state, on one or several GPUs or on a plain CPU.

A batch of B requests is prefilled, then decoded together. Both phases add the time to compute and the time to
read memory, which fits published measurements far better than taking the larger of the two.
docs/decisions/0002-economics-first-form.md says which constants were fitted to what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Precision = Literal["bf16", "fp16", "fp8", "int8", "q8_0", "q4_0", "int4"]

BYTES_PER_WEIGHT: Mapping[str, float] = {
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "q8_0": 34 / 32,  # 32 weights share one 2-byte scale
    "q4_0": 18 / 32,
    "int4": 0.53125,  # groups of 128 with a scale and a zero point
}

USABLE_MEMORY = 0.9
"""Share of device memory that an engine takes; the default of vLLM and of TensorRT-LLM."""

ALL_REDUCE_LATENCY_S = 10e-6
RESIDUAL_LOG_SD = 0.17
"""Spread of measured over predicted throughput on points that were not fitted."""

CRAMPED_LOG_SD = 0.8
"""The same where fewer than eight requests fit in memory: misses of 4.9 times were seen."""

CRAMPED_REQUESTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the capacity formula must know about a dense decoder."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    parameters: float
    """All weights; a tied embedding counts once."""
    layers: int
    hidden_size: int
    kv_heads: int
    head_dim: int
    context_tokens: int
    source: str

    def kv_bytes_per_token(self, kv_bytes: float) -> float:
        """Keys and values of one token over all layers."""
        return 2.0 * self.layers * self.kv_heads * self.head_dim * kv_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One device: what its data sheet promises and what share of it an engine reaches."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    kind: Literal["gpu", "cpu"]
    memory_gb: float
    bandwidth_gb_per_s: float
    tflops: dict[str, float]
    """Dense TFLOP/s by precision; `bf16` is always there and serves what is not listed."""
    link_gb_per_s: float
    """To the other devices of a replica, one way."""
    prefill_efficiency: float
    decode_efficiency: float
    bandwidth_efficiency: float
    layer_overhead_us: float
    """Fixed cost of one layer in one decode step."""
    reserved_gb: float
    """Taken by the engine itself on each device."""
    most_requests: int
    """Requests that the engine decodes together at most."""
    default_precision: Precision
    source: str

    def flops(self, precision: str) -> float:
        """Peak FLOP/s at which weights of this precision are multiplied."""
        return 1e12 * self.tflops.get(precision, self.tflops["bf16"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Steady state of one saturated replica."""

    output_tokens_per_s: float
    requests_per_s: float
    ttft_ms: float
    """Time to prefill the whole batch: the wait of the unluckiest request of a wave."""
    tpot_ms: float
    """Time of one decode step."""
    concurrency: float
    kv_limited_concurrency: float
    """Requests whose keys and values fit in memory at once."""
    log_sd: float
    """Standard deviation of the logarithm of measured over predicted."""
    bound_by: Literal["compute", "memory", "kv", "engine"]

    @property
    def interval(self) -> tuple[float, float]:
        """Output tokens per second, 5th and 95th percentile."""
        spread = pow(2.718281828459045, 1.6448536269514722 * self.log_sd)
        return self.output_tokens_per_s / spread, self.output_tokens_per_s * spread


def capacity(
    model: ModelFacts,
    hardware: Hardware,
    *,
    input_tokens: float,
    output_tokens: float,
    gpus: int = 1,
    precision: Precision | None = None,
    concurrency: float | None = None,
) -> Capacity:
    """Throughput and latency of one replica spread over `gpus` devices.

    With N weights, L layers of width d, i input and o output tokens, B requests together:
    prefill = B (2 N i + 2 L d i²) / (gpus · FLOPS · e_prefill) + all-reduce
    step = (weights + B (i + o/2) kv) / (gpus · bandwidth · e_bandwidth) + 2 N B / (gpus · FLOPS · e_decode)
           + L · overhead + 2 L · all-reduce;   output tokens/s = B o / (prefill + o · step).

    `concurrency` None asks for the most that memory and engine allow.

    Raises:
        InputError: the model does not fit, or a call is longer than its context.
    """
    chosen = precision or hardware.default_precision
    _check_context(model, input_tokens + output_tokens)
    context = input_tokens + output_tokens / 2.0
    kv_per_token = model.kv_bytes_per_token(_kv_bytes(chosen))
    weights = model.parameters * BYTES_PER_WEIGHT[chosen]
    fitting = _free_bytes(model, hardware, gpus, weights) / (kv_per_token * context)
    if fitting < 1.0:
        raise InputError(_does_not_fit(model, hardware, gpus, chosen))
    offered = float(hardware.most_requests) if concurrency is None else concurrency
    batch = max(1.0, min(offered, fitting, hardware.most_requests))

    spent = _seconds(
        model, hardware, gpus=gpus, precision=chosen, batch=batch, input_tokens=input_tokens, context=context
    )
    step_s = spent.memory + spent.compute + spent.overhead
    rate = batch / (spent.prefill + output_tokens * step_s)
    return Capacity(
        output_tokens_per_s=rate * output_tokens,
        requests_per_s=rate,
        ttft_ms=1e3 * spent.prefill,
        tpot_ms=1e3 * step_s,
        concurrency=batch,
        kv_limited_concurrency=fitting,
        log_sd=RESIDUAL_LOG_SD if fitting >= CRAMPED_REQUESTS else CRAMPED_LOG_SD,
        bound_by=_bound_by(
            {
                "compute": spent.prefill + output_tokens * spent.compute,
                "memory": output_tokens * spent.memory,
                "engine": output_tokens * spent.overhead,
            },
            is_kv_limited=fitting < min(offered, hardware.most_requests),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Seconds:
    """Prefill of a whole batch, and the three parts of one decode step."""

    prefill: float
    memory: float
    compute: float
    overhead: float


def _seconds(
    model: ModelFacts,
    hardware: Hardware,
    *,
    gpus: int,
    precision: Precision,
    batch: float,
    input_tokens: float,
    context: float,
) -> _Seconds:
    """The terms of `capacity`; `context` is the mean number of tokens whose keys and values a step reads."""
    flops, bandwidth = gpus * hardware.flops(precision), gpus * hardware.bandwidth_gb_per_s * 1e9
    flop = 2.0 * model.parameters * input_tokens + 2.0 * model.layers * model.hidden_size * input_tokens**2
    prefill_s = batch * flop / (flops * hardware.prefill_efficiency)
    prefill_s += 2.0 * model.layers * _all_reduce_s(model, hardware, gpus, tokens=batch * input_tokens)
    read = model.parameters * BYTES_PER_WEIGHT[precision]
    read += batch * context * model.kv_bytes_per_token(_kv_bytes(precision))
    overhead_s = model.layers * hardware.layer_overhead_us * 1e-6
    overhead_s += 2.0 * model.layers * _all_reduce_s(model, hardware, gpus, tokens=batch)
    return _Seconds(
        prefill=prefill_s,
        memory=read / (bandwidth * hardware.bandwidth_efficiency),
        compute=2.0 * model.parameters * batch / (flops * hardware.decode_efficiency),
        overhead=overhead_s,
    )


def _kv_bytes(precision: Precision) -> float:
    """Bytes of one cached number: engines keep keys and values in fp8 beside fp8 weights, else in 16 bits."""
    return 1.0 if precision == "fp8" else 2.0


def _all_reduce_s(model: ModelFacts, hardware: Hardware, gpus: int, *, tokens: float) -> float:
    """One all-reduce of the activations over half of the link; a layer needs two."""
    if gpus == 1:
        return 0.0
    moved = 2.0 * (gpus - 1) / gpus * tokens * model.hidden_size * 2.0
    return ALL_REDUCE_LATENCY_S + moved / (0.5 * hardware.link_gb_per_s * 1e9)


def _free_bytes(model: ModelFacts, hardware: Hardware, gpus: int, weights: float) -> float:
    return gpus * (USABLE_MEMORY * hardware.memory_gb - hardware.reserved_gb) * 1e9 - weights


def _bound_by(seconds: dict[str, float], *, is_kv_limited: bool) -> Literal["compute", "memory", "kv", "engine"]:
    """The largest share of the time; memory that is short of room for more requests is called kv."""
    if seconds["compute"] >= max(seconds["memory"], seconds["engine"]):
        return "compute"
    if is_kv_limited:
        return "kv"
    return "memory" if seconds["memory"] >= seconds["engine"] else "engine"


def _check_context(model: ModelFacts, tokens: float) -> None:
    if tokens > model.context_tokens:
        raise InputError(
            f"{model.name}: a call of {tokens:,.0f} tokens is longer than its context of "
            f"{model.context_tokens:,} tokens. Shorten the calls or choose another model."
        )


def _does_not_fit(model: ModelFacts, hardware: Hardware, gpus: int, precision: str) -> str:
    weights_gb = model.parameters * BYTES_PER_WEIGHT[precision] / 1e9
    usable_gb = gpus * (USABLE_MEMORY * hardware.memory_gb - hardware.reserved_gb)
    return (
        f"{model.name} in {precision} needs {weights_gb:.1f} GB for weights and room for one call, but "
        f"{gpus} × {hardware.name} leave {usable_gb:.1f} GB. Use more devices per replica, a smaller "
        "precision or a smaller model."
    )
