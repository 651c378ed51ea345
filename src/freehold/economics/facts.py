"""The shipped tables of models and machines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from pydantic import TypeAdapter

from freehold.core.errors import InputError
from freehold.economics._tables import pick, table
from freehold.economics.decoder import ModelFacts, model_from_config
from freehold.economics.machine import Hardware
from freehold.economics.precision import precision_of

if TYPE_CHECKING:
    from freehold.economics.precision import Precision

VENDORS = re.compile(r"^(?:nvidia|amd|intel|instinct|geforce|tesla|google|meta)[\s_-]+", re.IGNORECASE)
VERSIONS = re.compile(
    r"[\s._-]+(?:instruct|chat|it|pt|base|hf|thinking|fp8|fp4|nvfp4|mxfp4|awq|gptq|int4|int8|bf16|fp16|w4a16|w8a8|w8a16"
    r"|dynamic|quantized|bnb|4bit|8bit|gguf|v0\.[123]|2507|0528)$",
    re.IGNORECASE,
)
"""Words that name another training or another packing of the same shapes."""


@dataclass(frozen=True, slots=True)
class _Published:
    """One row of models.yaml."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    aliases: tuple[str, ...]
    config: dict[str, object]
    source: str


def model_facts(name: str) -> ModelFacts:
    """Facts of a shipped model, by its short name or by its id on Hugging Face.

    Case, punctuation and the owner do not matter, nor do endings that say how weights were tuned or packed.

    Raises:
        InputError: no such model; the nearest names are offered.
    """
    return _facts(pick("model", name, _models(), aliases=_model_aliases(), spellings=_model_spellings(name)))


def hardware(name: str) -> Hardware:
    """Facts of a shipped machine; case, punctuation and the vendor's name do not matter.

    Raises:
        InputError: no such machine; the nearest names are offered.
    """
    return pick("hardware", name, _machines(), aliases=_machine_aliases(), spellings=_machine_spellings(name))


def precision_in(name: str) -> Precision | None:
    """The precision that a model's name ends with, as quantised copies are named; None if it tells none."""
    last = re.split(r"[\s._/-]+", name.strip().lower())[-1]
    try:
        return precision_of(last) if last else None
    except InputError:
        return None


def known_models() -> tuple[str, ...]:
    """Short names of the shipped models."""
    return tuple(_models())


def known_hardware() -> tuple[str, ...]:
    """Names of the shipped machines."""
    return tuple(_machines())


def _model_spellings(name: str) -> list[str]:
    """The name as typed, without its owner, and without endings, one after the other."""
    spellings = [name, name.rsplit("/", 1)[-1]]
    while (shorter := VERSIONS.sub("", spellings[-1])) != spellings[-1]:
        spellings.append(shorter)
    return spellings


def _machine_spellings(name: str) -> list[str]:
    spellings = [name]
    while (shorter := VENDORS.sub("", spellings[-1].strip())) != spellings[-1]:
        spellings.append(shorter)
    return spellings


@cache
def _model_aliases() -> dict[str, str]:
    ids = {other: row.name for row in _models().values() for other in row.aliases}
    return ids | {other.rsplit("/", 1)[-1]: name for other, name in ids.items()}


@cache
def _machine_aliases() -> dict[str, str]:
    return {other: row.name for row in _machines().values() for other in row.aliases}


@cache
def _facts_by_name(name: str) -> ModelFacts:
    row = _models()[name]
    return model_from_config(row.config, name=row.name, source=row.source)


def _facts(row: _Published) -> ModelFacts:
    return _facts_by_name(row.name)


@cache
def _models() -> dict[str, _Published]:
    return table("models.yaml", TypeAdapter(dict[str, _Published]))


@cache
def _machines() -> dict[str, Hardware]:
    return table("hardware.yaml", TypeAdapter(dict[str, Hardware]), defaults={"sustained_share": 1.0})
