"""Who calls: from headers to a principal, and how soon a change of a key is seen."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.pool import StaticPool

from freehold.gateway.limits.keys import FRESH_S, NOBODY, STALE_S, VISIBLE_S, KeyRing, Principal, Refusal
from freehold.state.keys import create_key, revoke_key, rotate_key
from freehold.state.schema import METADATA
from freehold.state.secrets import new_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = timedelta(hours=1)


class Ticks:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


def bearer(secret: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"here"), (b"authorization", b"Bearer " + secret.encode())]


@contextmanager
def questions(engine: Engine) -> Iterator[list[str]]:
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:  # Any: SQLAlchemy's own objects
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def ask(engine: Engine, *requests: list[tuple[bytes, bytes]], is_open: bool = False) -> list[Principal | Refusal]:
    async def walk() -> list[Principal | Refusal]:
        ring = KeyRing(engine, is_open_without_keys=is_open)
        answers = [await ring.authenticate(headers) for headers in requests]
        ring.close()
        return answers

    return asyncio.run(walk())


def codes(answers: list[Principal | Refusal]) -> list[str | None]:
    return [f"{each.status} {each.code}" if isinstance(each, Refusal) else each.name for each in answers]


def test_a_key_is_found_wherever_the_clients_of_each_provider_put_it(state: Engine) -> None:
    key, secret = create_key(state, "desk", task="support", tasks=["s*"], models=["m*"])
    raw = secret.encode()
    answers = ask(
        state,
        [(b"authorization", b"Bearer " + raw)],
        [(b"authorization", b"bearer   " + raw + b" ")],
        [(b"x-api-key", raw)],
        [(b"api-key", raw)],
        [(b"authorization", b"Bearer sk-of-another-provider"), (b"x-api-key", raw)],
        [(b"authorization", b"Bearer " + raw), (b"x-api-key", raw)],
    )
    assert codes(answers) == ["desk"] * 6
    first = answers[0]
    assert isinstance(first, Principal)
    assert (first.key_id, first.task, first.tasks, first.models) == (key.id, "support", ("s*",), ("m*",))


def test_without_the_right_key_the_answer_is_401_and_repeats_nothing(state: Engine) -> None:
    _, secret = create_key(state, "desk")
    _, other = create_key(state, "other")
    _, revoked = create_key(state, "revoked")
    revoke_key(state, "revoked")
    _, replaced = create_key(state, "rotated")
    rotate_key(state, "rotated", grace=timedelta(0))
    answers = ask(
        state,
        [],
        [(b"authorization", b"Basic abc")],
        [(b"authorization", b"Bearer sk-proj-abcdefgh")],
        bearer(secret[:-1] + ("a" if secret[-1] != "a" else "b")),
        bearer(new_secret()),
        [(b"authorization", b"Bearer fh-\xff\x00\xfe")],
        [*bearer(secret), (b"x-api-key", other.encode())],
        bearer(revoked),
        bearer(replaced),
    )
    assert codes(answers) == [
        "401 missing_api_key",
        "401 missing_api_key",
        "401 invalid_api_key",
        "401 invalid_api_key",
        "401 invalid_api_key",
        "401 invalid_api_key",
        "401 two_keys",
        "401 key_revoked",
        "401 key_expired",
    ]
    for each in answers:
        assert isinstance(each, Refusal)
        assert each.retry_after_s is None
        assert "abcdefgh" not in each.message
        assert secret[3:10] not in each.message


def test_without_any_key_the_door_is_open_only_where_that_is_wanted(state: Engine) -> None:
    anybody = [(b"authorization", b"Bearer sk-anything")]
    assert ask(state, [], anybody, is_open=True) == [NOBODY, NOBODY]
    assert codes(ask(state, [], anybody)) == ["401 missing_api_key", "401 invalid_api_key"]
    create_key(state, "desk")
    assert codes(ask(state, [], is_open=True)) == ["401 missing_api_key"]
    revoke_key(state, "desk")
    assert codes(ask(state, [], is_open=True)) == ["401 missing_api_key"]


def test_a_key_is_asked_about_once(state: Engine, ticks: Ticks) -> None:
    _, secret = create_key(state, "desk")

    async def walk() -> None:
        ring = KeyRing(state, is_open_without_keys=False, ticks=ticks)
        await ring.authenticate(bearer(secret))
        unknown = new_secret()
        await ring.authenticate(bearer(unknown))
        with questions(state) as asked:
            for _ in range(100):
                assert isinstance(await ring.authenticate(bearer(secret)), Principal)
                assert isinstance(await ring.authenticate(bearer(unknown)), Refusal)
        assert asked == []
        ring.close()

    asyncio.run(walk())


async def settled() -> None:
    """Let the question that runs beside the calls be answered."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)


def test_revoking_is_seen_within_the_stated_time(state: Engine, ticks: Ticks) -> None:
    _, secret = create_key(state, "desk")

    async def walk() -> None:
        ring = KeyRing(state, is_open_without_keys=False, ticks=ticks)
        assert isinstance(await ring.authenticate(bearer(secret)), Principal)
        revoke_key(state, "desk")
        ticks.now += FRESH_S
        assert isinstance(await ring.authenticate(bearer(secret)), Principal)  # not yet asked
        ticks.now += 0.1
        await ring.authenticate(bearer(secret))  # asks beside the call
        await settled()
        answer = await ring.authenticate(bearer(secret))
        assert isinstance(answer, Refusal)
        assert answer.code == "key_revoked"
        ring.close()

    asyncio.run(walk())


def test_after_a_pause_changes_are_seen_before_the_first_call(state: Engine, ticks: Ticks) -> None:
    _, secret = create_key(state, "desk")

    async def walk() -> list[Principal | Refusal]:
        ring = KeyRing(state, is_open_without_keys=False, ticks=ticks)
        answers = [await ring.authenticate(bearer(secret))]
        _, second = rotate_key(state, "desk", grace=timedelta(0))
        ticks.now += VISIBLE_S + 0.1
        answers += [await ring.authenticate(bearer(secret)), await ring.authenticate(bearer(second))]
        ring.close()
        return answers

    assert codes(asyncio.run(walk())) == ["desk", "401 key_expired", "desk"]


def test_a_secret_ends_to_the_second_without_a_question(state: Engine, ticks: Ticks) -> None:
    _, secret = create_key(state, "desk", expires_at=datetime.now(UTC) + HOUR)
    clock = Ticks()
    clock.now = datetime.now(UTC).timestamp()

    async def walk() -> list[Principal | Refusal]:
        ring = KeyRing(state, is_open_without_keys=False, ticks=ticks, clock=clock)
        answers = [await ring.authenticate(bearer(secret))]
        clock.now += HOUR.total_seconds() + 1
        answers.append(await ring.authenticate(bearer(secret)))
        ring.close()
        return answers

    assert codes(asyncio.run(walk())) == ["desk", "401 key_expired"]


def test_while_the_database_is_away_known_keys_are_let_in_for_a_minute(state: Engine, ticks: Ticks) -> None:
    _, secret = create_key(state, "desk")
    _, other = create_key(state, "other")

    async def walk() -> list[Principal | Refusal]:
        ring = KeyRing(state, is_open_without_keys=False, ticks=ticks)
        answers = [await ring.authenticate(bearer(secret))]
        with state.begin() as connection:
            connection.execute(text("alter table key_secrets rename to gone"))
            connection.execute(text("alter table audit_trail rename to gone_too"))
        ticks.now += STALE_S - 1
        answers += [await ring.authenticate(bearer(secret)), await ring.authenticate(bearer(other))]
        ticks.now += 2
        answers.append(await ring.authenticate(bearer(secret)))
        with state.begin() as connection:
            connection.execute(text("alter table gone rename to key_secrets"))
            connection.execute(text("alter table gone_too rename to audit_trail"))
        ticks.now += 1
        await ring.authenticate(bearer(secret))
        await settled()
        answers.append(await ring.authenticate(bearer(other)))
        ring.close()
        return answers

    answers = asyncio.run(walk())
    assert codes(answers) == ["desk", "desk", "503 keys_unavailable", "503 keys_unavailable", "other"]
    away = answers[2]
    assert isinstance(away, Refusal)
    assert away.retry_after_s == 1.0


def test_closing_ends_a_question_that_is_under_way(state: Engine, ticks: Ticks) -> None:
    _, secret = create_key(state, "desk")

    async def walk() -> None:
        ring = KeyRing(state, is_open_without_keys=False, ticks=ticks)
        await ring.authenticate(bearer(secret))
        ticks.now += FRESH_S + 0.1
        await ring.authenticate(bearer(secret))
        ring.close()
        await settled()

    asyncio.run(walk())


def test_many_keys_at_once_are_each_found(state: Engine) -> None:
    secrets = {f"key {number}": create_key(state, f"key {number}")[1] for number in range(5)}

    async def walk() -> list[Principal | Refusal]:
        ring = KeyRing(state, is_open_without_keys=False)
        answers = await asyncio.gather(*(ring.authenticate(bearer(secret)) for secret in [*secrets.values()] * 20))
        ring.close()
        return answers

    assert codes(asyncio.run(walk())) == [*secrets] * 20


def test_memory_for_keys_is_bounded(state: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.gateway.limits.keys._MOST_KNOWN", 2)
    monkeypatch.setattr("freehold.gateway.limits.keys._MOST_UNKNOWN", 2)
    secrets = [create_key(state, f"key {number}")[1] for number in range(4)]

    async def walk() -> None:
        ring = KeyRing(state, is_open_without_keys=False)
        for secret in [*secrets, *secrets]:
            assert isinstance(await ring.authenticate(bearer(secret)), Principal)
            assert isinstance(await ring.authenticate(bearer(new_secret())), Refusal)
            assert len(ring._known) <= 2
            assert len(ring._unknown) <= 2
        ring.close()

    asyncio.run(walk())


NAMES = st.sampled_from([b"authorization", b"x-api-key", b"api-key", b"host", b"cookie"])
VALUES = st.one_of(st.binary(max_size=80), st.binary(max_size=60).map(lambda raw: b"Bearer fh-" + raw))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_no_header_lets_a_stranger_in_or_breaks_the_door(headers: list[tuple[bytes, bytes]]) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    METADATA.create_all(engine)
    answer = ask(engine, headers)[0]
    engine.dispose()
    assert isinstance(answer, Refusal)
    assert answer.status == 401
