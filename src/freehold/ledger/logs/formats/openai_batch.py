"""Input and output files of OpenAI's batch API, put together by `custom_id`.

The output has the answers alone and the input the questions. Whichever comes first waits on the shelf. A `custom_id` is
unique in its batch and in no other, so where several batches are imported at once, the input whose file has the name
that is most like the output's is meant, and if two are alike, none: a wrong question is worse than none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from freehold.core.identity import content_hash
from freehold.ledger.logs.format import BadRow, Format, Skipped
from freehold.ledger.logs.formats._bodies import Kept, answer_of, plain, request_of
from freehold.ledger.logs.formats._calls import logged_call, status_of
from freehold.ledger.logs.formats._each_row import each_row
from freehold.ledger.logs.formats._fields import Values, inner, mapping_of, moment, text, word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from freehold.ledger.logs.format import Context, Item
    from freehold.ledger.logs.formats._each_row import Row

SPACE = "openai-batch-inputs"
_ANSWERED = "openai-batch-answered"
TIER = "batch"
"""A batch is billed at its own tariff, whatever tier its answers name."""
_MOST_QUESTIONS = 100
"""Different questions under one `custom_id` that are kept: more say that it tells nothing."""


@dataclass(frozen=True, slots=True)
class _Question:
    file: str
    url: str | None
    body: dict[str, Any]
    is_cut: bool


def read_input(row: Row, context: Context) -> Iterator[Item]:
    """One line: what was asked under a `custom_id`, laid on the shelf."""
    name = _custom_id(row)
    request = request_of(mapping_of(row.get("body")))
    if request.body is None:
        raise BadRow("a line of a batch whose 'body' is no JSON object with anything in it")
    question = _Question(context.file, word(row, "url"), request.body, request.is_cut)
    others = _questions(name, context)
    if len(others) < _MOST_QUESTIONS and question.body not in [each.body for each in others]:
        context.shelf.put(SPACE, name, json.dumps([asdict(each) for each in (*others, question)]).encode())
    yield Skipped("line of a batch input, kept for its answer")


def read_output(row: Row, context: Context) -> Iterator[Item]:
    """One line: what was answered under a `custom_id`, with its question."""
    name = _custom_id(row)
    if _is_input(row):
        raise BadRow("a line of a batch input among its output: put the two into files of their own")
    response, failure = inner(row, "response"), inner(row, "error")
    answer = answer_of(mapping_of(response.get("body")))
    if answer.body is None and not failure and not response:
        raise BadRow("a line of a batch output with neither 'response' nor 'error'")
    question = _question(name, context)
    context.shelf.put(_ANSWERED, name, b"")
    request = Kept({}, is_cut=True) if question is None else Kept(question.body, is_cut=question.is_cut)
    # the answer's own id: with `store` the same completion is listed among the stored ones
    identity = word(answer.body or {}, "id") or word(row, "id") or f"{name}:{content_hash(plain(row))}"
    yield logged_call(
        source_id=f"openai:{identity}",
        request=request,
        answer=answer,
        endpoint=None if question is None else question.url,
        provider="openai",
        started_at=moment(answer.body or {}, "created", "created_at"),
        status=status_of(response.get("status_code")),
        error_type=word(failure, "code", "type"),
        is_failed=bool(failure),
        request_id=name,
        service_tier=TIER,
        stream=False,
    )


def unanswered(context: Context) -> Iterator[Item]:
    """Questions whose answers are in no file: the batch is not over, or they were imported without them before."""
    for name, _ in context.shelf.left(SPACE):
        if context.shelf.look(_ANSWERED, name) is None:
            yield Skipped("question of a batch whose answer is in no file of this import")


def _questions(name: str, context: Context) -> list[_Question]:
    lies = context.shelf.look(SPACE, name)
    return [] if lies is None else [_Question(**each) for each in json.loads(lies)]


def _question(name: str, context: Context) -> _Question | None:
    """What an answer belongs to; None if nothing, or several things equally well."""
    questions = _questions(name, context)
    likeness = [_likeness(each.file, context.file) for each in questions]
    best = [each for each, alike in zip(questions, likeness, strict=True) if alike == max(likeness)]
    return best[0] if len(best) == 1 else None


def _likeness(one: str, other: str) -> tuple[int, int]:
    """How much two files look like one batch: the folders that they share, then the letters they begin with."""
    first, second = PurePath(one), PurePath(other)
    return _shared(first.parts[:-1], second.parts[:-1]), _shared(first.name, second.name)


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def _custom_id(row: Values) -> str:
    name = text(row, "custom_id")
    if name is None:
        raise BadRow("'custom_id' is empty")
    return name


def _is_input(values: Values) -> bool:
    return "custom_id" in values and "body" in values and ("method" in values or "url" in values)


def _is_output(values: Values) -> bool:
    return "custom_id" in values and "response" in values and not {"messages", "call_type"} & values.keys()


FORMATS = (
    Format(
        name="openai-batch-inputs",
        recognises=_is_input,
        reader=each_row(read_input),
        finish=unanswered,
        order=-1,
        says="batch inputs have 'custom_id' with 'body'",
    ),
    Format(
        name="openai-batch",
        recognises=_is_output,
        reader=each_row(read_output),
        says="batch outputs have 'custom_id' with 'response'",
    ),
)
