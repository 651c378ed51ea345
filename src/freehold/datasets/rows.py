"""One row per recorded call: the masked input, the answer that a human gave, and why a row cannot be used."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import select

from freehold.core.chat import Message
from freehold.core.identity import content_hash
from freehold.core.spoken import answered, asked
from freehold.datasets.spill import Content
from freehold.datasets.targets import canonical_target, clean, mask_target
from freehold.state.schema import CORRECTIONS
from freehold.text.fingerprint import fingerprint
from freehold.text.pii import kind_of, mask_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from freehold.core.call import Call
    from freehold.core.task import Provenance, Task
    from freehold.datasets.spill import Place

_PROVENANCE: dict[str, Provenance] = {
    "accepted": "human-accepted",
    "labelled": "human-labelled",
    "corrected": "human-corrected",
}
_HUMAN = frozenset(_PROVENANCE.values())
_WEIGHT = {kind: weight for weight, kind in enumerate(_PROVENANCE)}
"""A correction outweighs a label, and a label an acceptance."""
_OWN_ROUTES = frozenset({"own", "canary"})
_CUT_OFF = frozenset({"length", "max_tokens"})


class HumanWord(Struct, frozen=True, kw_only=True, gc=False):
    """What one human said about one call."""

    kind: str
    """`corrected`, `labelled` or `accepted`."""
    output: str
    reviewer: str | None = None
    reviewed_at: str | None = None
    is_test: bool = False
    """Imported as part of a test set."""
    id: str | None = None
    """Of the correction in the state database; None: it came with a file."""


class Origin(Struct, frozen=True, kw_only=True, gc=False):
    """The file that a row was brought with."""

    file: str
    """Its name, not where it lay."""
    line: int
    terms: str | None = None
    """Licence or terms, as whoever brought it says; None: nobody said."""
    weight: float = 1.0
    has_consent: bool = True
    """False: the row says that it must not be trained on."""


class Row(Struct, frozen=True, kw_only=True, gc=False):
    """A call as a dataset sees it, without its texts: those lie in the spill."""

    id: str
    fingerprint: str
    """Of the masked turns."""
    answer: str
    """The label, of a classification; else a hash of the answer."""
    provenance: Provenance
    moment: str | None
    """When the call began, as text that sorts by time; a time without a zone is UTC."""
    is_test: bool
    is_answered: bool
    """The row has the answer of a rented model."""
    rented_model: str | None
    """Which one's; None: nobody knows, or there is none."""
    provider: str | None
    pii: tuple[tuple[str, int], ...]
    """(kind, distinct values that were masked)."""
    reason: str | None
    """Why it is left out; None while it is usable."""
    sha256: str
    """Of the masked row: the input, the answer and who gave it."""
    characters: int
    """Of the turns."""
    answer_characters: int
    corrections: tuple[str, ...] = ()
    """Ids of the humans' words that it rests on."""
    origin: Origin | None = None
    """None: the ledger."""
    place: Place | None = None
    """Of its texts; None until they were laid down."""

    @property
    def is_human(self) -> bool:
        """A human stands behind the target."""
        return self.provenance in _HUMAN

    @property
    def terms(self) -> str:
        """Whose work the answer is: a flag for whoever has to read licences before the row trains."""
        if self.origin is not None and self.origin.terms is not None:
            return self.origin.terms
        by = f":{self.provider or self.rented_model or 'unknown'}" if self.is_answered else ""
        match self.provenance:
            case "human-labelled":
                return "undeclared" if self.origin else "own-work"
            case "human-corrected" | "human-accepted":
                return f"model-assisted{by}" if by else "own-work"
            case _:
                return f"model-output{by}"


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
                    id=row.id,
                )
            )
    return dict(words)


def time_and_id(row: Row) -> tuple[str, str]:
    """Sort key: rows without a time come first."""
    return (row.moment or "", row.id)


def row_of(task: Task, call: Call, words: Sequence[HumanWord], origin: Origin | None = None) -> tuple[Row, Content]:
    """What a dataset knows of a call, and what stands in it; personal data masked."""
    given = turns_of(call)
    masked, mapping = mask_texts([clean(turn.content) for turn in given])
    turns = tuple(Message(turn.role, text) for turn, text in zip(given, masked, strict=True))
    is_own = is_own_answer(call)
    answer = answered(call.response)
    output, provenance, reason = verdict_of(task, words)
    if not words:
        output, provenance = answer or "", "rented-output"
        reason = _fault_of_answer(call)
    elif reason is None and provenance == "human-accepted" and call.finish_reason in _CUT_OFF:
        reason = "truncated"
    if not any(turn.role == "user" and turn.content.strip() for turn in turns):
        reason = "empty"
    if origin is not None and not origin.has_consent:
        reason = "no-consent"
    target = canonical_target(task, output)
    text, known = mask_target(task, target.text, mapping)
    rented = own = None
    if answer is not None:
        said, known = mask_target(task, clean(answer), known)
        rented, own = (None, said) if is_own else (said, None)
    started_at = None if call.started_at is None else call.started_at.isoformat()
    joined = joined_turns(turns)
    row = Row(
        id=call.id,
        fingerprint=fingerprint(joined),
        answer=text if task.kind == "classification" else fingerprint_of_answer(text),
        provenance=provenance,
        moment=_moment(call.started_at),
        is_test=any(word.is_test for word in words),
        is_answered=rented is not None,
        rented_model=None if rented is None else call.model_served or call.model_requested,
        provider=call.provider,
        pii=tuple(sorted(Counter(kind_of(placeholder) for placeholder in known).items())),
        reason="truncated" if call.truncated else reason or target.reason,
        sha256=content_hash([[turn.as_dict() for turn in turns], text, provenance, rented]),
        characters=len(joined),
        answer_characters=len(text),
        corrections=tuple(word.id for word in words if word.id is not None),
        origin=origin,
    )
    return row, Content(tuple((turn.role, turn.content) for turn in turns), text, rented, own, started_at)


def fingerprint_of_answer(text: str) -> str:
    """By which equal answers are known; their case counts."""
    return content_hash(text)[:32]


def _moment(started_at: datetime | None) -> str | None:
    if started_at is None:
        return None
    zoned = started_at if started_at.tzinfo else started_at.replace(tzinfo=UTC)
    return zoned.astimezone(UTC).isoformat(timespec="microseconds")


def fingerprint_of(turns: Iterable[Message]) -> str:
    """By which a text is known from one dataset to the next: of its masked turns, the system's left out."""
    return fingerprint(joined_turns([turn for turn in turns if turn.role in ("user", "assistant")]))


def fingerprint_of_call(call: Call) -> str:
    """The same of a call in the ledger: it is masked first, as it would be for a dataset."""
    turns = turns_of(call)
    masked, _ = mask_texts([clean(turn.content) for turn in turns])
    return fingerprint_of(Message(turn.role, text) for turn, text in zip(turns, masked, strict=True))


def is_own_answer(call: Call) -> bool:
    """An own model answered, whether Freehold served it or a gateway passed the call on to it."""
    return call.model_version is not None or call.route in _OWN_ROUTES


def joined_turns(turns: Sequence[Message]) -> str:
    """The turns as one text, for the search of near-duplicates."""
    if len(turns) == 1:
        return turns[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def turns_of(call: Call) -> tuple[Message, ...]:
    """The user's and the assistant's turns; the system prompt, the same in every call, is dropped."""
    return tuple(turn for turn in asked(call.request) if turn.role in ("user", "assistant"))


def _fault_of_answer(call: Call) -> str | None:
    if call.error_type is not None or (call.status is not None and call.status >= 400):
        return "failed"
    return "truncated" if call.finish_reason in _CUT_OFF else None


def verdict_of(task: Task, words: Sequence[HumanWord]) -> tuple[str, Provenance, str | None]:
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


def mark_contradictions(rows: list[Row]) -> list[Row]:
    """Mark the rows whose masked input has another human answer elsewhere.

    An imported test set is judged by itself: what is said in other rows cannot take a case out of it.
    """
    targets: defaultdict[tuple[str, bool], set[str]] = defaultdict(set)
    for row in rows:
        if row.is_human and row.reason is None:
            targets[row.fingerprint, row.is_test].add(row.answer)
    return [
        replace(row, reason="contradictory")
        if row.is_human and row.reason is None and len(targets[row.fingerprint, row.is_test]) > 1
        else row
        for row in rows
    ]
