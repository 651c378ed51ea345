"""What one answer is worth, and the protocol of whatever says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

Metric = Literal["accuracy", "field_accuracy", "chrf"]

NOT_A_LABEL = "(not a label)"
LONGEST_ANSWER = 100_000
"""Characters; a longer answer scores 0 unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one answer is worth."""

    value: float
    """0 is worthless, 1 is perfect."""
    is_valid: bool
    """The answer has the asked form, right or wrong: a known label, an object of the schema, some text."""
    is_exact: bool
    """Nothing at all is wrong with it."""
    confusion: tuple[str, str] | None = None
    """(right label, given label) of a wrong classification."""
    wrong_fields: tuple[str, ...] = ()
    """Fields of an extraction that are wrong, sorted."""
    tallies: Mapping[str, float] = field(default_factory=dict)
    """What the case adds to each count from which aggregate metrics are made: see `totals.py`."""
    error: str | None = None
    """Kind of the exception that a scorer of the customer's own raised; the answer scores 0 then."""


class Scorer(Protocol):
    """Compares answers with the human's target."""

    @property
    def metric(self) -> Metric:
        """Name of the mean score."""
        ...

    @property
    def is_binary(self) -> bool:
        """Scores are 0 or 1 and nothing between."""
        ...

    def is_target(self, target: str) -> bool:
        """Whether `target` is something that an answer can be compared with."""
        ...

    def score(self, target: str, answer: str, *, asked: str = "", confidence: float | None = None) -> Score:
        """Never raises, whatever a model answered.

        `asked` is what the user wrote, `confidence` what the model thinks of its answer, in [0, 1].
        """
        ...
