"""What an evaluation found, and its JSON record."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 -- pydantic reads it when it runs
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from freehold.core.errors import InputError
from freehold.core.identity import canonical_json, content_hash
from freehold.core.task import TaskKind  # noqa: TC001 -- pydantic reads it when it runs
from freehold.evaluation.contender import ContenderKind  # noqa: TC001 -- pydantic reads it when it runs
from freehold.evaluation.metrics.score import Metric  # noqa: TC001 -- pydantic reads it when it runs

EVALUATE_SCHEMA = "freehold.evaluate/1"
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one contender did on the cases that it answered."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    kind: ContenderKind
    value: float
    """Mean score, 0 to 1."""
    ci_low: float
    ci_high: float
    n: int
    invalid_share: float
    """Share of answers without the asked form."""
    exact_share: float
    """Share of answers with nothing wrong at all."""
    mean_input_tokens: float | None
    """None: not every answer was counted."""
    mean_output_tokens: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate minus the other, on the cases that both answered."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    candidate: str
    against: str
    difference: float
    ci_low: float
    ci_high: float
    margin: float
    """How much worse still counts as good enough, as a share (0.02 is two points)."""
    non_inferior: bool
    """ci_low lies above -margin."""
    n: int
    wins: int
    """Cases on which the candidate scored higher."""
    losses: int
    cases_needed: int | None
    """Cases at which the difference seen would probably decide; None when no practical number would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeResult:
    """The own model answers; a case whose confidence lies below the threshold goes to the rented model."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    own: str
    against: str
    threshold: float
    """Chosen on validation cases alone."""
    rule: Literal["non-inferior", "not-below"]
    """What the threshold had to reach on validation: see `cascade.py`."""
    validation_n: int
    validation_escalated_share: float
    escalated_share: float
    """On the test cases."""
    value: float
    ci_low: float
    ci_high: float
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Answers of one contender that were wrong in one way."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    contender: str
    target: str
    """The right label; of an extraction, the field."""
    given: str | None
    """The label given instead; None for a field."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Scores case by case, from which every number above can be had again."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    ids: tuple[str, ...]
    scores: Mapping[str, tuple[float | None, ...]]
    """By contender, in the order of `ids`; None where it gave no answer."""
    confidences: Mapping[str, tuple[float | None, ...]]
    """Of contenders that state them, in the order of `ids`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One task's contenders on the same held-out cases."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    task: str
    task_kind: TaskKind
    metric: Metric
    n: int
    """Test cases."""
    dataset: str
    dataset_sha256: str
    model: str | None
    """Registry id of the own model."""
    margin: float
    confidence: float
    """Of each interval before `tasks_compared` is allowed for."""
    tasks_compared: int
    """Comparisons are made at Bonferroni's level for so many tasks judged together."""
    seed: int
    contenders: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    cascade: CascadeResult | None
    cascade_note: str | None
    """Why there is no cascade."""
    confusions: tuple[Confusion, ...]
    cases: Cases
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def id(self) -> str:
        """`<task>-<12 hex digits of the record's hash>`."""
        return f"{self.task}-{content_hash(self.as_record())[:12]}"

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The JSON object of schema freehold.evaluate/1."""
        record: dict[str, Any] = json.loads(canonical_json({"schema": EVALUATE_SCHEMA, **asdict(self)}))
        return record

    def of_kind(self, kind: ContenderKind) -> list[Result]:
        """Contenders of one kind, in the order of the record."""
        return [each for each in self.contenders if each.kind == kind]

    def comparison(self, candidate: str, against: str) -> Comparison | None:
        """The comparison of two contenders; None when it was not made."""
        for each in self.comparisons:
            if (each.candidate, each.against) == (candidate, against):
                return each
        return None


_ADAPTER = TypeAdapter(Evaluation)


def from_record(record: Mapping[str, Any]) -> Evaluation:  # Any: JSON
    """The evaluation that `as_record` wrote.

    Raises:
        InputError: it is no such record; all faults are listed.
    """
    values = dict(record)
    schema = values.pop("schema", None)
    if schema != EVALUATE_SCHEMA:
        raise InputError(f"An evaluation record has the schema {EVALUATE_SCHEMA!r}, not {schema!r}.")
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        raise InputError(f"This is no evaluation record: {faults_of(error)}.") from error


def faults_of(error: ValidationError) -> str:
    """All faults that pydantic found, as one line without the values."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'the whole'}: {fault['msg']}" for fault in error.errors()
    )
