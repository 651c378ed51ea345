"""Pieces of one task that earlier discoveries took for several are joined; what a person has settled is not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from freehold.core.progress import Silent
from freehold.ledger.store import Ledger
from freehold.tasks.discover import discover
from freehold.tasks.homes import owners_of
from tests.tasks.mixed_logs import calls_of, mixed_log

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "c", "d")


def test_a_task_that_lies_with_a_larger_one_is_part_of_it() -> None:
    clusters: list[list[str | None]] = [["ham"] * 90 + ["spam"] * 20 + [None] * 50, ["bank"] * 40, [None] * 30]

    owners, joined = owners_of(clusters, {"ham": 900, "spam": 20, "bank": 40}, {"ham", "spam", "bank"})

    assert owners == ["ham", "bank", None]
    assert joined == {"spam": "ham"}


def test_calls_that_stray_give_a_new_task_no_name() -> None:
    owners, joined = owners_of([["bank"] * 2 + [None] * 60, ["bank"] * 98], {"bank": 100}, {"bank"})

    assert owners == [None, "bank"]
    assert not joined


def test_a_task_that_a_person_has_settled_is_neither_joined_nor_joined_to() -> None:
    clusters = [["mine"] * 10 + ["found"] * 90]

    owners, joined = owners_of(clusters, {"mine": 10, "found": 90}, {"found"})

    assert owners == ["mine"]
    assert not joined


@given(
    clusters=st.lists(st.lists(st.sampled_from((None, *NAMES)), min_size=1, max_size=12), max_size=6),
    sizes=st.tuples(*[st.integers(1, 1_000)] * 4),
    joinable=st.sets(st.sampled_from(NAMES)),
)
def test_every_joining_ends_at_a_task_that_stays(
    clusters: list[list[str | None]], sizes: tuple[int, ...], joinable: set[str]
) -> None:
    owners, joined = owners_of(clusters, dict(zip(NAMES, sizes, strict=True)), joinable)

    assert len(owners) == len(clusters)
    assert all(owner is None or owner in cluster for owner, cluster in zip(owners, clusters, strict=True))
    assert joined.keys() | {*joined.values()} <= joinable
    assert not joined.keys() & {*joined.values()}


def test_a_filter_whose_answers_came_apart_is_one_task_once_more_is_known(shared_data: Path, tmp_path: Path) -> None:
    log = mixed_log(shared_data, "no prompt", 120, seed=3, tasks=("spam", "banking", "receipts", "clauses"))
    half = len(log) // 2
    pieces = {"spam": "spam-only", "ham": "ham-only"}
    before = [pieces.get(row.answer or "", "unassigned") if row.task == "spam" else "unassigned" for row in log[:half]]
    calls = [
        replace(call, task=task)
        for call, task in zip(calls_of(log), [*before, *["unassigned"] * (len(log) - half)], strict=True)
    ]
    Ledger(tmp_path).append(calls)
    known = {"spam-only", "ham-only"}

    def found_with(joinable: set[str]) -> dict[str, str]:
        moves: dict[str, str] = {}
        found = discover(tmp_path, "unassigned", known=known, taken=known, joinable=joinable, move=moves.update,
                         progress=Silent())  # fmt: skip
        assert {one.name for one in found.tasks if not one.is_new} <= known
        assert len(found.tasks) == len({one.name for one in found.tasks})
        return found.joined

    assert found_with(known) == {"spam-only": "ham-only"}
    assert found_with(set()) == {}
    assert found_with({"spam-only"}) == {}
