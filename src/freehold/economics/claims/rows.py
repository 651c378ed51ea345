"""The form of a file of claims: what may stand where, checked before anything is computed."""

from __future__ import annotations

from datetime import date  # noqa: TC003  # pydantic reads it at run time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from freehold.economics.claims.claim import FactOf, Kind, NumberOf, PriceOf, Value

LARGEST = 1e18
_RATES = ("input", "output", "cache_read", "cache_write")
_OF = ("stated", "recomputed", "solved")
_FACTS = {
    "model": ("parameters",),
    "hardware": ("memory_gb", "bandwidth_gb_per_s", "tflops_bf16", "tflops_fp8"),
}

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
Words = Annotated[str, Field(min_length=1, max_length=2_000)]
ShortWords = Annotated[str, Field(max_length=500)]


def number_of(raw: Any) -> float:  # Any: a value of a YAML file
    """A finite number of sane size; a truth value or a text is none."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        is_text = isinstance(raw, str) and _is_float(raw)
        hint = "; YAML reads it as text, write digits alone, such as 1000000" if is_text else ""
        raise ValueError(f"{_short(raw)} is not a number{hint}")
    if not abs(raw) <= LARGEST:
        raise ValueError(f"{_short(raw)} must lie between −10^18 and 10^18")
    return float(raw)


def range_of(raw: Any) -> tuple[float, float]:  # Any: a value of a YAML file
    """Two rising numbers."""
    if not isinstance(raw, list) or len(raw) != 2:
        raise ValueError(f"{_short(raw)} is not a range; write [low, high]")
    low, high = number_of(raw[0]), number_of(raw[1])
    if low > high:
        raise ValueError(f"[{low:g}, {high:g}] falls; write the lower end first")
    return low, high


def value_of(raw: Any) -> Value:  # Any: a value of a YAML file
    """A number, a range, a word, nothing, or a reference."""
    if raw is None:
        return None
    if isinstance(raw, str):
        if _is_float(raw):
            number_of(raw)
        if not 0 < len(raw) <= 200:
            raise ValueError("a name must have 1 to 200 characters")
        return raw
    if isinstance(raw, list):
        return range_of(raw)
    return _reference(raw) if isinstance(raw, dict) else number_of(raw)


def _reference(raw: dict[Any, Any]) -> PriceOf | FactOf | NumberOf:  # Any: a value of a YAML file
    if any(not isinstance(key, str) or not isinstance(value, str) for key, value in raw.items()):
        raise ValueError("a reference holds names only")
    match raw:
        case {"price": model, "rate": rate, **rest} if not rest:
            return PriceOf(model, _one_of(rate, _RATES))
        case {"model": name, "fact": fact, **rest} if not rest:
            return FactOf("model", name, _one_of(fact, _FACTS["model"]))
        case {"hardware": name, "fact": fact, **rest} if not rest:
            return FactOf("hardware", name, _one_of(fact, _FACTS["hardware"]))
        case {"claim": claim, "of": of, **rest} if not rest and of != "solved":
            return NumberOf(claim, _one_of(of, _OF))
        case {"claim": claim, "of": "solved", "input": name, **rest} if not rest:
            return NumberOf(claim, "solved", name)
    raise ValueError(
        "a reference is {price: MODEL, rate: input}, {model: NAME, fact: parameters}, "
        "{hardware: NAME, fact: memory_gb}, {claim: ID, of: stated} or {claim: ID, of: solved, input: NAME}"
    )


def _one_of(word: str, known: tuple[str, ...]) -> Any:  # Any: one of a closed set that was just checked
    if word not in known:
        raise ValueError(f"{_short(word)} must be one of {', '.join(known)}")
    return word


def _is_float(text: str) -> bool:
    """Whether a text looks like a number that somebody meant: 1e6, .inf, nan."""
    try:
        float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return False
    return True


def _short(raw: object) -> str:
    """A value as messages show it: huge ones are cut, and never printed digit by digit."""
    if isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) > LARGEST:
        return f"a number of {raw.bit_length()} bits"
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}…"


class _Row(BaseModel):
    """Nothing but the named fields."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


NumberRange = Annotated[tuple[float, float], BeforeValidator(range_of)]
AnyValue = Annotated[Any, BeforeValidator(value_of)]


class InputRow(_Row):
    """One input: `{value: 100000, unit: queries/month, source: the article}`."""

    value: AnyValue
    unit: ShortWords = ""
    source: ShortWords = ""
    seen: NumberRange | None = None
    seen_source: ShortWords = ""
    round_to: Annotated[float, BeforeValidator(number_of), Field(ge=1e-9)] | None = None


class StatedRow(_Row):
    """What the text says: `value`, or a bound."""

    value: AnyValue = None
    at_most: AnyValue = None
    at_least: AnyValue = None
    unit: Annotated[str, Field(min_length=1, max_length=80)]


class EvidenceRow(_Row):
    """A further number."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    formula: str
    inputs: Annotated[dict[str, InputRow], Field(max_length=50)] = {}
    unit: ShortWords = ""


class CitationRow(_Row):
    """A thing and its first day."""

    what: Words
    released: date
    source: ShortWords


class ClaimRow(_Row):
    """One claim."""

    id: Identifier
    text: Words
    kind: Kind = "arithmetic"
    formula: str | None = None
    inputs: Annotated[dict[str, InputRow], Field(max_length=50)] = {}
    stated: StatedRow | None = None
    unit: ShortWords = ""
    tolerance: Annotated[float, BeforeValidator(number_of), Field(ge=0, le=1)] = 0.05
    ends: Literal["paired", "independent"] = "paired"
    evidence: Annotated[list[EvidenceRow], Field(max_length=50)] = []
    against: str | None = None
    expected: InputRow | None = None
    members: Annotated[list[str], Field(max_length=50)] = []
    member_input: str | None = None
    published: CitationRow | None = None
    cites: Annotated[list[CitationRow], Field(max_length=50)] = []
    without: InputRow | None = None
    material: Annotated[float, BeforeValidator(number_of), Field(ge=1, le=1e6)] = 1.1
    admitted: ShortWords = ""
    denied: ShortWords = ""


class BookRow(_Row):
    """A file of claims."""

    source: ShortWords
    as_of: date
    inputs: Annotated[dict[str, InputRow], Field(max_length=200)] = {}
    claims: Annotated[list[ClaimRow], Field(min_length=1, max_length=500)]
