"""A task with its recorded calls and human words, written down in a few numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, insert

from freehold.core.call import Call
from freehold.core.identity import content_hash
from freehold.core.progress import Silent
from freehold.core.task import Task
from freehold.datasets.build import build_dataset
from freehold.datasets.policy import Policy
from freehold.state.schema import CORRECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.core.dataset import Dataset

START = datetime(2026, 9, 1, tzinfo=UTC)
SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu")


def sentence(number: int) -> str:
    """A text of its own: no two numbers give near-duplicates."""
    chooser = random.Random(number)
    return " ".join("".join(chooser.choices(SYLLABLES, k=3)) for _ in range(6))


@dataclass
class Desk:
    """Collects calls and human words of one task and builds datasets from them."""

    engine: Engine
    folder: Path
    task: Task
    calls: list[Call] = field(default_factory=list)

    def call(self, text: str | Sequence[dict[str, Any]], *, day: float | None = None, **facts: Any) -> str:
        """Record a call; its id says its place in the order of recording."""
        call_id = f"c{len(self.calls):04d}"
        messages = [{"role": "system", "content": "long prompt"}, {"role": "user", "content": text}]
        answer = facts.pop("answer", None)
        self.calls.append(
            Call(
                id=call_id,
                task=self.task.name,
                started_at=None if day is None else START + timedelta(days=day),
                request=facts.pop("request", {"messages": messages if isinstance(text, str) else list(text)}),
                response=None if answer is None else {"choices": [{"message": {"content": answer}}]},
                model_served=None if answer is None else "large",
                **facts,
            )
        )
        return call_id

    def say(self, call_id: str, output: str, kind: str = "labelled", **facts: Any) -> None:
        """Record what a human said about a call."""
        values = {
            "call_id": call_id,
            "task": self.task.name,
            "kind": kind,
            "output": output,
            "reviewer": facts.get("reviewer"),
            "reviewed_at": facts.get("reviewed_at"),
            "split": facts.get("split"),
        }
        with self.engine.begin() as connection:
            connection.execute(insert(CORRECTIONS).values(id=content_hash(values), **values))

    def row(self, text: str, output: str, *, day: float | None = None, split: str | None = None) -> str:
        """A call that a human labelled."""
        call_id = self.call(text, day=day)
        self.say(call_id, output, split=split)
        return call_id

    def rows(self, numbers: range, *, dated: bool = True, split: str | None = None) -> list[str]:
        """Labelled rows with texts of their own, two an hour, the labels in turn."""
        return [
            self.row(sentence(n), "yes" if n % 2 else "no", day=n / 48 if dated else None, split=split) for n in numbers
        ]

    def sentence(self, number: int) -> str:
        """The text of a numbered row."""
        return sentence(number)

    def build(self, **policy: Any) -> Dataset:
        """Build the dataset from everything so far."""
        return build_dataset(
            engine=self.engine,
            task=self.task,
            calls=self.calls,
            folder=self.folder,
            policy=Policy(**policy),
            progress=Silent(),
        )


@pytest.fixture
def desk(state: Engine, tmp_path: Path) -> Desk:
    task = Task(name="triage", kind="classification", labels=("no", "yes"), own_prompt="Answer yes or no.")
    return Desk(state, tmp_path / "datasets", task)


@pytest.fixture
def extraction_desk(state: Engine, tmp_path: Path) -> Desk:
    schema = {
        "type": "object",
        "properties": {
            "merchant": {"type": "string"},
            "amount": {"type": "number"},
            "lines": {"type": "array", "items": {"properties": {"b": {}, "a": {}}}},
        },
    }
    task = Task(name="dispute", kind="extraction", json_schema=schema, own_prompt="Extract the fields.")
    return Desk(state, tmp_path / "datasets", task)


@pytest.fixture
def reply_desk(state: Engine, tmp_path: Path) -> Desk:
    return Desk(state, tmp_path / "datasets", Task(name="reply", kind="text", own_prompt="Answer the customer."))
