"""One row per recorded call: the masked input, the answer that a human gave, and why a row cannot be used."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING

from sqlalchemy import select

from freehold.core.chat import Message
from freehold.core.spoken import answered, asked
from freehold.datasets.targets import canonical_target, clean, mask_target
from freehold.state.schema import CORRECTIONS
from freehold.text.fingerprint import fingerprint
from freehold.text.pii import kind_of, mask_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from freehold.core.call import Call
    from freehold.core.progress import Progress
    from freehold.core.task import Provenance, Task

_PROVENANCE: dict[str, Provenance] = {
    "accepted": "human-accepted",
    "labelled": "human-labelled",
    "corrected": "human-corrected",
}
_WEIGHT = {kind: weight for weight, kind in enumerate(_PROVENANCE)}
"""A correction outweighs a label, and a label an acceptance."""
_OWN_ROUTES = frozenset({"own", "canary"})
_CUT_OFF = frozenset({"length", "max_tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanWord:
    """What one human said about one call."""

    kind: str
    """`corrected`, `labelled` or `accepted`."""
    output: str
    reviewer: str | None
    reviewed_at: str | None
    is_test: bool
    """Imported as part of a test set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A call as a dataset sees it, personal data masked."""

    id: str
    turns: tuple[Message, ...]
    fingerprint: str
    """Of the masked turns."""
    target: str
    provenance: Provenance
    started_at: datetime | None
    is_test: bool
    rented_output: str | None
    rented_model: str | None
    pii: Mapping[str, int]
    """Kind -> distinct values that were masked."""
    reason: str | None
    """Why it is left out; None while it is usable."""

    @property
    def is_human(self) -> bool:
        """A human stands behind the target."""
        return self.provenance in _PROVENANCE.values()

    @property
    def text(self) -> str:
        """The turns as one text, for the search of near-duplicates."""
        return _joined(self.turns)


def read_human_words(engine: Engine, task: str) -> dict[str, list[HumanWord]]:
    """What humans said about the calls of a task, by call id."""
    words: defaultdict[str, list[HumanWord]] = defaultdict(list)
    with engine.connect() as connection:
        for row in connection.execute(select(CORRECTIONS).where(CORRECTIONS.c.task == task).order_by(CORRECTIONS.c.id)):
            words[row.call_id].append(
                HumanWord(
                    kind=row.kind,
                    output=row.output,
                    reviewer=row.reviewer,
                    reviewed_at=row.reviewed_at,
                    is_test=row.split == "test",
                )
            )
    return dict(words)


def read_rows(
    task: Task, calls: Iterable[Call], words: Mapping[str, Sequence[HumanWord]], progress: Progress
) -> list[Row]:
    """The rows of a task by (time, id), those that say two things about one input marked as contradictory.

    What an own model answered and no human looked at is no row: serving a call must not change a dataset.
    """
    progress.start("read rows", None)
    rows: dict[str, Row] = {}
    for call in calls:
        if call.task == task.name and (not _is_own(call) or call.id in words):
            rows[call.id] = _row(task, call, words.get(call.id, ()))
            progress.update(1)
    progress.finish()
    return _mark_contradictions(sorted(rows.values(), key=time_and_id))


def time_and_id(row: Row) -> tuple[str, str]:
    """Sort key: rows without a time come first."""
    return (moment(row) or "", row.id)


def moment(row: Row) -> str | None:
    """When the call began, as text that sorts by time; a time without a zone is UTC."""
    if row.started_at is None:
        return None
    zoned = row.started_at if row.started_at.tzinfo else row.started_at.replace(tzinfo=UTC)
    return zoned.astimezone(UTC).isoformat(timespec="microseconds")


def _row(task: Task, call: Call, words: Sequence[HumanWord]) -> Row:
    masked, mapping = mask_texts([clean(turn.content) for turn in _turns(call)])
    turns = tuple(Message(turn.role, text) for turn, text in zip(_turns(call), masked, strict=True))
    is_own = _is_own(call)
    answer = answered(call.response)
    output, provenance, reason = _verdict(task, words)
    if not words:
        output, provenance = answer or "", "rented-output"
        reason = _fault_of_answer(call)
    elif reason is None and provenance == "human-accepted" and call.finish_reason in _CUT_OFF:
        reason = "truncated"
    if not any(turn.role == "user" and turn.content.strip() for turn in turns):
        reason = "empty"
    target = canonical_target(task, output)
    text, known = mask_target(task, target.text, mapping)
    rented = None
    if answer is not None and not is_own:
        rented, known = mask_target(task, clean(answer), known)
    return Row(
        id=call.id,
        turns=turns,
        fingerprint=fingerprint(_joined(turns)),
        target=text,
        provenance=provenance,
        started_at=call.started_at,
        is_test=any(word.is_test for word in words),
        rented_output=rented,
        rented_model=None if rented is None else call.model_served or call.model_requested,
        pii=Counter(kind_of(placeholder) for placeholder in known),
        reason="truncated" if call.truncated else reason or target.reason,
    )


def fingerprint_of(turns: Iterable[Message]) -> str:
    """By which a text is known from one dataset to the next: of its masked turns, the system's left out."""
    return fingerprint(_joined([turn for turn in turns if turn.role in ("user", "assistant")]))


def fingerprint_of_call(call: Call) -> str:
    """The same of a call in the ledger: it is masked first, as it would be for a dataset."""
    turns = _turns(call)
    masked, _ = mask_texts([clean(turn.content) for turn in turns])
    return fingerprint_of(Message(turn.role, text) for turn, text in zip(turns, masked, strict=True))


def _is_own(call: Call) -> bool:
    """An own model answered, whether Freehold served it or a gateway passed the call on to it."""
    return call.model_version is not None or call.route in _OWN_ROUTES


def _joined(turns: Sequence[Message]) -> str:
    if len(turns) == 1:
        return turns[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def _turns(call: Call) -> tuple[Message, ...]:
    """The user's and the assistant's turns; the system prompt, the same in every call, is dropped."""
    return tuple(turn for turn in asked(call.request) if turn.role in ("user", "assistant"))


def _fault_of_answer(call: Call) -> str | None:
    if call.error_type is not None or (call.status is not None and call.status >= 400):
        return "failed"
    return "truncated" if call.finish_reason in _CUT_OFF else None


def _verdict(task: Task, words: Sequence[HumanWord]) -> tuple[str, Provenance, str | None]:
    """The humans' answer to one call and its provenance; `contradictory` when they do not agree.

    Of one reviewer the weightiest word counts, and of equal ones the latest.
    """
    by_reviewer: defaultdict[str | None, list[HumanWord]] = defaultdict(list)
    for word in words:
        by_reviewer[word.reviewer].append(word)
    final = [word for spoken in by_reviewer.values() for word in _final_words(spoken)]
    if not final:
        return "", "human-labelled", None
    strongest = max(final, key=lambda word: _WEIGHT[word.kind])
    outputs = {canonical_target(task, word.output).text for word in final}
    return strongest.output, _PROVENANCE[strongest.kind], "contradictory" if len(outputs) > 1 else None


def _final_words(spoken: Sequence[HumanWord]) -> Iterator[HumanWord]:
    last = max((_WEIGHT[word.kind], word.reviewed_at or "") for word in spoken)
    return (word for word in spoken if (_WEIGHT[word.kind], word.reviewed_at or "") == last)


def _mark_contradictions(rows: list[Row]) -> list[Row]:
    """Mark the rows whose masked input has another human answer elsewhere.

    An imported test set is judged by itself: what is said in other rows cannot take a case out of it.
    """
    targets: defaultdict[tuple[str, bool], set[str]] = defaultdict(set)
    for row in rows:
        if row.is_human and row.reason is None:
            targets[row.fingerprint, row.is_test].add(row.target)
    return [
        replace(row, reason="contradictory")
        if row.is_human and row.reason is None and len(targets[row.fingerprint, row.is_test]) > 1
        else row
        for row in rows
    ]
