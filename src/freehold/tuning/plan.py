"""What a run will take before it begins: memory by part, whether it fits, hours, dollars, and how sure that is.

On GPUs the hours come from the cost model of `economics.finetune`, which was fitted to published rates; on a
processor from what was measured there (`forecast`). Dollars are the hours at a dated price.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError
from freehold.economics.finetune import FORWARD, P95, PASSES, finetuning
from freehold.economics.montecarlo import number
from freehold.tuning.plan_memory import GIB, Load, Memory, compute_bytes, learning_weights, plan_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.economics.decoder import ModelFacts
    from freehold.economics.machine import Hardware
    from freehold.economics.scenario import Rental
    from freehold.tuning.recipe import Recipe

COST_MODEL = "cost model"

TF32_TIMES = 2.0
"""As long as in 16 bits: 32-bit products are made in TF32, at half of the rate."""

HOST_LINK_BYTES_PER_S = 25e9
"""From the host's memory to one device: PCIe 4.0 x16 reaches 80 % of its 32 GB/s. An assumption, not a fit."""

HOST_ADAM_BYTES_PER_S = 150e9
"""Memory bandwidth of a server that updates weights on its processors: an assumption, not a fit."""

ADAM_TRAFFIC_BYTES = 28.0
"""Per weight: it, its gradient and two moments are read, three of them written, in 32 bits."""

OFFLOAD_LOG_SD = 0.6
ESTIMATED_TOKENS_LOG_SD = 0.15
"""More where tokens were estimated from characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The data of a run in numbers."""

    train: int
    validation: int
    tokens: float
    """Of one row, prompt and answer, on average."""
    longest: int
    """Tokens of the longest row that is not left out."""
    answer_tokens: float
    """Of one row, on average: places at which there is a loss."""
    left_out: int = 0
    """Rows with more tokens than the recipe allows."""
    source: str = "stated"
    """How the tokens were counted."""
    is_estimate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a run goes."""

    samples_per_s: float
    tokens_per_s: float
    seconds: float
    """Of the whole run."""
    log_sd: float
    """Of the logarithm of what was measured over what was foreseen."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One device, or this machine's processor."""

    name: str
    room_bytes: float
    """What a run may take of its memory."""
    hardware: Hardware | None
    """Its data sheet; None: a processor, whose pace is measured."""
    rental: Rental | None
    """What it costs; None where nobody's dated price is known."""
    price_share: float = 1.0
    """Of the rented machine in the table that this one is as large as."""

    @property
    def usd_per_hour(self) -> float | None:
        """Typical price; None where no price is known."""
        return None if self.rental is None else self.rental.usd_per_hour[1] * self.price_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run as it is foreseen."""

    recipe: Recipe
    base: str
    machine: Machine
    rows: Rows
    memory: Memory
    host_bytes: float
    """In the host's memory, of all devices together; 0 unless weights are kept there."""
    pace: Pace
    alternatives: tuple[Alternative, ...] = ()
    """Changes that make it fit, the cheapest first; empty where it fits."""

    @property
    def fits(self) -> bool:
        """Whether the device has the memory."""
        return self.memory.total <= self.machine.room_bytes

    @property
    def hours(self) -> float:
        """Wall time."""
        return self.pace.seconds / 3600.0

    @property
    def usd(self) -> float | None:
        """At the typical price; None where no price is known."""
        return self._usd(self.hours, 1)

    def interval_hours(self) -> tuple[float, float]:
        """5th and 95th percentile."""
        spread = math.exp(P95 * self.pace.log_sd)
        return self.hours / spread, self.hours * spread

    def chance(self, low_hours: float, high_hours: float) -> float:
        """How probable it is that the run takes from `low_hours` to `high_hours`, all devices together in GPU-hours."""
        gpu_hours = self.hours * self.recipe.devices.count
        below = [_normal(math.log(limit / gpu_hours) / self.pace.log_sd) for limit in (low_hours, high_hours)]
        return below[1] - below[0]

    def suggestion(self) -> str | None:
        """The cheapest change that makes it fit, in words; None where it fits."""
        if self.fits:
            return None
        if not self.alternatives:
            return "Nothing in the recipe makes it fit: take a smaller base or a device with more memory."
        here = next((way for way in self.alternatives if way.is_same_result and not way.is_elsewhere), None)
        cheapest = self.alternatives[0]
        if here is None or here is cheapest:
            return f"{cheapest.in_words()}."
        what = "another device" if cheapest.is_elsewhere else "another result"
        return f"{here.in_words()}. Cheapest of all, with {what}: {cheapest.in_words()}."

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The fields for people and programs, rounded so that the same input gives the same bytes."""
        hours = self.interval_hours()
        usd = self._usd(hours[0], 0), self._usd(hours[1], 2)
        rental = self.machine.rental
        return {
            "method": self.recipe.method,
            "base": self.base,
            "hardware": self.machine.name,
            "devices": self.recipe.devices.count,
            "parallel": self.recipe.devices.parallel,
            "rows": {"train": self.rows.train, "validation": self.rows.validation, "left_out": self.rows.left_out},
            "row_tokens": number(self.rows.tokens),
            "row_tokens_source": self.rows.source,
            "memory_gib": {name: number(size) for name, size in self.memory.gib().items()},
            "room_gib": number(self.machine.room_bytes / GIB),
            "host_memory_gib": number(self.host_bytes / GIB) if self.host_bytes else None,
            "fits": self.fits,
            "suggestion": self.suggestion(),
            "alternatives": [way.as_record() for way in self.alternatives],
            "hours": number(self.hours),
            "usd": None if self.usd is None else number(self.usd),
            "samples_per_s": number(self.pace.samples_per_s),
            "tokens_per_s": number(self.pace.tokens_per_s),
            "interval": {
                "hours": {"p5": number(hours[0]), "p95": number(hours[1])},
                "usd": None if usd[0] is None or usd[1] is None else {"p5": number(usd[0]), "p95": number(usd[1])},
            },
            "log_sd": number(self.pace.log_sd),
            "hours_source": self.pace.source,
            "price": None
            if rental is None
            else {
                "usd_per_device_hour": number(rental.usd_per_hour[1] * self.machine.price_share),
                "hardware": rental.hardware,
                "as_of": None if rental.as_of is None else rental.as_of.isoformat(),
                "terms": rental.terms,
                "source": rental.source,
            },
        }

    def _usd(self, hours: float, quote: int) -> float | None:
        """Of so many hours at the low, typical or high price."""
        rental = self.machine.rental
        if rental is None:
            return None
        return hours * self.recipe.devices.count * rental.usd_per_hour[quote] * self.machine.price_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One change to a recipe that makes it fit."""

    overrides: tuple[str, ...]
    """As they are written behind `freehold tune`."""
    is_same_result: bool
    """The same weights learn from the same batches: only where and how it is computed differs."""
    is_elsewhere: bool
    """On another kind of device."""
    hours: float
    usd: float | None
    memory_gib: float
    host_memory_gib: float | None

    def in_words(self) -> str:
        """The change, what it takes and what it costs."""
        cost = "" if self.usd is None else f", ${self.usd:,.2f}"
        host = f", {self.host_memory_gib:,.0f} GiB of the host's memory" if self.host_memory_gib else ""
        return f"{' '.join(self.overrides)} ({self.memory_gib:,.1f} GiB, {self.hours:,.2g} h{cost}{host})"

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The fields for programs."""
        return {
            "overrides": list(self.overrides),
            "same_result": self.is_same_result,
            "another_device": self.is_elsewhere,
            "hours": number(self.hours),
            "usd": None if self.usd is None else number(self.usd),
            "memory_gib": number(self.memory_gib),
            "host_memory_gib": None if self.host_memory_gib is None else number(self.host_memory_gib),
        }


def plan_run(recipe: Recipe, model: ModelFacts, machine: Machine, rows: Rows, *, pace: Pace | None = None) -> Plan:
    """The run of one recipe on one kind of device, without asking what would make it fit.

    Args:
        recipe: the run.
        model: the base.
        machine: one of its devices.
        rows: the data.
        pace: as it was measured; None: by the cost model, which knows GPUs.

    Raises:
        InputError: rows longer than the base reads, none to train on, or a processor without a measured pace.
    """
    if rows.train < 1:
        raise InputError("There are no rows to train on. Build a dataset first: freehold dataset build TASK")
    if recipe.training.max_tokens > model.context_tokens:
        raise InputError(
            f"training.max_tokens is {recipe.training.max_tokens}; {model.name} reads at most {model.context_tokens} "
            "tokens."
        )
    on_gpu = machine.hardware is not None and machine.hardware.kind == "gpu"
    if pace is None and not on_gpu:
        raise InputError(f"How fast {machine.name} trains is not known before it is measured; no table says it.")
    memory, host = plan_memory(recipe, model, _load(recipe, rows), on_gpu=on_gpu)
    return Plan(
        recipe=recipe,
        base=recipe.base,
        machine=machine,
        rows=rows,
        memory=memory,
        host_bytes=host,
        pace=pace or gpu_pace(recipe, model, machine, rows),
    )


def with_alternatives(plan: Plan, ways: Sequence[Alternative]) -> Plan:
    """The plan with what would make it fit, the cheapest first and of equals the one that changes least."""
    ordered = sorted(ways, key=lambda way: (math.inf if way.usd is None else way.usd, way.hours, len(way.overrides)))
    return replace(plan, alternatives=tuple(ordered))


def gpu_pace(recipe: Recipe, model: ModelFacts, machine: Machine, rows: Rows) -> Pace:
    """How fast a run goes on GPUs, by the cost model and what it leaves out.

    It was fitted to one answer per row in 16 bits. A pair is two rows, and the reference one pass over them all before
    the first step; 32 bits take twice as long; weights kept in the host's memory cross the link to it in every
    micro-batch.
    """
    hardware, training, devices = machine.hardware, recipe.training, recipe.devices
    if hardware is None:
        raise InputError(f"{machine.name} has no data sheet here.")
    micro = micro_rows(recipe)
    tokens = rows.tokens if training.packing else float(rows.longest)
    again = FORWARD if training.gradient_checkpointing else 0.0
    passes = PASSES[recipe.weights] + again
    # validation rows go forward only
    trained = (rows.train + rows.validation * FORWARD / passes) * tokens * training.epochs
    sequences = 2 if recipe.method == "dpo" else 1
    run = finetuning(
        model,
        hardware,
        method=recipe.weights,
        trained_tokens=max(1.0, trained),
        gpus=devices.count,
        sequence_tokens=max(1, round(tokens)),
        micro_batch=micro * sequences,
        rank=recipe.lora.rank,
        recompute=training.gradient_checkpointing,
        share=devices.parallel == "fsdp",
    )
    seconds = run.hours * 3600.0 * sequences
    if recipe.method == "dpo":
        seconds *= 1.0 + FORWARD / passes / training.epochs
    if compute_bytes(recipe, on_gpu=True) > 2.0:
        seconds *= TF32_TIMES
    log_sd = run.log_sd
    if devices.cpu_offload:
        seconds += _offload_s(recipe, model, rows)
        log_sd = math.hypot(log_sd, OFFLOAD_LOG_SD)
    if rows.is_estimate:
        log_sd = math.hypot(log_sd, ESTIMATED_TOKENS_LOG_SD)
    samples = rows.train * training.epochs
    return Pace(
        samples_per_s=samples / seconds,
        tokens_per_s=samples * rows.tokens * sequences / seconds,
        seconds=seconds,
        log_sd=log_sd,
        source=COST_MODEL,
    )


def micro_rows(recipe: Recipe) -> int:
    """Rows on one device at a time."""
    training = recipe.training
    return training.micro_batch_size or max(1, training.batch_size // recipe.devices.count)


def _load(recipe: Recipe, rows: Rows) -> Load:
    """The largest micro-batch: mean rows with one of the longest, or all as long as that where they are padded."""
    micro = micro_rows(recipe) * (2 if recipe.method == "dpo" else 1)
    mixed = rows.tokens * (micro - 1) + rows.longest
    tokens = math.ceil(mixed) if recipe.training.packing else micro * rows.longest
    return Load(
        tokens=tokens,
        sequence_tokens=rows.longest,
        answer_tokens=math.ceil(min(tokens, rows.answer_tokens * micro)),
        stored_tokens=math.ceil(rows.tokens * (rows.train + rows.validation)),
    )


def _offload_s(recipe: Recipe, model: ModelFacts, rows: Rows) -> float:
    """Weights cross to the device twice in a micro-batch, gradients back once, and Adam runs on the processors."""
    training, devices = recipe.training, recipe.devices
    learning = learning_weights(recipe, model)
    steps = math.ceil(rows.train / training.batch_size) * training.epochs
    micros = steps * max(1, training.batch_size // (micro_rows(recipe) * devices.count))
    weight_bytes = 4.0 if recipe.weights == "full" else compute_bytes(recipe, on_gpu=True)
    weight_bytes = 0.52 if recipe.weights == "qlora" else weight_bytes
    moved = 2 * weight_bytes * model.parameters + 4.0 * learning
    adam = ADAM_TRAFFIC_BYTES * learning / HOST_ADAM_BYTES_PER_S
    return micros * moved / devices.count / HOST_LINK_BYTES_PER_S + steps * adam


def _normal(z: float) -> float:
    return 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))
