"""A bounded sample of what was asked and answered, the only part of an audit that reads customers' text."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.audit.bodies import bodies_of
from freehold.core.spoken import answered, asked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

QUESTIONS = 1_500
"""Of one task; what more of them would teach a probe, its learning curve says, and the audit stays within seconds."""
COPIES = 3
"""Of one question: enough to see whether its answers agree."""
MOST_TASKS = 60
"""With the most calls; the others are not sampled."""
_LONGEST = 4_000
"""Characters of a text that is looked at."""
_BLOCKS, _BLOCK = 12, 25
"""Runs of consecutive calls, to see what of a prompt was sent a moment before."""
_MOST_BODY_CHARACTERS = 1_000_000
"""Longer bodies are left out."""
_MOST_CHARACTERS = 100_000_000
"""Of all prompts that are compared with those before them."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call of the sample."""

    question: int
    """Equal for equal requests."""
    text: str
    """What the user asked, without the system's part."""
    answer: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One call of a run of consecutive ones."""

    block: int
    second: float
    text: str
    """Everything that was sent, in the order in which a provider caches it."""
    input_tokens: int
    cache_read_tokens: int
    model: str
    tier: str = ""
    """As the provider calls it; empty: the list's."""
    provider: str = ""


def sampled_exchanges(
    connection: duckdb.DuckDBPyConnection, calls: Path | pa.Table | None, tasks: Sequence[str]
) -> dict[str, list[Exchange]]:
    """By task, up to `QUESTIONS` different requests with some of their copies, spread by what was asked."""
    sampled = connection.execute(f"""
        select task, id, question from (
            select task, id, question,
                row_number() over (partition by task, question order by moment nulls last, id) as copy
            from asked_rows where standing = 'rented' and not is_error and {_is_one_of(tasks)}
        ) where copy <= {COPIES}
        qualify dense_rank() over (partition by task order by question) <= {QUESTIONS}
        order by task, question, id
    """).fetchall()  # noqa: S608 (numbers of our own, names are quoted)
    said: dict[str, tuple[str, str]] = {}
    for id_, request, response in _of_moderate_length(bodies_of(calls, {id_ for _, id_, _ in sampled})):
        answer = None if response is None else answered(_object(response))
        if answer is not None:
            turns = [turn.content for turn in asked(_object(request)) if turn.role not in {"system", "developer"}]
            said[id_] = "\n".join(turns)[:_LONGEST], answer[:_LONGEST]
    exchanges: defaultdict[str, list[Exchange]] = defaultdict(list)
    for task, id_, question in sampled:
        if id_ in said:
            exchanges[task].append(Exchange(int(question), *said[id_]))
    return dict(exchanges)


def sampled_prompts(
    connection: duckdb.DuckDBPyConnection, calls: Path | pa.Table | None, tasks: Sequence[str]
) -> dict[str, list[Prompt]]:
    """By task, a dozen runs of consecutive calls; fewer of very long prompts."""
    sampled = connection.execute(f"""
        with placed as (
            select task, id, served, asked, provider, tier, moment, input_tokens, cache_read_tokens,
                (row_number() over (partition by task order by moment, id) - 1) // {_BLOCK} as block,
                count(*) over (partition by task) // {_BLOCK} as blocks
            from asked_rows
            where moment is not null and input_tokens > 0 and standing = 'rented' and not is_error
                and {_is_one_of(tasks)}
        )
        select task, id, block, epoch(moment), input_tokens, coalesce(cache_read_tokens, 0),
            coalesce(nullif(served, ''), asked), tier, provider
        from placed where block % greatest(1, blocks // {_BLOCKS}) = 0 order by task, block, moment, id
    """).fetchall()  # noqa: S608
    task_of = {id_: task for task, id_, *_ in sampled}
    room = dict.fromkeys(tasks, _MOST_CHARACTERS // max(1, len(tasks)))
    texts: dict[str, str] = {}
    for id_, request, _ in _of_moderate_length(bodies_of(calls, task_of)):
        text = _sent(_object(request))
        room[task_of[id_]] -= len(text)
        if text and room[task_of[id_]] >= 0:
            texts[id_] = text
    prompts: defaultdict[str, list[Prompt]] = defaultdict(list)
    for task, id_, block, second, tokens, read, model, tier, provider in sampled:
        if id_ in texts:
            prompts[task].append(
                Prompt(int(block), float(second), texts[id_], int(tokens), int(read), model, tier, provider)
            )
    return dict(prompts)


def _of_moderate_length(
    rows: Iterable[tuple[str, str | None, str | None]],
) -> Iterator[tuple[str, str, str | None]]:
    for id_, request, response in rows:
        if request is not None and len(request) + len(response or "") < _MOST_BODY_CHARACTERS:
            yield id_, request, response


def _is_one_of(tasks: Sequence[str]) -> str:
    """SQL for tasks of a list."""
    return "task in (" + ", ".join("'" + task.replace("'", "''") + "'" for task in tasks) + ")" if tasks else "false"


def _sent(request: dict[str, Any]) -> str:  # Any: JSON
    """Tools first, then the system's part, then the turns: what stands in front is what can be cached."""
    tools = request.get("tools")
    parts = [json.dumps(tools, ensure_ascii=False)] if tools else []
    return "\n".join([*parts, *(f"{turn.role}\n{turn.content}" for turn in asked(request))])


def _object(text: str) -> dict[str, Any]:  # Any: JSON
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
