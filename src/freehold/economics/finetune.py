"""What it takes to tune a model: GPU-hours, memory, and what would make it fit.

Time is added up: arithmetic at a usual share of the peak, numbers that pass through memory between the matrix
products, layers that are launched one by one, 4-bit weights that are unpacked, and shared weights that are gathered.
A short micro-batch waits for the host that launches it. Memory, links and 8 bits reach the shares that serving does.
docs/decisions/0007-capacity.md says what was counted and what was fitted to what.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from freehold.core.errors import InputError
from freehold.economics.machine import GPU_ENGINE
from freehold.economics.montecarlo import number
from freehold.economics.steps import shared_s_per_byte
from freehold.economics.tuning_memory import (
    METHODS,
    USABLE_MEMORY,
    Method,
    MicroBatch,
    memory_gb,
    packed_weights,
    remedy,
    state_gb,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.decoder import ModelFacts
    from freehold.economics.machine import Hardware

Trainer = Literal["typical", "eager", "compiled"]
TRAINERS: tuple[Trainer, ...] = get_args(Trainer)
TrainingPrecision = Literal["bf16", "fp8"]

PASSES: Mapping[Method, float] = {"full": 6.0, "lora": 4.0, "qlora": 4.0}
"""FLOP per active weight and token: forward 2, backward 2 to the inputs, and 2 to the weights where they learn."""

FORWARD = 2.0
ATTENTION_PASSES = 6.0
"""FLOP per token, earlier token and unit of width: causal attention multiplies half of the square, once forward (2)
and twice backward (4)."""

GATHERED_BYTES: Mapping[Method, float] = {"full": 6.0, "lora": 4.0, "qlora": 1.125}
"""Per weight and micro-batch where weights are shared: each is moved twice, and its gradient once if it learns."""

KEPT_TRAFFIC = 0.75
"""Of four sweeps over a layer's numbers (forward, again, backward twice), three where none is computed again."""

SHORT_TOKENS, SHORT_LOG_SD = 1024, 0.5
"""A shorter micro-batch waits for the host, where libraries and processors differ most."""

P95 = 1.6448536269514722
MOST_TOKENS = 1e15
MOST_GPUS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """How a training library runs a layer."""

    full_bytes: float
    """Memory traffic beside the matrix products, per hidden number, token and layer, where all weights learn."""
    adapter_bytes: float
    """The same with an adapter: its own small products, casts and sums are added."""
    launches: float
    """Kernels launched, as a share of what plain eager code launches; the host's work shrinks with them."""
    unpacking: float
    """Passes of 4-bit weights through memory, as a share of what eager code needs."""
    exposed: float
    """Share of the gathering that arithmetic does not hide."""
    logit_bytes: float
    """Held per token and word of the vocabulary until the loss is known; little where it is computed in pieces."""
    log_sd: float


SOFTWARE: Mapping[Trainer, Software] = {
    "eager": Software(
        full_bytes=600.0, adapter_bytes=1360.0, launches=1.0, unpacking=1.0, exposed=1.0, logit_bytes=10.0, log_sd=0.25
    ),
    "compiled": Software(
        full_bytes=150.0, adapter_bytes=450.0, launches=0.25, unpacking=0.5, exposed=0.0, logit_bytes=1.25, log_sd=0.25
    ),
    "typical": Software(
        full_bytes=487.5, adapter_bytes=1132.5, launches=0.8125, unpacking=0.875, exposed=0.75, logit_bytes=5.625,
        log_sd=0.4,
    ),
}  # fmt: skip
"""Plain transformers and PEFT; torch.compile, fused kernels, Megatron; and where it is not said, three quarters of the
first, as most published rates are of its kind. The loss is computed whole or in eight pieces; `typical` is between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The constants that were fitted to published training rates."""

    efficiency: float
    """Share of the peak that matrix products reach."""
    layer_s: float
    """Gaps between the kernels of one layer, forward and backward, in eager code."""
    unpacked_bytes: float
    """Memory traffic for each 4-bit weight of a micro-batch, which is unpacked anew in each pass."""


PACE = Pace(efficiency=0.725, layer_s=2.2e-3, unpacked_bytes=63.0)

HOST_LAYER_S = 5.0e-3
"""The host prepares one layer of eager code, forward and backward; devices that are done sooner wait for it. Read off
runs of 256 and 512 tokens, which take as long as each other."""

HOOKED = 2.0
"""Times as long where all weights learn or are shared: the host orders each to be gathered, its gradient to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetuning:
    """One run of training, and whether it fits."""

    method: Method
    trainer: Trainer
    gpus: int
    trained_tokens: float
    tokens_per_s: float
    """Over all devices together."""
    hours: float
    gpu_hours: float
    state_gb: float
    """Weights, gradients and optimizer states, over all devices that share them."""
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
            "trainer": self.trainer,
            "gpus": self.gpus,
            "trained_tokens": number(self.trained_tokens),
            "tokens_per_s": number(self.tokens_per_s),
            "hours": number(self.hours),
            "gpu_hours": number(self.gpu_hours),
            "interval": {"p5": number(low), "p95": number(high)},
            "state_gb": number(self.state_gb),
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
    trainer: Trainer = "typical",
    recompute: bool = True,
    precision: TrainingPrecision = "bf16",
    share: bool | None = None,
    pace: Pace = PACE,
) -> Finetuning:
    """Time and memory of one run.

    Args:
        model: the base.
        hardware: one device.
        method: `full` moves all weights, `lora` an adapter, `qlora` an adapter over a base in 4 bits.
        trained_tokens: examples times their tokens times epochs, padding included.
        gpus: devices, each with a part of the data.
        sequence_tokens: length of a packed or padded row.
        micro_batch: rows on one device at a time.
        rank: of the adapter, on all linear layers.
        trainer: the kind of library: plain eager code, fused or compiled code, or between them.
        recompute: whether activations are computed again in the backward pass, as is usual, and not kept.
        precision: of the matrix products; weights that learn are kept in 16 and 32 bits anyway.
        share: whether each device holds a part of every weight; None: where all learn, or a copy each is too much.
        pace: fitted constants.

    Raises:
        InputError: an unknown method or trainer, a number that is none, or no fp8 on the device.
    """
    _check_words(hardware, method, trainer, precision)
    _check_numbers(
        {
            "trained tokens": (trained_tokens, MOST_TOKENS), "gpus": (gpus, MOST_GPUS), "rank": (rank, 1e5),
            "sequence tokens": (sequence_tokens, 1e8), "micro-batch": (micro_batch, 1e6),
        }
    )  # fmt: skip
    tokens = sequence_tokens * micro_batch
    software = SOFTWARE[trainer]
    batch = MicroBatch(tokens=tokens, rank=rank, recompute=recompute, logit_bytes=software.logit_bytes)
    room = USABLE_MEMORY * hardware.memory_gb
    # weights that learn are shared wherever there is somebody to share with, others where a copy each is too much
    if share is None:
        share = method == "full" or memory_gb(model, method, batch, shards=1) > room
    shards = gpus if share else 1
    memory = memory_gb(model, method, batch, shards=shards)
    seconds = _computing_s(
        model, hardware, method, tokens=tokens, sequence_tokens=sequence_tokens, software=software,
        recompute=recompute, precision=precision, pace=pace,
    )  # fmt: skip
    gathering = _gathering_s(model, hardware, method, shards)
    host = model.layers * HOST_LAYER_S * software.launches * (HOOKED if method == "full" or shards > 1 else 1.0)
    seconds = max(seconds + software.exposed * gathering, gathering, host)
    rate = gpus * tokens / seconds
    hours = trained_tokens / rate / 3600.0
    fits = memory <= room
    way = None if fits else remedy(
        model, method, batch, room_gb=room, gpus=gpus, least_logit_bytes=SOFTWARE["compiled"].logit_bytes
    )  # fmt: skip
    return Finetuning(
        method=method,
        trainer=trainer,
        gpus=gpus,
        trained_tokens=trained_tokens,
        tokens_per_s=rate,
        hours=hours,
        gpu_hours=hours * gpus,
        state_gb=state_gb(model, method, rank=rank),
        memory_gb_per_gpu=memory,
        fits=fits,
        remedy=way,
        log_sd=SHORT_LOG_SD if tokens < SHORT_TOKENS else software.log_sd,
    )


def _check_words(hardware: Hardware, method: str, trainer: str, precision: str) -> None:
    for what, word, words in (("method", method, METHODS), ("trainer", trainer, TRAINERS)):
        if word not in words:
            raise InputError(f"Unknown {what} {word!r}; choose one of {', '.join(words)}.")
    if precision not in {"bf16", "fp8"}:
        raise InputError(f"Training in {precision!r} is not known; choose bf16 or fp8.")
    if precision not in hardware.tflops:
        raise InputError(f"{hardware.name} does not multiply in {precision}; train in bf16.")


def _check_numbers(limits: Mapping[str, tuple[float, float]]) -> None:
    for what, (value, most) in limits.items():
        if not 1 <= value <= most:  # NaN fails too
            raise InputError(f"{what} is {value!r}; it must be a number from 1 to {most:,.0f}.")


def _computing_s(
    model: ModelFacts,
    hardware: Hardware,
    method: Method,
    *,
    tokens: int,
    sequence_tokens: int,
    software: Software,
    recompute: bool,
    precision: TrainingPrecision,
    pace: Pace,
) -> float:
    """One micro-batch on one device, without the links."""
    again = FORWARD if recompute else 0.0
    flops = hardware.flops("bf16") * pace.efficiency * min(1.0, hardware.sustained_share)
    low = GPU_ENGINE.low_precision_share
    faster = low * hardware.tflops["fp8"] / hardware.tflops["bf16"] if precision == "fp8" else 1.0
    products = (PASSES[method] + again) * model.active_parameters / faster
    attention = (ATTENTION_PASSES + again) * model.attention_width * sequence_tokens
    bandwidth = hardware.bandwidth_gb_per_s * 1e9 * GPU_ENGINE.bandwidth_efficiency
    each = software.full_bytes if method == "full" else software.adapter_bytes
    traffic = each * (1.0 if recompute else KEPT_TRAFFIC) * tokens * model.layers * model.hidden_size
    if method == "qlora":
        traffic += pace.unpacked_bytes * software.unpacking * packed_weights(model)
    busy = tokens * (products + attention) / flops + traffic / bandwidth
    return busy + model.layers * pace.layer_s * software.launches


def _gathering_s(model: ModelFacts, hardware: Hardware, method: Method, shards: int) -> float:
    """Moving shared weights to those who compute with them, and gradients back, for one micro-batch."""
    moved = GATHERED_BYTES[method] * model.parameters
    return moved * shared_s_per_byte(hardware, shards) / GPU_ENGINE.link_share
