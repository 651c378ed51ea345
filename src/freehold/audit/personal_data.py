"""Which kinds of personal data the calls of each task hold: looked for in a sample, within a bounded time.

Row groups of the ledger are taken in an order that a seed gives, and of each a few calls per task, until every task has
its sample or the time is over. Shares are of the calls that have a body, with an exact interval; what was not looked at
is said. Names of people are not found: see `text.pii`.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import betaincinv

from freehold.audit.bodies import Group, groups_with_bodies, rows_of
from freehold.core.spoken import answered, asked
from freehold.ledger.columns import BODIES
from freehold.ledger.publish import reading
from freehold.text.pii import find_pii

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

CALLS_PER_TASK = 400
"""A kind that one call in a hundred holds is seen with a chance of 98 %."""
BUDGET_S = 10.0
_LONGEST_TEXT = 20_000
"""Characters of a call that are looked at; a longer call is counted as cut."""
_CONFIDENCE = 0.95
_SPREAD = 8
"""Row groups that a task's sample is drawn from at least, where there are so many."""
_CUT = "truncated"

StoppedBy = Literal["sample", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindShare:
    """How many calls of a sample hold a kind of personal data."""

    kind: str
    calls: int
    share: float
    low: float
    """Of the 95 % interval of the share (Clopper and Pearson); equal to it where every call was looked at."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """What was found in the calls of one task."""

    task: str
    sampled_calls: int
    calls_with_any: int
    cut_calls: int
    """Longer than what was looked at, or not whole in the log: of them the counts are a lower bound."""
    kinds: tuple[KindShare, ...]
    """By falling share."""
    stopped_by: StoppedBy | None
    """None: every call that has a body was looked at."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As the audit lists it."""
        return {
            "task": self.task,
            "sampled_calls": self.sampled_calls,
            "calls_with_any": self.calls_with_any,
            "cut_calls": self.cut_calls,
            "kinds": [
                {"kind": one.kind, "calls": one.calls, "share": one.share, "low": one.low, "high": one.high}
                for one in self.kinds
            ],
            "stopped_by": self.stopped_by,
            "not_looked_for": ["NAME"],
        }


@dataclass(slots=True)
class _Sample:
    calls: int = 0
    with_any: int = 0
    cut: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    left_out: bool = False
    """Calls with bodies of this task were seen and not looked at."""


def personal_data(
    calls: Path,
    *,
    calls_per_task: int = CALLS_PER_TASK,
    budget_s: float = BUDGET_S,
    seed: int = 0,
    since: date | None = None,
    until: date | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[PersonalData, ...]:
    """Look for personal data in a sample of each task's calls. The same ledger, seed and enough time: the same answer.

    Args:
        calls: Folder of the ledger's Parquet files.
        calls_per_task: Size of each sample.
        budget_s: After so many seconds no further call is looked at; tasks that no call was looked at are absent.
        seed: Of the sample.
        since: First day; undated calls are left out then.
        until: Last day.
        clock: Seconds.

    Returns:
        One per task that has bodies, by name.
    """
    ends_at = clock() + budget_s
    search = _Search(calls_per_task, lambda: clock() >= ends_at)
    chance = random.Random(seed)  # noqa: S311 (a sample, no secret)
    with reading(calls):
        parts = [_Part(group, chance.random()) for group in groups_with_bodies(calls, since, until)]
        chance.shuffle(parts)
        most = max(1, -(-calls_per_task // min(_SPREAD, max(1, len(parts)))))
        while parts and not search.is_over:
            for part in parts:
                search.look_into(part, most)
            parts = [part for part in parts if search.lacks(part)]
    return tuple(search.result(task) for task, sample in sorted(search.samples.items()) if sample.calls)


@dataclass(slots=True)
class _Part:
    """A row group, and how far its calls have been looked at."""

    group: Group
    seed: float
    looked_at: int = 0
    """Calls of each task, as far as it has so many."""
    left: Counter[str] = field(default_factory=Counter)
    """Task -> calls with a body that have not been looked at."""


@dataclass(slots=True)
class _Search:
    """Samples, while they grow."""

    calls_per_task: int
    has_ended: Callable[[], bool]
    samples: defaultdict[str, _Sample] = field(default_factory=lambda: defaultdict(_Sample))
    is_over: bool = False

    def lacks(self, part: _Part) -> bool:
        """There are calls in a part that some sample still wants."""
        return any(count and self.samples[task].calls < self.calls_per_task for task, count in part.left.items())

    def look_into(self, part: _Part, most: int) -> None:
        """Look at the next calls of a part, so many of each task at most."""
        self.is_over = self.is_over or self.has_ended()
        if self.is_over or (part.looked_at and not self.lacks(part)):
            return
        chosen: dict[int, str] = {}
        for task, order in _rows_of_tasks(part.group, part.seed).items():
            sample = self.samples[task]
            wanted = order[part.looked_at : part.looked_at + min(most, self.calls_per_task - sample.calls)]
            part.left[task] = len(order) - part.looked_at - len(wanted)
            chosen |= dict.fromkeys(wanted, task)
            sample.left_out |= part.left[task] > 0 and sample.calls + len(wanted) >= self.calls_per_task
        for task, is_cut, *bodies in _calls_at(part.group, chosen):
            if self.has_ended():
                self.is_over = True
                return
            _look(self.samples[task], bodies, is_cut=is_cut)
        part.looked_at += most

    def result(self, task: str) -> PersonalData:
        """What a sample says."""
        sample = self.samples[task]
        stopped_by: StoppedBy | None = "time" if self.is_over else "sample" if sample.left_out else None
        kinds = [_share(kind, count, sample.calls, is_complete=stopped_by is None)
                 for kind, count in sample.kinds.items()]  # fmt: skip
        return PersonalData(
            task=task,
            sampled_calls=sample.calls,
            calls_with_any=sample.with_any,
            cut_calls=sample.cut,
            kinds=tuple(sorted(kinds, key=lambda one: (-one.calls, one.kind))),
            stopped_by=stopped_by,
        )


def _rows_of_tasks(group: Group, seed: float) -> dict[str, list[int]]:
    """Task -> its rows that have a body, in an order that the seed gives."""
    tasks: list[str | None] = []
    for batch in rows_of(group, ["task", *BODIES]):
        has_any = pc.or_(*(batch.column(body).is_valid() for body in BODIES))
        tasks += pc.if_else(has_any, batch.column("task"), pa.scalar(None, pa.string())).to_pylist()
    order = list(range(len(tasks)))
    random.Random(seed).shuffle(order)  # noqa: S311 (a sample, no secret)
    found: defaultdict[str, list[int]] = defaultdict(list)
    for row in order:
        if (task := tasks[row]) is not None:
            found[task].append(row)
    return dict(sorted(found.items()))


def _calls_at(group: Group, chosen: Mapping[int, str]) -> Iterator[tuple[str, bool, str | None, str | None]]:
    """Task, whether the log has cut it, request and response of some rows."""
    start = 0
    for batch in rows_of(group, [_CUT, *BODIES]) if chosen else ():
        for row in range(len(batch)):
            if (task := chosen.get(start + row)) is not None:
                cut, request, response = (column[row].as_py() for column in batch.columns)
                yield task, bool(cut), request, response
        start += len(batch)


def _look(sample: _Sample, bodies: Sequence[str | None], *, is_cut: bool) -> None:
    """Look at one call; `is_cut`: the log has not all of it."""
    text, is_long = _text_of(bodies)
    kinds = {span.kind for span in find_pii(text)}
    sample.calls += 1
    sample.with_any += bool(kinds)
    sample.cut += is_cut or is_long
    sample.kinds.update(kinds)


def _text_of(bodies: Sequence[str | None]) -> tuple[str, bool]:
    """What was said in a call, and whether it is longer than that."""
    request, response = (None if body is None else json.loads(body) for body in bodies)
    said = [turn.content for turn in asked(request)]
    answer = answered(response)
    text = "\n".join([*said, *([] if answer is None else [answer])])
    return text[:_LONGEST_TEXT], len(text) > _LONGEST_TEXT


def _share(kind: str, count: int, calls: int, *, is_complete: bool) -> KindShare:
    share = count / calls
    low, high = (share, share) if is_complete else interval(count, calls)
    return KindShare(kind=kind, calls=count, share=share, low=low, high=high)


def interval(count: int, calls: int) -> tuple[float, float]:
    """Exact interval of a share with 95 % confidence. Source: Clopper and Pearson, Biometrika 26 (1934)."""
    tail = (1 - _CONFIDENCE) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, calls - count + 1, tail))
    high = 1.0 if count == calls else float(betaincinv(count + 1, calls - count, 1 - tail))
    return low, high
