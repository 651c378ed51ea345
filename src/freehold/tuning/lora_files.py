"""What the files of a LoRA adapter say, for all who put it into other forms; read without torch."""

from __future__ import annotations

import re
from math import sqrt
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FACTOR = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)\.weight")
"""Name of a factor's tensor: the module that it adapts, and which of the two it is."""


def check_plain_lora(config: Mapping[str, Any], file: Path, *, because: str) -> None:  # Any: JSON
    """Refuse an adapter that is more than the LoRA factors of linear layers, with all that is wrong at once.

    Args:
        config: what `adapter_config.json` says.
        file: where it lies.
        because: why the form to be written cannot carry more, as a sentence.

    Raises:
        InputError: it is no plain LoRA adapter.
    """
    faults = []
    if config.get("peft_type") != "LORA":
        faults.append(f"peft_type is {config.get('peft_type')!r}, it must be 'LORA'")
    if not config.get("lora_alpha"):
        faults.append(f"lora_alpha is {config.get('lora_alpha')!r}, it must be above 0")
    faults += [f"{key} is set" for key in ("use_dora", "lora_bias", "fan_in_fan_out") if config.get(key)]
    if config.get("bias", "none") != "none":
        faults.append(f"bias is {config['bias']!r}, it must be 'none'")
    faults += [
        f"{key} names {config[key]!r}, it must be empty"
        for key in ("modules_to_save", "trainable_token_indices", "layer_replication")
        if config.get(key)
    ]
    if faults:
        raise InputError(f"{file}: {'; '.join(faults)}. {because}")


def scale_of(config: Mapping[str, Any], module: str, rank: int) -> float:  # Any: JSON
    """What PEFT multiplies B @ A by. A pattern's key is a regular expression for the end of a module's name."""
    alpha = float(config["lora_alpha"])
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = float(value)
            break
    return alpha / (sqrt(rank) if config.get("use_rslora") else rank)


def factor_names(names: Iterable[str], file: Path) -> dict[str, tuple[str, str]]:
    """Module -> names of its A and its B factor, by module.

    Raises:
        InputError: there is none, one lacks its other half, or a tensor is something else.
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        matched = FACTOR.fullmatch(name)
        if matched is None:
            raise InputError(f"{file}: tensor {name!r} is no LoRA factor of a linear layer.")
        found.setdefault(matched[1], {})[matched[2]] = name
    if not found:
        raise InputError(f"{file}: it holds no LoRA factors.")
    for module, pair in found.items():
        if len(pair) != 2:
            raise InputError(f"{file}: module {module!r} lacks one of its two LoRA factors; it is damaged.")
    return {module: (found[module]["A"], found[module]["B"]) for module in sorted(found)}
