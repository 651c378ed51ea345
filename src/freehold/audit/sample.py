"""A bounded sample of what was asked and answered, the only part of an audit that reads customers' text."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.core.spoken import answered, asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

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


def sampled_exchanges(connection: duckdb.DuckDBPyConnection, tasks: Sequence[str]) -> dict[str, list[Exchange]]:
    """By task, up to `QUESTIONS` different requests with some of their copies, spread by what was asked."""
    connection.execute(f"""
        create or replace temp table sampled as
        select task, id, question from (
            select task, id, question,
                row_number() over (partition by task, question order by moment nulls last, id) as copy
            from counted_rows
            where question is not null and standing = 'rented' and not is_error and {_is_one_of(tasks)}
        ) where copy <= {COPIES}
        qualify dense_rank() over (partition by task order by question) <= {QUESTIONS}
    """)  # noqa: S608 (numbers of our own, names are parameters)
    found = connection.execute(f"""
        select s.task, s.question, c.request, c.response from sampled s join call_rows c using (id)
        where c.response is not null and length(c.response) + length(c.request) < {_MOST_BODY_CHARACTERS}
        order by s.task, s.question, s.id
    """)  # noqa: S608
    exchanges: defaultdict[str, list[Exchange]] = defaultdict(list)
    while rows := found.fetchmany(500):
        for task, question, request, response in rows:
            answer = answered(_object(response))
            turns = [turn.content for turn in asked(_object(request)) if turn.role not in {"system", "developer"}]
            if answer is not None:
                exchanges[task].append(Exchange(int(question), "\n".join(turns)[:_LONGEST], answer[:_LONGEST]))
    return dict(exchanges)


def sampled_prompts(connection: duckdb.DuckDBPyConnection, tasks: Sequence[str]) -> dict[str, list[Prompt]]:
    """By task, a dozen runs of consecutive calls."""
    found = connection.execute(f"""
        with placed as (
            select task, id, served, asked, provider, tier, moment, input_tokens, cache_read_tokens,
                (row_number() over (partition by task order by moment, id) - 1) // {_BLOCK} as block,
                count(*) over (partition by task) // {_BLOCK} as blocks
            from counted_rows
            where question is not null and moment is not null and input_tokens > 0 and standing = 'rented'
                and not is_error and {_is_one_of(tasks)}
        )
        select p.task, p.block, epoch(p.moment), c.request, p.input_tokens, coalesce(p.cache_read_tokens, 0),
            coalesce(nullif(p.served, ''), p.asked), p.tier, p.provider
        from placed p join call_rows c using (id)
        where p.block % greatest(1, p.blocks // {_BLOCKS}) = 0 and length(c.request) < {_MOST_BODY_CHARACTERS}
        order by p.task, p.block, p.moment, p.id
    """)  # noqa: S608
    prompts: defaultdict[str, list[Prompt]] = defaultdict(list)
    while rows := found.fetchmany(500):
        for task, block, second, request, tokens, read, model, tier, provider in rows:
            text = _sent(_object(request))
            if text:
                prompts[task].append(
                    Prompt(int(block), float(second), text, int(tokens), int(read), model, tier, provider)
                )
    return dict(prompts)


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
