"""The verdict: a pure function of the evaluation, the cost record and the policy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import isclose
from typing import TYPE_CHECKING, Any, assert_never

from freehold.core.errors import InputError
from freehold.core.identity import canonical_json
from freehold.evaluation.judge import judge
from freehold.evaluation.operations import operations_of
from freehold.evaluation.policy import read_cost
from freehold.evaluation.result import from_record
from freehold.evaluation.sentences import changes_of, notes_of, reasons_of

if TYPE_CHECKING:
    from freehold.evaluation.judge import Judgement, MeasurementDetail, NextMeasurement, Verdict
    from freehold.evaluation.operations import Operations
    from freehold.evaluation.policy import Cost, DecisionInputs, Policy
    from freehold.evaluation.result import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictAtVolume:
    """What the same rules say at another volume."""

    queries_per_month: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict on one task."""

    task: str
    verdict: Verdict
    reasons: tuple[str, ...]
    """Plain sentences with the numbers that led here."""
    next_measurement: NextMeasurement | None
    next_measurement_detail: MeasurementDetail | None
    would_change: tuple[str, ...]
    """What it would take to change the verdict."""
    notes: tuple[str, ...]
    """Findings that do not decide, above all whether a simple model would do."""
    operations: Operations
    """What running the own model would mean; it does not decide."""
    verdicts_by_volume: tuple[VerdictAtVolume, ...]
    """By volume, the volume asked about included; empty when no other was given."""

    @property
    def exit_code(self) -> int:
        """Of `freehold decide`: 0 leave the rented model, 3 go on renting in some way, 4 undecided."""
        match self.verdict:
            case "own" | "hybrid":
                return 0
            case "stay-renting" | "rent-open" | "rent-tuned":
                return 3
            case "undecided":
                return 4
        assert_never(self.verdict)

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The decision as JSON."""
        record: dict[str, Any] = json.loads(canonical_json(asdict(self)))
        return record


def decide(inputs: DecisionInputs) -> Decision:
    """Judge one task. Equal inputs give an equal decision, on every machine.

    Raises:
        InputError: a record is not readable, or the policy's margin or confidence is not the evaluation's.
    """
    evaluation, cost, policy = from_record(inputs.evaluation), read_cost(inputs.cost), inputs.policy
    _check_policy(evaluation, policy)
    judgement = judge(evaluation, cost, policy)
    return Decision(
        task=evaluation.task,
        verdict=judgement.verdict,
        reasons=reasons_of(judgement, evaluation, cost, policy),
        next_measurement=judgement.next_measurement,
        next_measurement_detail=judgement.detail,
        would_change=changes_of(judgement, cost, policy),
        notes=notes_of(evaluation),
        operations=operations_of(cost),
        verdicts_by_volume=_verdicts_by_volume(inputs, evaluation, cost, judgement),
    )


def _check_policy(evaluation: Evaluation, policy: Policy) -> None:
    margin_points = evaluation.margin * 100
    if not isclose(margin_points, policy.margin_points) or evaluation.confidence != policy.confidence:
        raise InputError(
            f"The evaluation of {evaluation.task!r} was made with a margin of {margin_points:g} points and "
            f"confidence {evaluation.confidence:g}, the policy asks for {policy.margin_points:g} and "
            f"{policy.confidence:g}. Both are fixed before looking: set them, then run freehold evaluate "
            f"{evaluation.task} again."
        )
    if not 0.5 < policy.cost_certainty <= 1:
        raise InputError(f"cost_certainty is {policy.cost_certainty!r}; it must be above 0.5 and at most 1.")


def _verdicts_by_volume(
    inputs: DecisionInputs, evaluation: Evaluation, cost: Cost, judgement: Judgement
) -> tuple[VerdictAtVolume, ...]:
    if not inputs.other_volumes:
        return ()
    verdicts = {cost.queries_per_month: judgement.verdict}
    for record in inputs.other_volumes:
        other = read_cost(record)
        verdicts.setdefault(other.queries_per_month, judge(evaluation, other, inputs.policy).verdict)
    return tuple(
        VerdictAtVolume(queries_per_month=volume, verdict=verdict) for volume, verdict in sorted(verdicts.items())
    )
