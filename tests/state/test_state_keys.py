"""API keys: made once, shown once, rotated with grace, revoked at once, and all of it in the audit trail."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from freehold.core.errors import InputError
from freehold.state.database import first_broken_entry
from freehold.state.keys import (
    create_key,
    get_key,
    known_secrets,
    last_change,
    list_keys,
    moment,
    revoke_key,
    rotate_key,
)
from freehold.state.limits import MEASURES, PERIODS, Limit, in_unit, parse_limit
from freehold.state.schema import AUDIT_TRAIL, KEY_SECRETS, METADATA
from freehold.state.secrets import PREFIX, has_form, new_secret, sha256_of

DAY = timedelta(days=1)


def known(engine: Engine, secret: str) -> datetime | str | None:
    """End of a presented secret; 'unknown' if it is none, 'revoked' if its key is."""
    found = known_secrets(engine, [sha256_of(secret)])
    if not found:
        return "unknown"
    return "revoked" if found[0].key.revoked_at else found[0].expires_at


def test_a_key_is_what_was_asked_for(state: Engine) -> None:
    limits = [Limit("usd", "month", 200_000_000_000), Limit("requests", "minute", 60)]
    ends = datetime.now(UTC) + 90 * DAY
    key, secret = create_key(
        state, "desk", task="support", tasks=["support*"], models=["gpt-5*", "*"], limits=limits, expires_at=ends
    )

    assert get_key(state, "desk") == get_key(state, key.id) == key
    assert (key.task, key.tasks, key.models) == ("support", ("support*",), ("gpt-5*", "*"))
    assert key.limits == (limits[1], limits[0])
    assert moment(key.expires_at or "") == known(state, secret)
    assert key.is_usable(ends - DAY)
    assert not key.is_usable(ends)


def test_a_secret_is_stored_nowhere(state: Engine) -> None:
    _, first = create_key(state, "desk")
    _, second = rotate_key(state, "desk", grace=DAY)

    with state.connect() as connection:
        everything = repr([connection.execute(select(table)).all() for table in METADATA.sorted_tables])
    for secret in (first, second):
        assert secret not in everything
        assert secret[len(PREFIX) + 8 :] not in everything
        assert sha256_of(secret) in everything


def test_a_rotated_key_keeps_its_old_secret_for_the_time_of_grace(state: Engine) -> None:
    key, first = create_key(state, "desk", limits=[Limit("tokens", "day", 5)])
    before = datetime.now(UTC)
    rotated, second = rotate_key(state, "desk", grace=timedelta(hours=2))

    assert (rotated.id, rotated.limits, rotated.name) == (key.id, key.limits, key.name)
    ends = known(state, first)
    assert isinstance(ends, datetime)
    assert timedelta(hours=2) <= ends - before + timedelta(milliseconds=1) < timedelta(hours=2, minutes=1)
    assert known(state, second) is None
    assert [one.prefix for one in rotated.secrets] == [second[:11], first[:11]]

    rotate_key(state, "desk", grace=timedelta(0))
    for secret in (first, second):
        ended = known(state, secret)
        assert isinstance(ended, datetime)
        assert ended <= datetime.now(UTC)


def test_a_second_rotation_does_not_lengthen_the_first_grace(state: Engine) -> None:
    _, first = create_key(state, "desk")
    rotate_key(state, "desk", grace=timedelta(minutes=1))
    ends = known(state, first)
    rotate_key(state, "desk", grace=DAY)
    assert known(state, first) == ends


def test_a_secret_ends_with_its_key(state: Engine) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    _, first = create_key(state, "desk", expires_at=ends)
    _, second = rotate_key(state, "desk", grace=DAY)
    assert known(state, first) == known(state, second) == ends.replace(microsecond=ends.microsecond // 1000 * 1000)


def test_a_revoked_key_is_over_with_all_its_secrets_and_its_name_is_free(state: Engine) -> None:
    key, first = create_key(state, "desk")
    _, second = rotate_key(state, "desk", grace=DAY)
    revoked = revoke_key(state, "desk", reason="left in a notebook")

    assert revoked.revoked_at is not None
    assert {known(state, first), known(state, second)} == {"revoked"}
    assert revoke_key(state, key.id).revoked_at == revoked.revoked_at
    with pytest.raises(InputError, match="is revoked or expired"):
        rotate_key(state, "desk", grace=DAY)

    again, _ = create_key(state, "desk")
    assert get_key(state, "desk").id == again.id != key.id
    assert [each.id for each in list_keys(state)] == [again.id]
    assert [each.id for each in list_keys(state, with_revoked=True)] == [again.id, key.id]


def test_every_change_is_in_the_audit_trail_without_a_secret(state: Engine) -> None:
    assert last_change(state) == (0, False)
    key, _ = create_key(state, "desk", limits=[Limit("usd", "day", 1_500_000_000)])
    rotate_key(state, "desk", grace=DAY)
    revoke_key(state, "desk", reason="done")

    assert last_change(state) == (3, True)
    with state.connect() as connection:
        entries = connection.execute(select(AUDIT_TRAIL).order_by(AUDIT_TRAIL.c.sequence)).all()
        assert first_broken_entry(connection) is None
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("key.created", key.id),
        ("key.rotated", key.id),
        ("key.revoked", key.id),
    ]
    assert entries[0].details["limits"] == ["usd/day=1.5"]
    assert entries[2].details["reason"] == "done"


def test_a_name_is_taken_once_even_when_two_ask_at_once(state: Engine) -> None:
    faults: list[str] = []

    def make() -> None:
        try:
            create_key(state, "desk")
        except InputError as error:
            faults.append(str(error))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(faults) == 3
    assert all("There is a key 'desk' already" in fault for fault in faults)
    assert len(list_keys(state)) == 1


def test_of_rotations_at_once_only_the_last_secret_has_no_end(state: Engine) -> None:
    create_key(state, "desk")
    threads = [threading.Thread(target=rotate_key, args=(state, "desk"), kwargs={"grace": DAY}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with state.connect() as connection:
        ends = connection.execute(select(KEY_SECRETS.c.expires_at)).scalars().all()
    assert len(ends) == 5
    assert ends.count(None) == 1


def test_all_faults_of_a_key_are_named_at_once(state: Engine) -> None:
    with pytest.raises(InputError) as caught:
        create_key(
            state,
            "a/b",
            task=" ",
            tasks=[""],
            models=["x" * 201, "a\nb"],
            limits=[Limit("usd", "day", 0), Limit("usd", "day", 5), Limit("tokens", "day", 1 << 63)],
            expires_at=datetime.now(UTC) - DAY,
        )
    message = str(caught.value)
    for words in (
        "its name begins with a dot, or holds '/'",
        "the task is empty",
        "the pattern '' is empty",
        "longer than 200 characters",
        r"'a\nb'",
        "the limit usd/day is given twice",
        "the limit usd/day is 0.0; it must be above 0",
        "the limit tokens/day is",
        "which is over",
    ):
        assert words in message
    for name in ("key-1", "fh-1"):
        with pytest.raises(InputError, match="begins with 'key-' or 'fh-', as ids and secrets do"):
            create_key(state, name)


def test_a_key_is_found_by_how_a_leaked_secret_begins_and_the_secret_is_not_repeated(state: Engine) -> None:
    key, first = create_key(state, "desk")
    _, second = rotate_key(state, "desk", grace=DAY)
    for begins in (first[:11], second[:11], second):
        assert get_key(state, begins).id == key.id
    unknown = new_secret()
    with pytest.raises(InputError) as caught:
        get_key(state, unknown)
    assert unknown[:11] in str(caught.value)
    assert unknown[11:] not in str(caught.value)


def test_an_unknown_key_and_a_negative_grace_are_refused(state: Engine) -> None:
    with pytest.raises(InputError, match=r"There is no key 'nobody'.*freehold keys list --all"):
        revoke_key(state, "nobody")
    with pytest.raises(InputError, match="grace period is negative"):
        rotate_key(state, "nobody", grace=-DAY)


@given(st.integers(0, 10**6))
def test_secrets_have_a_form_that_typing_errors_break(number: int) -> None:
    secret = new_secret()
    place = len(PREFIX) + number % (len(secret) - len(PREFIX))
    other = "0" if secret[place] != "0" else "1"
    assert has_form(secret)
    assert not has_form(secret[:place] + other + secret[place + 1 :])
    assert not has_form(secret[:-1])


@pytest.mark.parametrize("text", ["", "fh-", "sk-" + "a" * 49, "fh-" + "é" * 49, "fh-" + "-" * 49, "\x00" * 52])
def test_what_is_no_secret_has_no_form_of_one(text: str) -> None:
    assert not has_form(text)


@given(st.sampled_from(MEASURES), st.sampled_from(PERIODS), st.integers(1, 10**15))
def test_a_limit_survives_being_written_and_read(measure: str, period: str, units: int) -> None:
    amount = Decimal(units) / 10**9 if measure == "usd" else Decimal(units)
    limit = parse_limit(f"{measure}/{period}={amount:f}")
    assert (limit.name, limit.amount, limit.fault) == (f"{measure}/{period}", units, None)
    assert in_unit(limit.measure, limit.amount) == pytest.approx(float(amount))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60", "is MEASURE/PERIOD=AMOUNT"),
        ("requests/hour=1", "periods: minute, day, month"),
        ("tokens/day=-5", "is not understood"),
        ("tokens/day=1.5", "counted in whole ones"),
        ("usd/day=0.0000000001", "a billionth of a dollar"),
        ("usd/day=nan", "is not understood"),
        ("tokens/day=_", "is not understood"),
    ],
)
def test_a_limit_that_cannot_be_read_says_how_one_looks(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_limit(text)
