"""`freehold keys`: what a person sees of keys, and what only once."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from freehold.cli.session import open_session
from freehold.state.database import first_broken_entry
from freehold.state.schema import AUDIT_TRAIL
from freehold.state.spending import Account, Claim, settle, window_of

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

SECRET = re.compile(r"fh-[0-9A-Za-z]{49}")
NOON = 1_795_435_200.0


def test_a_secret_is_shown_once_and_never_again(terminal: Terminal) -> None:
    made = terminal.run("keys", "create", "desk", "--task", "support", "--limit", "usd/month=199.50")
    assert made.code == 0
    secret = SECRET.findall(made.out)[0]
    assert SECRET.findall(made.out) == [secret]
    assert "Limits        $199.50 a month" in made.out
    assert "Default task  support" in made.out
    curl = f"curl -H 'Authorization: Bearer {secret}' http://127.0.0.1:8400/v1/models"
    assert made.last_line == f"Next: freehold gateway, then: {curl}"  # can be typed as it stands

    rotated = terminal.run("keys", "rotate", "desk", "--grace", "30m")
    second = SECRET.findall(rotated.out)[0]
    assert second != secret
    assert "has a new secret; the one before is valid until 20" in rotated.out

    for words in (("list",), ("list", "--json"), ("revoke", "desk"), ("list", "--all", "--json")):
        shown = terminal.run("keys", *words)
        assert shown.code == 0
        assert not SECRET.search(shown.out + shown.err)
    files = [path for path in terminal.folder.rglob("*") if path.is_file()]
    assert not any(each.encode() in path.read_bytes() for path in files for each in (secret, second))


def test_the_records_of_keys(terminal: Terminal) -> None:
    scope = ("--allow-task", "support*", "--allow-model", "gpt-5*", "--allow-model", "claude-*")
    limits = ("--limit", "usd/month=5", "--limit", "requests/minute=60", "--expires-in", "90d")
    made = terminal.json("keys-create", "keys", "create", "desk", "--task", "support", *scope, *limits)
    assert (made["name"], made["tasks"], made["models"]) == ("desk", ["support*"], ["gpt-5*", "claude-*"])
    assert [(each["measure"], each["amount"], each["spent"]) for each in made["limits"]] == [
        ("requests", 60, 0),
        ("usd", 5.0, 0.0),
    ]
    assert made["secret"].startswith(made["secrets"][0]["prefix"])
    assert made["is_usable"]

    changed = terminal.json(
        "keys-set", "keys", "set", "desk", "--requests-per-minute", "120", "--limit", "usd/month=none",
        "--limit", "tokens/day=5000",
    )  # fmt: skip
    assert [(each["measure"], each["period"], each["amount"]) for each in changed["limits"]] == [
        ("requests", "minute", 120),
        ("tokens", "day", 5000),
    ]
    rotated = terminal.json("keys-rotate", "keys", "rotate", "desk")
    assert rotated["id"] == made["id"]
    assert rotated["previous_valid_until"] == rotated["secrets"][1]["expires_at"]
    listed = terminal.json("keys-list", "keys", "list")["keys"]
    assert [each["id"] for each in listed] == [made["id"]]
    revoked = terminal.json("keys-revoke", "keys", "revoke", made["id"], "--reason", "done")
    assert revoked["revoked_at"] is not None
    assert not revoked["is_usable"]
    assert terminal.run("keys", "list", "--json").record["keys"] == []


def test_the_list_shows_what_is_used_of_each_limit(terminal: Terminal) -> None:
    record = terminal.run("keys", "create", "desk", "--limit", "usd/month=5", "--json").record
    state = open_session().state
    window = window_of("month", time.time())
    account = Account(record["id"], "usd", "month", window.starts_at, 5_000_000_000)
    settle(state, [Claim(account=account, holder="h", spent=1_250_000_000, needed=0, wished=0)], at=NOON, lease_s=1)
    state.dispose()

    shown = " ".join(terminal.run("keys", "list").out.split())
    assert "$1.25 of $5.00 a month" in shown
    assert terminal.run("keys", "list", "--json").record["keys"][0]["limits"][0]["spent"] == 1.25


def test_without_keys_the_list_says_so(terminal: Terminal) -> None:
    assert terminal.run("keys", "list").out == "No key yet.\n"


def test_who_changed_a_key_and_why_is_in_the_audit_trail(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_ACTOR", "ada")
    terminal.run("keys", "create", "desk")
    terminal.run("keys", "rotate", "desk")
    terminal.run("keys", "revoke", "desk", "--reason", "left in a notebook")
    state = open_session().state
    with state.connect() as connection:
        entries = connection.execute(select(AUDIT_TRAIL).order_by(AUDIT_TRAIL.c.sequence)).all()
        assert first_broken_entry(connection) is None
    state.dispose()
    assert [(each.actor, each.action) for each in entries] == [
        ("ada", "key.created"),
        ("ada", "key.rotated"),
        ("ada", "key.revoked"),
    ]
    assert entries[-1].details["reason"] == "left in a notebook"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "a/b"), "Key 'a/b' cannot be made"),
        (("create", "x", "--limit", "requests/hour=5"), "periods: minute, day, month"),
        (("create", "x", "--expires-in", "soon"), "--expires-in 'soon' is no time"),
        (("create", "x", "--expires-in", "0d"), "which is over"),
        (("create", "x", "--expires-in", "999999w"), "longer than ten years"),
        (("rotate", "nobody"), "There is no key 'nobody'"),
        (("rotate", "nobody", "--grace", "1y"), "--grace '1y' is no time"),
        (("revoke", "nobody"), "freehold keys list --all"),
        (("set", "nobody", "--requests-per-minute", "5"), "There is no key 'nobody'"),
        (("set", "nobody", "--tokens-per-minute", "many"), "The limit 'tokens/minute=many' is not understood"),
        (("create", "x", "--limit", "usd/day=none"), "The limit 'usd/day=none' is not understood"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    terminal: Terminal, words: tuple[str, ...], message: str
) -> None:
    shown = terminal.run("keys", *words)
    assert shown.code == 2
    assert message in shown.error


def test_a_name_that_is_taken_is_told_how_to_go_on(terminal: Terminal) -> None:
    terminal.run("keys", "create", "my desk")
    assert terminal.run("keys", "create", "my desk").error.endswith("freehold keys rotate 'my desk'")


def test_limits_cannot_be_changed_to_what_makes_no_sense_and_all_faults_are_named(terminal: Terminal) -> None:
    terminal.run("keys", "create", "desk", "--requests-per-minute", "5")
    shown = terminal.run("keys", "set", "desk", "--requests-per-minute", "0", "--limit", "usd/day=none")
    assert shown.code == 2
    assert "the limit requests/minute is 0" in shown.err
    assert "it has no limit usd/day to drop" in shown.err
    assert "no limit was named" in terminal.run("keys", "set", "desk").err
    both = terminal.run("keys", "set", "desk", "--limit", "requests/minute=none", "--requests-per-minute", "7")
    assert "both set and dropped" in both.err
    terminal.run("keys", "revoke", "desk")
    assert "it is revoked" in terminal.run("keys", "set", "desk", "--requests-per-minute", "7").err


def test_a_secret_is_not_repeated_for_a_program(terminal: Terminal) -> None:
    made = terminal.run("keys", "create", "desk", "--json")
    assert made.record["secret"] in made.out
    assert not SECRET.search(made.err)
    assert "Bearer SECRET" in made.err


def test_a_change_of_limits_is_in_the_audit_trail_before_and_after(terminal: Terminal) -> None:
    terminal.run("keys", "create", "desk", "--requests-per-minute", "5")
    terminal.run("keys", "set", "desk", "--requests-per-minute", "9")
    state = open_session().state
    with state.connect() as connection:
        last = connection.execute(select(AUDIT_TRAIL).order_by(AUDIT_TRAIL.c.sequence)).all()[-1]
    state.dispose()
    assert (last.action, last.details["before"], last.details["limits"]) == (
        "key.limits_changed", ["requests/minute=5"], ["requests/minute=9"],
    )  # fmt: skip
