"""What would make a run fit: each change is planned like the run itself, and those that fit are compared by cost."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from freehold.tuning.plan import Alternative, Machine, Plan, Rows, micro_rows, plan_run, with_alternatives
from freehold.tuning.plan_memory import GIB
from freehold.tuning.recipe import Recipe
from freehold.tuning.recipe_faults import contradictions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from freehold.economics.decoder import ModelFacts
    from freehold.tuning.plan import Pace

MOST_DEVICES = 64
MOST_CHANGES = 3
"""At once; more than these is another recipe."""

Change = dict[str, object]


def plan_with_remedies(
    recipe: Recipe,
    model: ModelFacts,
    machine: Machine,
    rows: Rows,
    *,
    pace: Pace | None = None,
    others: Sequence[Machine] = (),
    repace: Callable[[Recipe], Pace] | None = None,
) -> Plan:
    """The run, and the changes that make it fit where it does not.

    Args:
        recipe: the run.
        model: the base.
        machine: one of its devices.
        rows: the data.
        pace: as it was measured; None: by the cost model.
        others: devices that could be rented in its place.
        repace: how fast a changed recipe would go where the pace is measured; None: by the cost model.
    """
    plan = plan_run(recipe, model, machine, rows, pace=pace)
    if plan.fits:
        return plan

    def tried(changed: Recipe, where: Machine) -> Plan:
        measured = repace(changed) if repace and where.hardware is None else None
        return plan_run(changed, model, where, rows, pace=measured)

    found: list[Alternative] = []
    thrifty, more, lighter = _thrift(recipe), _more_devices(recipe, machine), _other_result(recipe)
    for is_same, needed in ((True, thrifty), (True, more), (False, lighter)):
        if not needed:
            continue
        ways = thrifty if needed is thrifty else [*needed, *thrifty]
        for change in _fewest(recipe, ways, needed, lambda changed: tried(changed, machine).fits):
            found.append(_alternative(tried(_changed(recipe, change), machine), change, is_same=is_same))
    # another device, with the least that it needs besides
    for other in others:
        named: Change = {"devices.hardware": other.name}
        if plan_run(_changed(recipe, named), model, other, rows).fits:
            found.append(_alternative(plan_run(_changed(recipe, named), model, other, rows), named, is_same=True))
    return with_alternatives(plan, found)


def _thrift(recipe: Recipe) -> list[Change]:
    """Changes on the same devices after which the same weights learn from the same batches, each alone."""
    training, devices = recipe.training, recipe.devices
    ways: list[Change] = []
    if not training.gradient_checkpointing:
        ways.append({"training.gradient_checkpointing": True})
    micro = micro_rows(recipe)
    while micro > 1:
        micro //= 2
        if training.batch_size % (micro * devices.count) == 0:
            ways.append({"training.micro_batch_size": micro})
    if devices.count > 1 and devices.parallel == "ddp":
        ways.append({"devices.parallel": "fsdp"})
    return ways


def _more_devices(recipe: Recipe, machine: Machine) -> list[Change]:
    """The same with more devices that share the weights, or with the host's memory."""
    training, devices = recipe.training, recipe.devices
    if machine.hardware is None:
        return []
    ways: list[Change] = []
    count = 2
    while count <= MOST_DEVICES:
        if count > devices.count and training.batch_size % count == 0:
            more: Change = {"devices.count": count, "devices.parallel": "fsdp"}
            if training.batch_size % (micro_rows(recipe) * count):
                more["training.micro_batch_size"] = training.batch_size // count
            ways.append(more)
        count *= 2
    if not devices.cpu_offload:
        ways.append({"devices.parallel": "fsdp", "devices.cpu_offload": True})
    return ways


def _other_result(recipe: Recipe) -> list[Change]:
    """Changes after which something else is learned, gentlest first, with what saves memory beside them."""
    ways: list[Change] = []
    key = "dpo.weights" if recipe.method == "dpo" else "method"
    lighter = {"full": ("lora", "qlora"), "lora": ("qlora",), "qlora": ()}[recipe.weights]
    if recipe.training.optimizer == "adamw" and not recipe.devices.cpu_offload:
        ways.append({"training.optimizer": "adamw_8bit"})
    ways += [{key: weights} for weights in lighter]
    half = recipe.training.max_tokens // 2
    if half >= 128:
        ways.append({"training.max_tokens": half})
    return ways


def _fewest(
    recipe: Recipe, ways: Sequence[Change], needed: Sequence[Change], fits: Callable[[Recipe], bool]
) -> list[Change]:
    """The changes that fit: all single ones if any does, else all pairs, else all triples.

    Of `needed` at least one is among them. What the recipe's fields forbid together is passed over.
    """
    for size in range(1, MOST_CHANGES + 1):
        found: list[Change] = []
        for some in combinations(ways, size):
            change: Change = {key: value for one in some for key, value in one.items()}
            change = {key: value for key, value in change.items() if value != _field(recipe, key)}
            says_two_things = any(change.get(key, value) != value for one in some for key, value in one.items())
            if says_two_things or not any(one in needed for one in some):
                continue
            changed = _changed(recipe, change)
            if not any(contradictions(changed.model_dump(mode="json"), Recipe, {}, "")) and fits(changed):
                found.append(change)
        if found:
            return found
    return []


def _changed(recipe: Recipe, change: Mapping[str, object]) -> Recipe:
    """The recipe with these fields."""
    fields = recipe.model_dump(mode="json")
    for key, value in change.items():
        *above, last = key.split(".")
        here = fields
        for name in above:
            here = here[name]
        here[last] = value
    return Recipe.model_validate(fields)


def _field(recipe: Recipe, key: str) -> object:
    """What the recipe has there now."""
    found: object = recipe
    for name in key.split("."):
        found = getattr(found, name)
    return found


def _alternative(plan: Plan, change: Mapping[str, object], *, is_same: bool) -> Alternative:
    words = {True: "true", False: "false"}
    return Alternative(
        overrides=tuple(f"{key}={words[value] if isinstance(value, bool) else value}" for key, value in change.items()),
        is_same_result=is_same,
        is_elsewhere="devices.hardware" in change,
        hours=plan.hours,
        usd=plan.usd,
        memory_gib=plan.memory.total / GIB,
        host_memory_gib=plan.host_bytes / GIB if plan.host_bytes else None,
    )
