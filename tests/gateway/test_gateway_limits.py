"""`freehold gateway` with keys: two workers, the official clients, limits over both, a key that is revoked."""

from __future__ import annotations

import http.client
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest
from sqlalchemy import select

from freehold.state.database import open_state
from freehold.state.keys import change_limits, create_key, revoke_key, rotate_key
from freehold.state.limits import parse_limit
from freehold.state.schema import SPENDING
from tests.gateway.test_gateway_command import CHAT, ask, process, send, settings_of
from tests.gateway.upstream import ScriptedUpstream, answer, completion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

CALLS = 120


@pytest.fixture
def folder(tmp_path: Path, state_url: str) -> Path:
    (tmp_path / ".freehold").mkdir(exist_ok=True)
    (tmp_path / "state_url").write_text(state_url)
    return tmp_path


@pytest.fixture
def keys(state_url: str) -> Iterator[Engine]:
    engine = open_state(state_url)
    yield engine
    engine.dispose()


def with_state(upstream: ScriptedUpstream, folder: Path, more: str = "") -> str:
    return settings_of(upstream, f'[state]\nurl = "{(folder / "state_url").read_text()}"\n{more}')


def booked(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {row.measure: row.spent for row in connection.execute(select(SPENDING))}


def test_a_limit_holds_over_two_workers_and_what_was_used_is_booked(
    upstream: ScriptedUpstream, folder: Path, keys: Engine
) -> None:
    upstream.scripts = [answer(completion())]
    limits = [parse_limit("requests/month=70"), parse_limit("tokens/month=100000")]
    _, secret = create_key(keys, "desk", limits=limits)

    with process(folder, with_state(upstream, folder), "--workers", "2") as (child, port):

        def call(number: int) -> tuple[int, bytes]:
            return send(port, CHAT, ask(number), authorization=f"Bearer {secret}")

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(call, range(CALLS)))
        child.terminate()
        assert child.wait(20) == 0

    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 429}
    assert 60 <= statuses.count(200) <= 70
    assert len(upstream.seen) == statuses.count(200)
    refusal = json.loads(next(body for status, body in answers if status == 429))["error"]
    assert (refusal["type"], refusal["param"]) == ("rate_limit_error", None)
    assert booked(keys) == {"requests": statuses.count(200), "tokens": 10 * statuses.count(200)}


def test_the_official_clients_understand_every_refusal(upstream: ScriptedUpstream, folder: Path, keys: Engine) -> None:
    upstream.scripts = [answer(completion())]
    _, scoped = create_key(keys, "scoped", models=["gpt-5*"], tasks=["support*"], task="support")
    _, limited = create_key(keys, "limited", limits=[parse_limit("requests/month=1")])
    _, dollars = create_key(keys, "dollars", limits=[parse_limit("usd/month=1")])

    with process(folder, with_state(upstream, folder)) as (_, port):

        def client(key: str) -> openai.OpenAI:
            return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)

        def chat(key: str, model: str = "gpt-5.4", **headers: str) -> object:
            turns = [{"role": "user", "content": "Hello"}]
            with client(key) as asking:
                return asking.chat.completions.create(model=model, messages=turns, extra_headers=headers)  # type: ignore[arg-type]  # a dict is what the API takes

        chat(scoped)
        chat(limited)
        chat(dollars)
        with pytest.raises(openai.AuthenticationError, match="This is no key of this gateway"):
            chat("sk-somebody-elses")
        with pytest.raises(openai.PermissionDeniedError, match="may not be used for the model 'gpt-4o'") as caught:
            chat(scoped, "gpt-4o")
        assert caught.value.code == "model_not_allowed"
        with pytest.raises(openai.PermissionDeniedError, match="may not be used for the task 'sales'"):
            chat(scoped, **{"x-freehold-task": "sales"})
        with pytest.raises(openai.BadRequestError, match=r"x-freehold-task .*holds '/'"):
            chat(scoped, **{"x-freehold-task": "../../etc"})
        with pytest.raises(openai.RateLimitError, match="has used up its limit of 1 requests a month") as full:
            chat(limited)
        assert int(full.value.response.headers["retry-after"]) >= 1
        with pytest.raises(openai.PermissionDeniedError, match="nobody knows what the model 'home-made' costs"):
            chat(dollars, "home-made")
        with (
            anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}", api_key=scoped, max_retries=0) as claude,
            pytest.raises(anthropic.PermissionDeniedError, match="may not be used for the model 'claude-4'"),
        ):
            claude.messages.create(model="claude-4", max_tokens=5, messages=[{"role": "user", "content": "Hello"}])
    assert all(seen.header("authorization") == "Bearer sk-never-to-be-seen" for seen in upstream.seen)


def seconds_until(port: int, secret: str, status: int) -> float:
    begun = time.monotonic()
    while send(port, CHAT, ask(0), authorization=f"Bearer {secret}")[0] != status:
        assert time.monotonic() - begun < 10
    return time.monotonic() - begun


def test_a_running_gateway_sees_the_first_key_a_rotation_and_a_revocation_within_two_seconds(
    upstream: ScriptedUpstream, folder: Path, keys: Engine
) -> None:
    upstream.scripts = [answer(completion())]
    with process(folder, with_state(upstream, folder), "--workers", "2") as (_, port):
        assert send(port, CHAT, ask(0))[0] == 200  # no key was ever made
        _, first = create_key(keys, "desk")
        waited = seconds_until(port, "fh-none", 401)
        assert send(port, CHAT, ask(0), authorization=f"Bearer {first}")[0] == 200
        _, second = rotate_key(keys, "desk", grace=timedelta(0))
        waited = max(waited, seconds_until(port, first, 401))
        assert send(port, CHAT, ask(0), authorization=f"Bearer {second}")[0] == 200
        revoke_key(keys, "desk")
        waited = max(waited, seconds_until(port, second, 401))
    assert waited < 4  # two seconds, and as much again for a busy machine


def test_answers_under_limits_say_what_is_left_and_a_change_reaches_running_workers(
    upstream: ScriptedUpstream, folder: Path, keys: Engine
) -> None:
    upstream.scripts = [answer(completion(), x_ratelimit_limit_requests="999", x_other="kept")]
    key, secret = create_key(keys, "desk", limits=[parse_limit("requests/day=3"), parse_limit("tokens/month=9000")])

    with process(folder, with_state(upstream, folder)) as (_, port):

        def call() -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.request("POST", CHAT, ask(1), {"authorization": f"Bearer {secret}"})
                response = connection.getresponse()
                return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
            finally:
                connection.close()

        told = [call() for _ in range(4)]
        assert [status for status, _, _ in told] == [200, 200, 200, 429]
        assert [head["x-ratelimit-remaining-requests"] for _, head, _ in told] == ["2", "1", "0", "0"]
        assert [head["x-ratelimit-limit-requests"] for _, head, _ in told] == ["3"] * 4  # ours, not the provider's
        assert {head["x-ratelimit-limit-tokens"] for _, head, _ in told} == {"9000"}
        assert 0 < int(told[3][1]["x-ratelimit-remaining-tokens"]) <= 9000 - 30
        assert re.fullmatch(r"(\d+h)?(\d+m)?\d+s", told[0][1]["x-ratelimit-reset-requests"])
        assert told[0][1]["x-other"] == "kept"

        change_limits(keys, key.id, set_to=[parse_limit("requests/day=5")])
        deadline = time.monotonic() + 20
        while (again := call())[0] == 429:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # workers obey within seconds
        assert again[1]["x-ratelimit-limit-requests"] == "5"
        assert again[1]["x-ratelimit-remaining-requests"] == "1"  # what was used before counts against the new limit

        change_limits(keys, key.id, drop=["requests/day", "tokens/month"])
        while "x-ratelimit-limit-requests" in (again := call())[1] and again[1]["x-ratelimit-limit-requests"] != "999":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert again[0] == 200  # without limits the provider's headers pass

        status, body = send(port, CHAT, ask(1))
        assert status == 401
        assert "freehold keys create NAME" in json.loads(body)["error"]["message"]
