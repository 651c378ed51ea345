"""What can be had without a language model: the commonest answer, and a linear model over words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, assert_never

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from freehold.core.chat import Answer
from freehold.core.errors import InputError
from freehold.core.identity import canonical_json
from freehold.evaluation.contender import Contender, input_text
from freehold.evaluation.metrics.json_answers import first_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from freehold.core.dataset import Example
    from freehold.core.task import Task

LINEAR = "tf-idf + logistic regression"
NO_LINEAR = "There is no linear baseline: a linear model chooses among labels and cannot write {what}."
_STEPS = 2_000
_REGULARISATION = 10.0
"""Inverse strength; fixed beforehand, not tuned on anything."""


def baseline_contenders(task: Task, *, train: Sequence[Example], cases: Sequence[Example]) -> list[Contender]:
    """The trivial contenders that exist for this kind of task, fitted on `train`, with answers to `cases`."""
    match task.kind:
        case "classification":
            return [_majority("majority class", train, cases), _linear(task, train, cases)]
        case "extraction":
            return [_majority_fields(train, cases)]
        case "text":
            return [_majority("majority answer", train, cases)]
    assert_never(task.kind)


def missing_baseline(task: Task) -> str | None:
    """Why no linear model takes part; None when one does."""
    match task.kind:
        case "classification":
            return None
        case "extraction":
            return NO_LINEAR.format(what="field values it has never seen")
        case "text":
            return NO_LINEAR.format(what="text")
    assert_never(task.kind)


def commonest(values: Iterable[str]) -> str:
    """The most frequent value; of equally frequent ones the first in alphabetical order."""
    return min(Counter(values).items(), key=lambda item: (-item[1], item[0]))[0]


def _majority(name: str, train: Sequence[Example], cases: Sequence[Example]) -> Contender:
    answer = Answer(text=commonest(example.target.strip() for example in train))
    return Contender(name=name, kind="baseline", answers={case.id: answer for case in cases})


def _majority_fields(train: Sequence[Example], cases: Sequence[Example]) -> Contender:
    objects = [first_object(example.target) or {} for example in train]
    fields = sorted({field for each in objects for field in each})
    shared: dict[str, Any] = {}  # Any: JSON
    for field in fields:
        texts = {_as_text(each.get(field)): each.get(field) for each in objects}
        shared[field] = texts[commonest(_as_text(each.get(field)) for each in objects)]
    answer = Answer(text=_as_text(shared))
    return Contender(name="majority per field", kind="baseline", answers={case.id: answer for case in cases})


def _as_text(value: Any) -> str:  # Any: JSON with Decimal numbers
    return canonical_json(_plain(value))


def _plain(value: Any) -> Any:  # Any: JSON with Decimal numbers
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | bool):
        return value
    return float(value)


def _linear(task: Task, train: Sequence[Example], cases: Sequence[Example]) -> Contender:
    model = Pipeline(
        [
            (
                "features",
                FeatureUnion(
                    [
                        (
                            "words",
                            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
                        ),
                        (
                            "characters",
                            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
                        ),
                    ]
                ),
            ),
            ("classes", LogisticRegression(C=_REGULARISATION, max_iter=_STEPS)),
        ]
    )
    texts, labels = [input_text(row) for row in train], [row.target.strip() for row in train]
    try:
        model.fit(texts, labels)
    except ValueError as error:
        raise InputError(
            f"No training text of {task.name!r} holds a word of two letters: no model can learn from it. "
            "Check which field of the rows is the input, and import them again."
        ) from error
    probabilities = model.predict_proba([input_text(case) for case in cases])
    classes = [str(label) for label in model.classes_]
    answers = {
        case.id: Answer(text=classes[row.argmax()], confidence=float(row.max()))
        for case, row in zip(cases, probabilities, strict=True)
    }
    return Contender(name=LINEAR, kind="baseline", answers=answers)
