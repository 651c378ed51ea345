"""A user's own dated prices: rows of a YAML list that come before the catalogue, each with its first day and source.

    - model: our-gateway-large
      provider: openai              # optional: only where this provider sells it
      tariff: list                  # list, batch, flex or priority
      valid_from: 2026-09-01
      input_usd_per_mtok: 2.10
      output_usd_per_mtok: 12.60
      cache_read_usd_per_mtok: 0.21
      tiers:
        - {above_input_tokens: 272000, input_usd_per_mtok: 4.20, output_usd_per_mtok: 18.90}
      source: contract of 2026-08-14, page 3

A new rate is a new row with its own first day; what was billed before is never priced again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from yaml.constructor import SafeConstructor

from freehold.core.errors import InputError
from freehold.economics.catalogue import Tariff  # noqa: TC001  # pydantic reads it at run time
from freehold.economics.rates import Rates, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CHARACTERS = 2_000_000
MOST_USD_PER_MTOK = 100_000
FIRST_DAY = date(2018, 1, 1)
LAST_DAY = date(2100, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One dated price of the user's own."""

    model: str
    provider: str | None
    """None: for calls that name exactly this model."""
    tariff: Tariff
    valid_from: date
    rates: Rates
    tiers: tuple[Tier, ...]
    source: str

    def names(self, asked: str, seller: str | None) -> bool:
        """Whether the row speaks of a model: as `model`, or as `provider/model` where it names its provider."""
        name, own = asked.lower(), self.model.lower()
        if self.provider is None:
            return name == own
        provider = self.provider.lower()
        return name == f"{provider}/{own}" or (name == own and (seller or "").lower() == provider)


def _exact(value: object) -> object:
    """A YAML number without the detour over a binary fraction; what is no number is left to be refused."""
    if isinstance(value, bool):
        raise ValueError("it must be a number")
    return str(value) if isinstance(value, float) else value


Usd = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=MOST_USD_PER_MTOK, allow_inf_nan=False)]
AboveZero = Annotated[Usd, Field(gt=0)]
Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")
]


class _RatesRow(BaseModel):
    """Rates as they stand in a row or in one of its tiers."""

    model_config = ConfigDict(extra="forbid")

    input_usd_per_mtok: AboveZero
    output_usd_per_mtok: AboveZero | None = None
    cache_read_usd_per_mtok: Usd | None = None
    cache_write_usd_per_mtok: Usd | None = None

    @model_validator(mode="after")
    def _is_plausible(self) -> _RatesRow:
        if self.cache_read_usd_per_mtok is not None and self.cache_read_usd_per_mtok > self.input_usd_per_mtok:
            raise ValueError("cache_read_usd_per_mtok is dearer than input_usd_per_mtok; a cached token never is")
        return self

    def rates(self) -> Rates:
        return Rates(
            input_usd_per_mtok=self.input_usd_per_mtok,
            output_usd_per_mtok=self.output_usd_per_mtok,
            cache_read_usd_per_mtok=self.cache_read_usd_per_mtok,
            cache_write_usd_per_mtok=self.cache_write_usd_per_mtok,
        )


class _TierRow(_RatesRow):
    above_input_tokens: Annotated[int, Field(gt=0, le=10**9, strict=True)]


class _Row(_RatesRow):
    """One row of the file."""

    model: Words
    provider: Words | None = None
    tariff: Tariff = "list"
    valid_from: Annotated[date, Field(ge=FIRST_DAY, le=LAST_DAY)]
    tiers: list[_TierRow] = []
    source: Annotated[Words, Field(min_length=3)]

    @model_validator(mode="after")
    def _tiers_rise(self) -> _Row:
        starts = [tier.above_input_tokens for tier in self.tiers]
        if starts != sorted(set(starts)):
            raise ValueError("the thresholds of its tiers must rise")
        return self

    def override(self) -> Override:
        return Override(
            model=self.model,
            provider=self.provider,
            tariff=self.tariff,
            valid_from=self.valid_from,
            rates=self.rates(),
            tiers=tuple(Tier(above_input_tokens=tier.above_input_tokens, rates=tier.rates()) for tier in self.tiers),
            source=self.source,
        )


def parse_overrides(text: str, where: str) -> tuple[Override, ...]:
    """The rows of an overrides file; `where` names it in errors.

    Raises:
        InputError: no YAML list, or rows that cannot be used; all of them at once, each with its line.
    """
    faults: list[str] = []
    rows: list[Override] = []
    lines: dict[tuple[object, ...], int] = {}
    for line, values in _rows(text, where):
        try:
            row = _Row.model_validate(values).override()
        except ValidationError as error:
            faults += [f"line {line}: {_fault(fault['loc'], fault['msg'])}" for fault in error.errors()]
            continue
        key = (row.model.lower(), (row.provider or "").lower(), row.tariff, row.valid_from)
        if key in lines:
            faults.append(f"line {line}: {row.model} has that price for {row.valid_from} on line {lines[key]} already")
        lines.setdefault(key, line)
        rows.append(row)
    if faults:
        raise InputError(f"{where}: " + "; ".join(faults) + ".")
    return tuple(rows)


def override_text(values: Mapping[str, Any]) -> str:  # Any: what a person typed
    """One row as it is appended to a file; its values are quoted by YAML itself."""
    given = {key: float(value) if isinstance(value, Decimal) else value for key, value in values.items()}
    kept = {key: value for key, value in given.items() if value is not None}
    return yaml.safe_dump([kept], sort_keys=False, allow_unicode=True, width=1000)


def _rows(text: str, where: str) -> list[tuple[int, object]]:
    """Line and values of each row."""
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{where} has {len(text)} characters; an overrides file has {MOST_CHARACTERS} at most.")
    try:
        node = _composed(text, where)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise InputError(f"{where} must hold a YAML list of prices, each starting with '- model:'.")
        for row in node.value:
            _refuse_twice(row, where)
        return [(row.start_mark.line + 1, SafeConstructor().construct_document(row)) for row in node.value]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = "" if mark is None else f", line {mark.line + 1}"
        what = getattr(error, "problem", None) or "unreadable"
        raise InputError(f"{where}{at}: this is no YAML ({what}).") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{where} cannot be read as YAML ({type(error).__name__}).") from error


def _composed(text: str, where: str) -> yaml.Node | None:
    """The document as nodes, which know their lines; without anchors, which could make a small file huge."""
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise InputError(f"{where} uses YAML anchors (&, *); write each row out.")
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    return node


def _refuse_twice(row: yaml.Node, where: str) -> None:
    """YAML would keep the last of two equal keys and say nothing."""
    if not isinstance(row, yaml.MappingNode):
        return
    names = [key.value for key, _ in row.value if isinstance(key, yaml.ScalarNode)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{where}, line {row.start_mark.line + 1}: {', '.join(twice)} is given twice.")


def _fault(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(map(str, location))
    words = message.removeprefix("Value error, ")
    return f"{name}: {words}" if name else words
