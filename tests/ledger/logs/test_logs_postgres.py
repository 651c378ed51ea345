"""LiteLLM's database is read as it stands."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from freehold.core.errors import InputError
from freehold.ledger.logs.postgres import Database
from tests.ledger.logs.test_logs_traces import calls_in, take

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TABLE = """
create table "LiteLLM_SpendLogs" (
    request_id text primary key, call_type text not null, api_key text not null default '', spend float8 not null,
    total_tokens int not null, prompt_tokens int not null, completion_tokens int not null,
    "startTime" timestamp(3) not null, "endTime" timestamp(3) not null, model text not null default '',
    custom_llm_provider text default '', metadata jsonb default '{}', cache_hit text default '',
    request_tags jsonb default '[]', messages jsonb default '{}', response jsonb default '{}',
    proxy_server_request jsonb default '{}', status text
)
"""


@pytest.fixture
def url(postgres_server: str) -> Iterator[str]:
    server = postgres_server.replace("postgresql+psycopg://", "postgresql://")
    name = f"litellm_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
        yield f"{server}/{name}"
        connection.execute(f'drop database "{name}" with (force)')


def test_calls_of_the_proxy_are_imported_from_its_database(tmp_path: Path, url: str) -> None:
    request = {"model": "gpt-5.4", "messages": [{"role": "user", "content": "hi"}]}
    with psycopg.connect(url) as connection:
        connection.execute(_TABLE)
        for number in range(1_200):
            connection.execute(
                'insert into "LiteLLM_SpendLogs" (request_id, call_type, spend, total_tokens, prompt_tokens, '
                'completion_tokens, "startTime", "endTime", model, custom_llm_provider, proxy_server_request, status) '
                "values (%s, 'acompletion', 0.1, 12, 10, 2, '2026-10-01 08:00:00', '2026-10-01 08:00:01', 'gpt-5.4', "
                "'openai', %s, 'success')",
                (f"r{number}", json.dumps(request if number == 7 else {})),
            )
    result = take(tmp_path, url)
    assert (result.tally.imported, result.formats, result.tally.rejected) == (1_200, {"litellm-spend-logs": 1}, 0)
    calls = {call.request_id: call for call in calls_in(tmp_path)}
    assert calls["r7"].request is not None
    assert calls["r7"].request["messages"] == request["messages"]
    assert (calls["r8"].input_tokens, calls["r8"].duration_ms, calls["r8"].request) == (10, 1_000.0, None)
    assert take(tmp_path, url).tally.duplicates == 1_200


def test_a_number_that_json_allows_and_no_float_holds_costs_no_call(tmp_path: Path, url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(_TABLE)
        connection.execute(
            'insert into "LiteLLM_SpendLogs" (request_id, call_type, spend, total_tokens, prompt_tokens, '
            'completion_tokens, "startTime", "endTime", metadata, status) '
            "values ('r', 'acompletion', 0.1, 12, 10, 2, "
            "'2026-10-01 08:00:00', '2026-10-01 08:00:01', '{\"x\": 1e400, \"task\": \"intent\"}', null)"
        )
    result = take(tmp_path, url)
    assert (result.tally.imported, result.tally.rejected) == (1, 0)
    (call,) = calls_in(tmp_path)
    assert (call.task, call.input_tokens) == ("intent", 10)


def test_another_database_and_none_at_all_say_so(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="no table 'LiteLLM_SpendLogs'"):
        take(tmp_path, url)
    with pytest.raises(InputError, match=r"postgresql://127\.0\.0\.1/none: cannot be read"):
        take(tmp_path, "postgresql://somebody:secret@127.0.0.1:1/none")


def test_a_password_is_never_shown() -> None:
    assert Database("postgresql://somebody:secret@db.example:5432/litellm").name == "postgresql://db.example/litellm"
