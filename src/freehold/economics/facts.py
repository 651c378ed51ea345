"""The shipped tables of models and machines."""

from __future__ import annotations

from functools import cache

from pydantic import TypeAdapter

from freehold.economics._tables import pick, table
from freehold.economics.capacity import Hardware, ModelFacts

GPU_EFFICIENCIES = {
    "prefill_efficiency": 0.66,
    "decode_efficiency": 0.5,
    "bandwidth_efficiency": 0.916,
    "layer_overhead_us": 60.0,
    "reserved_gb": 3.5,
    "most_requests": 1024,
}
"""One set for all GPUs, fitted to published throughput (docs/decisions/0002-economics-first-form.md)."""


def model_facts(name: str) -> ModelFacts:
    """Facts of a shipped model; case and punctuation of the name do not matter.

    Raises:
        InputError: no such model; the nearest names are offered.
    """
    return pick("model", name, _models())


def hardware(name: str) -> Hardware:
    """Facts of a shipped machine; case and punctuation of the name do not matter.

    Raises:
        InputError: no such machine; the nearest names are offered.
    """
    return pick("hardware", name, _machines())


@cache
def _models() -> dict[str, ModelFacts]:
    return table("models.yaml", TypeAdapter(dict[str, ModelFacts]))


@cache
def _machines() -> dict[str, Hardware]:
    return table("hardware.yaml", TypeAdapter(dict[str, Hardware]), defaults=GPU_EFFICIENCIES)
