"""In how many bytes an engine keeps a weight and a cached number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Precision = Literal["bf16", "fp16", "fp8", "int8", "q8_0", "q4_0", "int4", "fp4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

BYTES_PER_WEIGHT: Mapping[str, float] = {
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "q8_0": 34 / 32,  # 32 weights share one 2-byte scale
    "q4_0": 18 / 32,
    "int4": 0.53125,  # groups of 128 with a scale and a zero point
    "fp4": 0.5625,  # groups of 16 share an 8-bit scale (NVFP4); MXFP4 takes 0.53125
}

OTHER_NAMES: Mapping[str, Precision] = {
    "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "fp8e4m3": "fp8", "float8": "fp8", "w8a8": "int8",
    "w8a16": "int8", "q80": "q8_0", "q40": "q4_0", "nvfp4": "fp4", "mxfp4": "fp4", "w4a16": "int4", "awq": "int4",
    "gptq": "int4", "uint4": "int4", "w4a4": "fp4", "fp8dynamic": "fp8", "fp8static": "fp8", "fp8block": "fp8",
    "fp8e5m2": "fp8", "4bit": "int4", "nf4": "int4", "8bit": "int8", "16bit": "bf16", "fp4e2m1": "fp4",
}  # fmt: skip
FOUR_BIT = frozenset({"int4", "fp4", "q4_0"})
EIGHT_BIT = frozenset({"fp8", "int8"})


def precision_of(name: str) -> Precision:
    """The precision that somebody typed, whatever its case and punctuation.

    Raises:
        InputError: no such precision; all are listed.
    """
    wanted = re.sub(r"[^a-z0-9]", "", name.lower())
    for known in PRECISIONS:
        if known.replace("_", "") == wanted:
            return known
    if wanted in OTHER_NAMES:
        return OTHER_NAMES[wanted]
    raise InputError(f"Unknown precision {name!r}; choose one of {', '.join(PRECISIONS)}.")


def kv_bytes(precision: str) -> float:
    """Bytes of one cached number: engines keep keys and values in fp8 beside fp8 and fp4 weights, else in 16 bits."""
    return 1.0 if precision in {"fp8", "fp4"} else 2.0


def resident_bytes(precision: str, *, has_experts: bool) -> float:
    """Bytes of a weight outside the experts: a mixture in 4 bits keeps attention and shared layers in 16."""
    return 2.0 if has_experts and precision in FOUR_BIT else BYTES_PER_WEIGHT[precision]
