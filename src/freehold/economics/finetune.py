"""What it takes to tune a model: GPU-hours, memory, and what would make it fit.

Time is arithmetic at a usual share of the peak, plus what each micro-batch costs whatever its length: launching the
layers' kernels, unpacking 4-bit weights, and gathering sharded weights over the links.
docs/decisions/0007-capacity.md says what was fitted to what.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from freehold.core.errors import InputError
from freehold.economics.machine import engine_of
from freehold.economics.montecarlo import number
from freehold.economics.steps import NETWORK_GB_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.decoder import ModelFacts
    from freehold.economics.machine import Hardware

Method = Literal["qlora", "lora", "full"]
METHODS: tuple[Method, ...] = get_args(Method)

PASSES: Mapping[Method, float] = {"full": 6.0, "lora": 4.0, "qlora": 4.0}
"""FLOP per active weight and token: forward 2, backward 2 to the inputs, and 2 to the weights where they learn."""

EFFICIENCY: Mapping[Method, float] = {"full": 0.56, "lora": 0.40, "qlora": 0.40}
"""Share of the 16-bit peak."""

LAYER_S = 3.0e-3
"""Forward and backward of one layer take at least this long: kernels are launched one by one."""

UNPACKED_BYTES = 33.0
"""Memory traffic for each 4-bit weight of a micro-batch, which is unpacked anew in each pass."""

STATE_BYTES: Mapping[Method, float] = {"full": 16.0, "lora": 2.0, "qlora": 0.5625}
"""Per weight. Full: 2 for the weight, 2 for its gradient, 12 for Adam's copy and moments in 32 bits."""

ADAPTER_STATE_BYTES = 16.0
GATHERED_BYTES: Mapping[Method, float] = {"full": 6.0, "lora": 4.0, "qlora": 1.125}
"""Per weight and micro-batch where weights are sharded: each is moved twice, and its gradient once if it learns."""

LOG_SD = 0.4
"""Spread of measured over predicted speed: libraries differ by a factor of two on the same machine."""

P95 = 1.6448536269514722
USABLE_MEMORY = 0.95
WORKSPACE_GB = 1.5
MICRO_BATCH_TOKENS = 128
"""Fewer in a micro-batch are no remedy."""
MOST_TOKENS = 1e15
MOST_GPUS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetuning:
    """One run of training, and whether it fits."""

    method: Method
    gpus: int
    trained_tokens: float
    tokens_per_s: float
    """Over all devices together."""
    hours: float
    gpu_hours: float
    memory_gb_per_gpu: float
    """Needed at the peak, activations of the micro-batch included."""
    fits: bool
    remedy: str | None
    """What would make it fit; None where it does."""
    log_sd: float

    @property
    def interval(self) -> tuple[float, float]:
        """GPU-hours, 5th and 95th percentile."""
        spread = math.exp(P95 * self.log_sd)
        return self.gpu_hours / spread, self.gpu_hours * spread

    def as_record(self) -> dict[str, object]:
        """The fields for people and programs, rounded so that the same input gives the same bytes."""
        low, high = self.interval
        return {
            "method": self.method,
            "gpus": self.gpus,
            "trained_tokens": number(self.trained_tokens),
            "tokens_per_s": number(self.tokens_per_s),
            "hours": number(self.hours),
            "gpu_hours": number(self.gpu_hours),
            "interval": {"p5": number(low), "p95": number(high)},
            "memory_gb_per_gpu": number(self.memory_gb_per_gpu),
            "fits": self.fits,
            "remedy": self.remedy,
            "log_sd": self.log_sd,
        }


def finetuning(
    model: ModelFacts,
    hardware: Hardware,
    *,
    method: Method,
    trained_tokens: float,
    gpus: int = 1,
    sequence_tokens: int = 2048,
    micro_batch: int = 1,
    rank: int = 16,
) -> Finetuning:
    """Time and memory of one run.

    With N active weights and t tokens in a micro-batch of one device:
    seconds = passes · N · t / (FLOPS · efficiency) + attention + layers · launch time + unpacking + gathering.

    Args:
        model: the base.
        hardware: one device.
        method: `full` moves all weights, `lora` an adapter, `qlora` an adapter over a base in 4 bits.
        trained_tokens: examples times their tokens times epochs, padding included.
        gpus: devices, each with a part of the data.
        sequence_tokens: length of a packed or padded row.
        micro_batch: rows on one device at a time.
        rank: of the adapter, on all linear layers.

    Raises:
        InputError: an unknown method, or a number that is none.
    """
    if method not in METHODS:
        raise InputError(f"Unknown method {method!r}; choose one of {', '.join(METHODS)}.")
    limits = {
        "trained tokens": (trained_tokens, MOST_TOKENS),
        "gpus": (gpus, MOST_GPUS),
        "sequence tokens": (sequence_tokens, 1e8),
        "micro-batch": (micro_batch, 1e6),
        "rank": (rank, 1e5),
    }
    for what, (value, most) in limits.items():
        if not 1 <= value <= most:  # NaN fails too
            raise InputError(f"{what} is {value!r}; it must be a number from 1 to {most:,.0f}.")
    step_s = _step_s(
        model, hardware, method, gpus=gpus, sequence_tokens=sequence_tokens, micro_batch=micro_batch, rank=rank
    )
    rate = gpus * sequence_tokens * micro_batch / step_s
    hours = trained_tokens / rate / 3600.0
    tokens = sequence_tokens * micro_batch
    is_sharded = _is_sharded(model, hardware, method, gpus, tokens=tokens, rank=rank)
    memory = memory_gb(model, method, shards=gpus if is_sharded else 1, tokens=tokens, rank=rank)
    room = USABLE_MEMORY * hardware.memory_gb
    return Finetuning(
        method=method,
        gpus=gpus,
        trained_tokens=trained_tokens,
        tokens_per_s=rate,
        hours=hours,
        gpu_hours=hours * gpus,
        memory_gb_per_gpu=memory,
        fits=memory <= room,
        remedy=None if memory <= room else _remedy(model, hardware, method, gpus=gpus, tokens=tokens, rank=rank),
        log_sd=LOG_SD,
    )


def _step_s(
    model: ModelFacts,
    hardware: Hardware,
    method: Method,
    *,
    gpus: int,
    sequence_tokens: int,
    micro_batch: int,
    rank: int,
) -> float:
    """One micro-batch on one device."""
    flops = hardware.flops("bf16") * EFFICIENCY[method] * min(1.0, hardware.sustained_share)
    tokens = sequence_tokens * micro_batch
    flop = PASSES[method] * model.active_parameters * tokens
    # causal attention multiplies half of the square, twice forward and four times backward
    flop += 6.0 * model.attention_width * sequence_tokens * tokens
    seconds = flop / flops + model.layers * LAYER_S
    if method == "qlora":
        seconds += UNPACKED_BYTES * model.parameters / (hardware.bandwidth_gb_per_s * 1e9)
    if _is_sharded(model, hardware, method, gpus, tokens=tokens, rank=rank):
        is_far = gpus > hardware.link_devices
        link = min(hardware.link_gb_per_s, NETWORK_GB_PER_S) if is_far else hardware.link_gb_per_s
        share = engine_of(hardware).link_share
        seconds += GATHERED_BYTES[method] * model.parameters * (gpus - 1) / gpus / (link * 1e9 * share)
    return seconds


def _is_sharded(model: ModelFacts, hardware: Hardware, method: Method, gpus: int, *, tokens: int, rank: int) -> bool:
    """Whether devices share one copy of the weights: always where all learn, else where a copy each is too much."""
    if gpus == 1:
        return False
    whole = memory_gb(model, method, shards=1, tokens=tokens, rank=rank)
    return method == "full" or whole > USABLE_MEMORY * hardware.memory_gb


def memory_gb(model: ModelFacts, method: Method, *, shards: int, tokens: int, rank: int) -> float:
    """Peak on one device: its share of the state, and activations.

    Activations are kept once per layer and computed again in the backward pass; the logits of a micro-batch are held
    in 16 bits and, for the loss, twice in 32.
    """
    state = STATE_BYTES[method] * model.parameters / shards
    if method != "full":
        # two thin matrices beside each of about seven square-ish ones of a layer
        adapter = 2.0 * 7.0 * rank * model.layers * model.hidden_size
        state += ADAPTER_STATE_BYTES * adapter
    kept = 2.0 * tokens * model.layers * model.hidden_size
    working = tokens * (34.0 * model.hidden_size + 10.0 * model.vocabulary_tokens)
    return (state + kept + working) / 1e9 + WORKSPACE_GB


def _remedy(model: ModelFacts, hardware: Hardware, method: Method, *, gpus: int, tokens: int, rank: int) -> str:
    """The gentlest changes that would make it fit, best first."""
    room = USABLE_MEMORY * hardware.memory_gb

    def fits(how: Method, devices: int, together: int) -> bool:
        return memory_gb(model, how, shards=devices, tokens=together, rank=rank) <= room

    more = next((2**power for power in range(1, 11) if 2**power > gpus and fits(method, 2**power, tokens)), None)
    lighter = METHODS[: METHODS.index(method)][::-1]
    fewer = next((tokens // 2**power for power in range(1, 20) if tokens // 2**power >= MICRO_BATCH_TOKENS
                  and fits(method, gpus, tokens // 2**power)), None)  # fmt: skip
    ways = [f"{more} devices"] if more else []
    ways += [other for other in lighter if fits(other, gpus, tokens)]
    ways += [f"{fewer} tokens in a micro-batch"] if fewer else []
    return " or ".join(ways) or "a device with more memory, or a smaller model"
