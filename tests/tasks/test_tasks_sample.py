"""Calls are drawn task by task in few passes of the ledger, however many tasks there are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from freehold.ledger.store import Ledger
from freehold.tasks.sample import sample, samples
from tests.tasks.mixed_logs import Row, calls_of

if TYPE_CHECKING:
    from pathlib import Path


def tasks_of(folder: Path, sizes: list[int]) -> list[str]:
    """A ledger of tasks of these sizes; gives their names."""
    names = [f"task-{number}" for number in range(len(sizes))]
    rows = [Row(name, None, f"{name} {n}", "yes") for name, size in zip(names, sizes, strict=True) for n in range(size)]
    calls = [replace(call, task=row.task) for row, call in zip(rows, calls_of(rows), strict=True)]
    Ledger(folder).append(calls)
    return names


@pytest.mark.parametrize("together", [1, 7, 10_000])
def test_tasks_drawn_together_are_drawn_as_each_alone(
    together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.tasks.sample._MOST_TOGETHER", together)
    names = [*tasks_of(tmp_path, [3, 1, 40, 2, 0, 9]), "nobody's"]

    drawn = dict(samples(tmp_path, names, 5))

    assert list(drawn) == names
    assert drawn == {name: sample(tmp_path, {name: 5}) for name in names}
    assert [len(drawn[name]) for name in names] == [3, 1, min(5, len(drawn["task-2"])), 2, 0, len(drawn["task-5"]), 0]


def test_a_thousand_small_tasks_take_as_many_passes_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.tasks import sample as module

    names = tasks_of(tmp_path, [1] * 1_000)
    passes = 0
    connected = module._connected

    def counted() -> object:
        nonlocal passes
        passes += 1
        return connected()

    monkeypatch.setattr(module, "_connected", counted)

    assert sum(len(calls) for _, calls in samples(tmp_path, names, 20)) == 1_000
    assert passes == 2
