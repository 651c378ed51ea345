"""What is wrong with a recipe, one sentence per fault: where it stands, what was found, what is allowed."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails

USUAL = {
    "lora.rank": "8 to 64 is usual",
    "lora.alpha": "once or twice the rank is usual",
    "lora.dropout": "0 to 0.1 is usual",
    "training.learning_rate": "0.0001 to 0.003 is usual with an adapter, 0.00001 where all weights learn",
    "training.warmup": "0.03 to 0.1 is usual",
    "training.epochs": "1 to 5 is usual",
    "training.clip_norm": "1.0 is usual",
    "dpo.beta": "0.05 to 0.5 is usual",
}

BOUNDS = {
    "greater_than": ("gt", "it must be more than {}"),
    "greater_than_equal": ("ge", "it must be {} or more"),
    "less_than": ("lt", "it must be less than {}"),
    "less_than_equal": ("le", "it must be {} or less"),
}
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list such as [q_proj, v_proj]",
    "model": "a group of fields, each on its own line",
}


def told(
    errors: Sequence[ErrorDetails], schema: type[BaseModel], origin: Mapping[str, str], label: str
) -> Iterator[str]:
    """The faults that pydantic found, as sentences, in its order.

    Args:
        errors: what it found.
        schema: the recipe's type, for the names that it knows.
        origin: where each dotted key was given: a line of the file, or an option.
        label: of the file, for keys that stand nowhere.
    """
    for found in errors:
        key = ".".join(str(part) for part in found["loc"] if not isinstance(part, int))
        where = origin.get(key, label)
        if found["type"] == "missing":
            yield f"{label}: {key} is missing."
        elif found["type"] == "extra_forbidden":
            near = get_close_matches(key, list(_keys(schema)), n=1)
            yield f"{where}: {key} is not a field of a recipe{f'; did you mean {near[0]}?' if near else '.'}"
        else:
            usual = f" ({USUAL[key]})" if key in USUAL else ""
            yield f"{where}: {key} is {_shown(found['input'])}; {_allowed(found)}{usual}."


def contradictions(
    fields: Mapping[str, Any],  # Any: not checked yet
    schema: type[BaseModel],
    origin: Mapping[str, str],
    label: str,
) -> Iterator[str]:
    """Pairs of fields that are each right and cannot stand together; fields that are wrong by themselves are passed."""

    def value(key: str) -> Any:  # Any: not checked yet
        return _value(fields, schema, key)

    for key, fault in RULES:
        message = fault(value)
        if message is not None:
            yield f"{origin.get(key, label)}: {key} is {_shown(value(key))}; {message}"


def repeated_keys(root: yaml.Node | None, label: str) -> list[str]:
    """Keys that a file gives twice: YAML would silently keep the last."""
    faults: list[str] = []

    def walk(node: yaml.Node | None, above: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        first: dict[str, int] = {}
        for key, inner in node.value:
            name, line = f"{above}{key.value}", key.start_mark.line + 1
            if name in first:
                faults.append(f"{label}, line {line}: {name} is given twice, first on line {first[name]}; remove one.")
            first.setdefault(name, line)
            walk(inner, f"{name}.")

    walk(root, "")
    return faults


def _no_four_bits(value: Callable[[str], Any]) -> str | None:
    """4-bit weights need `cuda` or `cpu`."""
    if _learns(value) == "qlora" and value("devices.type") == "mps":
        return "4-bit weights need cuda or cpu. Use lora on this device."
    return None


def _no_second_device(value: Callable[[str], Any]) -> str | None:
    """`mps` is one device."""
    if value("devices.type") == "mps" and _is_count(value("devices.count")) and value("devices.count") > 1:
        return "mps is one device. Set devices.count=1."
    return None


def _no_eight_bits(value: Callable[[str], Any]) -> str | None:
    """`adamw_8bit` needs `cuda` or `cpu`, and whole weights on the device: neither `fsdp` on several nor offload."""
    if value("training.optimizer") != "adamw_8bit":
        return None
    if value("devices.type") == "mps":
        return "8-bit moments need cuda or cpu. Use adamw on this device."
    if value("devices.cpu_offload") is True:
        return "with devices.cpu_offload the moments lie in the host's memory, where only adamw works."
    if value("devices.parallel") == "fsdp" and _is_shared(value):
        return "8-bit moments need whole weights, and devices.parallel=fsdp parts them. Use adamw, or ddp."
    return None


def _no_offload(value: Callable[[str], Any]) -> str | None:
    """Weights leave a device only where `fsdp` parts them between several, and only for a host that is not it."""
    if value("devices.cpu_offload") is not True:
        return None
    if value("devices.parallel") == "ddp":
        return "weights can leave a device only where they are shared. Set devices.parallel=fsdp too."
    if value("devices.type") == "cpu":
        return "the weights of processes on a processor are in the host's memory already. Set it to false."
    if not _is_shared(value):
        return "one device shares its weights with nobody. Set devices.count to 2 or more, or this to false."
    return None


def _no_sharing(value: Callable[[str], Any]) -> str | None:
    """With `fsdp`, an adapter goes on all layers."""
    if value("devices.parallel") == "fsdp" and value("lora.upper_layers") and _learns(value) != "full":
        return "states of lower layers are stored on one device only. Set lora.upper_layers to null, or use ddp."
    return None


def _no_even_parts(value: Callable[[str], Any]) -> str | None:
    """A batch is parted evenly between devices and their micro-batches."""
    batch, micro, devices = (
        value(key) for key in ("training.batch_size", "training.micro_batch_size", "devices.count")
    )
    if not _is_count(batch) or not _is_count(devices):
        return None
    part = devices * (micro if _is_count(micro) else 1)
    if batch % part == 0:
        return None
    each = f" times training.micro_batch_size ({micro})" if _is_count(micro) else ""
    near = max(1, round(batch / part)) * part
    return f"it must be a multiple of devices.count ({devices}){each}, such as {near}."


RULES: tuple[tuple[str, Callable[[Callable[[str], Any]], str | None]], ...] = (
    ("devices.type", _no_four_bits),
    ("devices.count", _no_second_device),
    ("training.optimizer", _no_eight_bits),
    ("devices.cpu_offload", _no_offload),
    ("devices.parallel", _no_sharing),
    ("training.batch_size", _no_even_parts),
)
"""The field that is blamed, and what is wrong with it beside the others; the docstring tells the rule."""


def _learns(value: Callable[[str], Any]) -> Any:  # Any: not checked yet
    """What learns: an adapter, an adapter over 4 bits, or every weight."""
    return value("dpo.weights") if value("method") == "dpo" else value("method")


def _is_shared(value: Callable[[str], Any]) -> bool:
    """Several devices work on it."""
    return not _is_count(value("devices.count")) or value("devices.count") > 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _value(fields: Mapping[str, Any], schema: type[BaseModel], key: str) -> Any:  # Any: not checked yet
    """What a dotted key holds, its default where it is not given; None where there is neither."""
    here: Any = fields
    default: Any = schema
    for name in key.split("."):
        here = here.get(name) if isinstance(here, dict) else None
        if isinstance(default, type) and issubclass(default, BaseModel):
            field = default.model_fields.get(name)
            default = None if field is None else (field.annotation if field.is_required() else field.default)
        else:
            default = getattr(default, name, None)
    is_left_to_default = here is None and not isinstance(default, type)
    return default if is_left_to_default else here


def _keys(schema: type[BaseModel], above: str = "") -> Iterator[str]:
    """All dotted keys of a recipe."""
    for name, field in schema.model_fields.items():
        yield f"{above}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{above}{name}.")


def _allowed(found: ErrorDetails) -> str:
    kind, context = found["type"], found.get("ctx", {})
    if kind in BOUNDS:
        bound, sentence = BOUNDS[kind]
        return sentence.format(f"{context[bound]:,}" if isinstance(context[bound], int) else f"{context[bound]:g}")
    if kind == "finite_number":
        return "it must be a finite number"
    if kind == "literal_error":
        return f"choose {context['expected']}"
    if kind in {"too_short", "string_too_short"}:
        return "it must not be empty"
    name = next((name for name in KINDS if kind.startswith(name)), None)
    return f"it must be {KINDS[name]}" if name else f"{found['msg'][0].lower()}{found['msg'][1:]}"


def _shown(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = {None: "null", True: "true", False: "false"}.get(value) if value is None or isinstance(value, bool) else None
    return text or repr(value)
