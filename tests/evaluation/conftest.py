"""Small tasks, models and cost records for the evaluation room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from freehold.core.chat import Answer, Constraint, Message, Usage
from freehold.core.dataset import Dataset, Example
from freehold.core.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from freehold.core.progress import Progress

INTENTS = {
    "card_lost": "my card is lost or stolen please block it",
    "fees": "why was I charged this fee on my account",
    "transfer": "the transfer has not arrived yet",
}


class FakeModel:
    """Answers by a function of the conversation's last turn."""

    def __init__(self, answer: Callable[[str], Answer], *, drop: int = 0) -> None:
        self.answer_one, self.drop = answer, drop
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        return "fake"

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        constraint: Constraint,
        max_output_tokens: int,
        progress: Progress,
    ) -> list[Answer]:
        texts = [conversation[-1].content for conversation in conversations]
        self.asked += texts
        return [self.answer_one(text) for text in texts][self.drop :]


def example(number: int, text: str, target: str, split: Any = "test", **more: Any) -> Example:  # Any: fields of Example
    return Example(
        id=f"{split}-{number}",
        messages=(Message("system", "Which intent?"), Message("user", text)),
        target=target,
        split=split,
        provenance="human-labelled",
        group=f"{split}-{number}",
        **more,
    )


def intents(n: int, split: str, *, rented_wrong_every: int = 0) -> list[Example]:
    """`n` messages in three intents; the rented model errs on every so many-th (0: nothing was recorded)."""
    names = sorted(INTENTS)
    rows = []
    for number in range(n):
        label = names[number % 3]
        rented: dict[str, Any] = {}  # Any: fields of Example
        if rented_wrong_every:
            wrong = number % rented_wrong_every == 0
            rented = {
                "rented_output": names[(number + 1) % 3] if wrong else label,
                "rented_model": "big-model",
            }
        rows.append(example(number, f"{INTENTS[label]} {split} {number}", label, split, **rented))
    return rows


def label_of(text: str) -> str:
    return next(label for label, words in INTENTS.items() if text.startswith(words))


def right_answer(text: str) -> Answer:
    return Answer(text=label_of(text), confidence=0.9, usage=Usage(input_tokens=20, output_tokens=3))


def fixed_answer(text: str) -> Callable[[str], Answer]:
    return lambda _: Answer(text=text)


def triage() -> Dataset:
    task = Task(name="triage", kind="classification", labels=tuple(sorted(INTENTS)), own_prompt="Which intent?")
    return dataset_of(task)


def dataset_of(task: Task) -> Dataset:
    return Dataset(
        id=f"{task.name}-0123456789ab",
        task=task,
        folder=Path("nowhere"),
        rows={},
        excluded={},
        sha256="ab" * 32,
    )


def cost_record(
    *,
    rent: float | None = 1000.0,
    own: float | None = 100.0,
    spread: float = 0.05,
    queries: float = 100_000,
    more: Mapping[str, float | None] | None = None,
    **fields: Any,  # Any: fields of the record
) -> dict[str, Any]:  # Any: JSON
    def quantiles(usd: float | None) -> dict[str, float] | None:
        return None if usd is None else {"p5": usd * (1 - spread), "p50": usd, "p95": usd * (1 + spread)}

    costs = {"rent": rent, "own": own, **(more or {})}
    return {
        "schema": "freehold.breakeven/1",
        "queries_per_month": float(queries),
        "options": [
            {"name": name, "usd_per_month": quantiles(usd), "usd_per_query": None} for name, usd in costs.items()
        ],
        "probability_own_is_cheapest": None,
        "breakeven_queries_per_month": {"p5": 8_000.0, "p50": 10_000.0, "p95": None},
        "breakeven_reason": None,
        "assumptions": [],
        "seed": 0,
        **fields,
    }


class Made:
    """What tests of this room are built from."""

    FakeModel = FakeModel
    example = staticmethod(example)
    intents = staticmethod(intents)
    label_of = staticmethod(label_of)
    right_answer = staticmethod(right_answer)
    fixed_answer = staticmethod(fixed_answer)
    triage = staticmethod(triage)
    dataset_of = staticmethod(dataset_of)
    cost_record = staticmethod(cost_record)


@pytest.fixture(scope="session")
def made() -> type[Made]:
    return Made
