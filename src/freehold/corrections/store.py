"""Keeps corrections in the state database. The original call is never changed."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from freehold.core.identity import canonical_json, content_hash
from freehold.core.spoken import answered
from freehold.state.schema import CORRECTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection

    from freehold.core.call import Call
    from freehold.ledger.logs.format import HumanWord

Kind = Literal["corrected", "accepted", "labelled"]
_INSERT_ROWS = 500
_WORD = ("call_id", "kind", "output", "reviewer", "reviewed_at", "split")
"""What makes a word; its task is its call's."""


def kind_of(output: str, call: Call) -> Kind:
    """Whether the human changed the model's answer, let it stand, or answered where no model had."""
    if call.response is None:
        return "labelled"
    answer = answered(call.response) or ""
    return "accepted" if _comparable(answer) == _comparable(output) else "corrected"


def _comparable(text: str) -> str:
    """Two ways of writing one JSON value compare equal, such as 84 and 84.00."""
    try:
        return canonical_json(json.loads(text, parse_float=_number))
    except (ValueError, RecursionError):
        return text.strip()


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() else value


def keep_words(engine: Engine, words: Sequence[tuple[HumanWord, Call]]) -> Counter[str]:
    """Record what humans said about these calls; the same word twice is one row.

    Returns:
        How many were new, by their kind.
    """
    rows = {}
    for word, call in words:
        row = {
            "call_id": call.id,
            "task": call.task,
            "kind": kind_of(word.output, call),
            "output": word.output,
            "reviewer": word.reviewer,
            "reviewed_at": word.reviewed_at,
            "split": "test" if word.is_test else None,
        }
        rows[content_hash(row)] = row
    values = [{"id": identifier, **row} for identifier, row in rows.items()]
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    new: Counter[str] = Counter()
    with engine.begin() as connection:
        for start in range(0, len(values), _INSERT_ROWS):
            unsaid = _unsaid(connection, values[start : start + _INSERT_ROWS])
            if unsaid:
                statement = dialect.insert(CORRECTIONS).values(unsaid)
                statement = statement.on_conflict_do_nothing().returning(CORRECTIONS.c.kind)
                new.update(connection.execute(statement).scalars())
    return new


def _unsaid(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:  # Any: as the columns
    """Words that are not there. That a call has another task by now, found or renamed, makes no new word of one."""
    about = {row["call_id"] for row in rows}
    query = select(*(CORRECTIONS.c[name] for name in _WORD)).where(CORRECTIONS.c.call_id.in_(about))
    there = {tuple(row) for row in connection.execute(query)}
    return [row for row in rows if tuple(row[name] for name in _WORD) not in there]


def corrected_calls(engine: Engine) -> set[str]:
    """Ids of the calls whose answer a human changed."""
    query = select(CORRECTIONS.c.call_id).where(CORRECTIONS.c.kind == "corrected")
    with engine.connect() as connection:
        return set(connection.execute(query).scalars())


def held_out_calls(engine: Engine) -> set[str]:
    """Ids of the calls that were brought as held-out test cases."""
    query = select(CORRECTIONS.c.call_id).where(CORRECTIONS.c.split == "test")
    with engine.connect() as connection:
        return set(connection.execute(query).scalars())


def spoken_of(engine: Engine) -> set[str]:
    """Ids of the calls that a human said something about."""
    with engine.connect() as connection:
        return set(connection.execute(select(CORRECTIONS.c.call_id).distinct()).scalars())


def forget_words(connection: Connection, calls: Collection[str], *, task: str | None = None) -> int:
    """Remove what humans said about these calls, and all that was said about a task; gives how many words."""
    removed, wanted = 0, sorted(calls)
    for start in range(0, len(wanted), _INSERT_ROWS):
        among = CORRECTIONS.c.call_id.in_(wanted[start : start + _INSERT_ROWS])
        removed += connection.execute(delete(CORRECTIONS).where(among)).rowcount
    if task is not None:
        removed += connection.execute(delete(CORRECTIONS).where(CORRECTIONS.c.task == task)).rowcount
    return removed


def count_words(engine: Engine, calls: Collection[str], *, task: str | None = None) -> int:
    """How many words `forget_words` would remove."""
    query = select(CORRECTIONS.c.call_id, CORRECTIONS.c.task)
    with engine.connect() as connection:
        return sum(row.call_id in calls or row.task == task for row in connection.execute(query))


def human_outputs(engine: Engine, task: str) -> Iterator[str]:
    """Every answer that a human gave for this task, in a stable order."""
    query = select(CORRECTIONS.c.output).where(CORRECTIONS.c.task == task).order_by(CORRECTIONS.c.id)
    with engine.connect() as connection:
        yield from connection.execute(query).scalars()
