"""Rates per million tokens, the tiers above them, and how both are read off the catalogue's stored values."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from genai_prices.types import TieredPrices

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKENS_PER_MTOK = Decimal(1_000_000)

TOKEN_KEYS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")

FINER_KEYS = (
    "cache_write_1h_mtok",
    "web_searches_kcount",
    "input_audio_mtok",
    "output_audio_mtok",
    "cache_audio_read_mtok",
    "input_image_mtok",
    "output_image_mtok",
    "cache_image_read_mtok",
    "input_video_mtok",
    "output_video_mtok",
)
"""Rates of what a plain text call does not have."""

HARMLESS_KEYS = frozenset({*TOKEN_KEYS, *FINER_KEYS, "storage_searches_kcount"})
"""What an entry may hold and a plain text call is still priced by its four token counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """US dollars per million tokens. None means that no such rate is known."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal | None
    cache_read_usd_per_mtok: Decimal | None
    """None: cached input is billed like any other."""
    cache_write_usd_per_mtok: Decimal | None
    """None: written input is billed like any other."""
    finer: tuple[tuple[str, Decimal], ...] = ()
    """Rates of audio, images, video, one-hour caches and searches, under the catalogue's own keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Rates of a call whose whole input is longer than a threshold; they hold for all of its tokens."""

    above_input_tokens: int
    rates: Rates


def rates_record(rates: Rates) -> dict[str, float | None]:
    """The four rates as JSON numbers."""
    return {
        "input_usd_per_mtok": float(rates.input_usd_per_mtok),
        "output_usd_per_mtok": _number(rates.output_usd_per_mtok),
        "cache_read_usd_per_mtok": _number(rates.cache_read_usd_per_mtok),
        "cache_write_usd_per_mtok": _number(rates.cache_write_usd_per_mtok),
    }


def rates_of(values: Mapping[str, Any], *, above: int | None = None) -> Rates:  # Any: the catalogue is untyped
    """Rates of a call whose input lies just above a threshold; None: below all of them."""
    at = {key: _at(value, above) for key, value in values.items()}
    return Rates(
        input_usd_per_mtok=at["input_mtok"],
        output_usd_per_mtok=at.get("output_mtok"),
        cache_read_usd_per_mtok=at.get("cache_read_mtok"),
        cache_write_usd_per_mtok=at.get("cache_write_mtok"),
        finer=tuple((key, at[key]) for key in FINER_KEYS if key in at),
    )


def tiers_of(values: Mapping[str, Any]) -> tuple[Tier, ...]:  # Any: the catalogue is untyped
    """Tiers by rising threshold."""
    starts = {tier.start for value in values.values() for tier in getattr(value, "tiers", ())}
    return tuple(Tier(above_input_tokens=start, rates=rates_of(values, above=start)) for start in sorted(starts))


def _at(value: Any, above: int | None) -> Decimal:
    if not isinstance(value, TieredPrices):
        rate: Decimal = value
        return rate
    reached = [tier.price for tier in value.tiers if above is not None and tier.start <= above]
    chosen: Decimal = reached[-1] if reached else value.base
    return chosen


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
