"""One device as its data sheet describes it, and the shares of its promises that serving engines reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from freehold.economics.precision import EIGHT_BIT, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One device in numbers."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    kind: Literal["gpu", "cpu"]
    memory_gb: float
    bandwidth_gb_per_s: float
    tflops: dict[str, float]
    """Dense TFLOP/s by precision; `bf16` is always there and serves what is not listed."""
    link_gb_per_s: float
    """To the other devices of a replica, one way."""
    link_devices: int
    """Devices that this link joins; beyond them traffic takes the network."""
    sustained_share: float
    """Share of the usual tensor efficiency that the device's software and power limit leave; 1 for most."""
    default_precision: Precision
    source: str
    aliases: tuple[str, ...] = ()

    def multiplies(self, precision: str) -> str:
        """The precision in which weights of this one are multiplied: 16 bits where there is no unit for less."""
        if precision in self.tflops:
            return precision
        return "fp8" if precision in EIGHT_BIT and "fp8" in self.tflops else "bf16"

    def flops(self, precision: str) -> float:
        """Peak FLOP/s at which weights of this precision are multiplied."""
        return 1e12 * self.tflops[self.multiplies(precision)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Shares of the data sheet that serving engines reach, and what a step costs beside arithmetic.

    One set serves all GPUs and all engines. How each number was found and what was tried in its place is in
    docs/decisions/0007-capacity.md.
    """

    prefill_efficiency: float
    """Share of peak FLOP/s in 16 bits while prompts are read."""
    decode_efficiency: float
    """The same while answers are written; memory is read meanwhile."""
    bandwidth_efficiency: float
    low_precision_share: float
    """What remains of the higher peak at which 8 and 4 bits are multiplied."""
    half_rate_width: float
    """Width of an expert's slice on one device at which half of the efficiency remains; wider slices keep more."""
    int4_expert_share: float
    """What remains, of arithmetic and bandwidth, where experts are unpacked from 4 bits to 16."""
    link_share: float
    all_reduce_us: float
    """Latency of one all-reduce inside a server; a layer needs two."""
    layer_us: float
    """Fixed time of one layer in one step: launches, norms, small kernels."""
    quantised_layer_us: float
    """More of it where a mixture's activations are brought to 8 bits before each multiplication."""
    latent_layer_us: float
    """More of it for latent attention."""
    indexed_layer_us: float
    """More of it where an index picks the tokens that a layer attends to."""
    state_layer_us: float
    """More of it for linear attention."""
    request_us: float
    """Time of the server for each request in each step, when answers are streamed to clients."""
    round_trip_ms: float
    """Of each streamed request beside the engine's work: the way there and back, taking it in, its first token out."""
    usable_memory: float
    """Share of device memory that the engine takes."""
    reserved_gb: float
    """Taken by the engine itself on each device."""
    most_requests: int
    """Requests decoded together at most when nobody limits them."""


GPU_ENGINE = Engine(
    prefill_efficiency=0.76,
    decode_efficiency=1.0,
    bandwidth_efficiency=0.945,
    low_precision_share=0.65,
    half_rate_width=2060.0,
    int4_expert_share=0.49,
    link_share=0.5,
    all_reduce_us=2.0,
    layer_us=70.0,
    quantised_layer_us=17.0,
    latent_layer_us=27.5,
    indexed_layer_us=92.0,
    state_layer_us=28.5,
    request_us=21.5,
    round_trip_ms=30.0,
    usable_memory=0.9,
    reserved_gb=3.5,
    most_requests=1024,
)
"""Fitted to published and measured serving rates (docs/decisions/0007-capacity.md, benchmarks/capacity.py)."""

CPU_ENGINE = Engine(
    prefill_efficiency=1.0,
    decode_efficiency=0.405,
    bandwidth_efficiency=1.0,
    low_precision_share=1.0,
    half_rate_width=0.0,
    int4_expert_share=1.0,
    link_share=0.5,
    all_reduce_us=10.0,
    layer_us=0.0,
    quantised_layer_us=0.0,
    latent_layer_us=0.0,
    indexed_layer_us=0.0,
    state_layer_us=0.0,
    request_us=0.0,
    round_trip_ms=0.0,
    usable_memory=0.9,
    reserved_gb=0.5,
    most_requests=16,
)
"""From four numbers measured on two threads (benchmarks/cpu_engine.py, docs/decisions/0006-cpu-engine.md)."""


def engine_of(hardware: Hardware) -> Engine:
    """The set of shares that holds on this kind of device."""
    return GPU_ENGINE if hardware.kind == "gpu" else CPU_ENGINE
