"""`freehold keys`: who may call through the gateway, for what, and how much."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, show
from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from freehold.state.keys import Key

_LONGEST = timedelta(days=3_653)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.group("keys")
def command() -> None:
    """Keys of the gateway: who may call, for which tasks and models, and how much.

    Only a hash of a secret is stored. Every change is entered in the audit trail, and a running gateway obeys it
    within two seconds. As long as no key was ever made, a gateway is open to all who reach it; with the first key,
    every call needs one.
    """


@command.command("create")
@click.argument("name")
@click.option("--task", help="Task of calls that name none.")
@click.option("--allow-task", "tasks", multiple=True, metavar="GLOB", help="For these tasks alone; repeatable.")
@click.option("--allow-model", "models", multiple=True, metavar="GLOB", help="For these models alone; repeatable.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="MEASURE/PERIOD=AMOUNT",
    help="requests, tokens or usd per minute, day or month (UTC); repeatable.",
)
@click.option("--expires-in", metavar="TIME", help="End of the key from now on, as in 90d or 12h.")
@json_option
def create(
    name: str,
    task: str | None,
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    limits: tuple[str, ...],
    expires_in: str | None,
    as_json: bool,
) -> None:
    """Make a key called NAME and show its secret, this once.

    A call that a limit has no room for is answered with 429 and told when to come back. A key with a limit in
    dollars is refused models whose price nobody knows.

    \b
    Examples:
      freehold keys create checkout
      freehold keys create desk --task support_intent --limit requests/minute=60 --limit usd/month=200
      freehold keys create batch --allow-task 'nightly_*' --allow-model 'gpt-5*' --expires-in 90d
    """
    from freehold.cli.session import open_session
    from freehold.report.key_tables import key_text
    from freehold.state.keys import create_key
    from freehold.state.limits import parse_limit

    ends = None if expires_in is None else datetime.now(UTC) + _duration(expires_in, "--expires-in")
    parsed = [parse_limit(limit) for limit in limits]
    state = open_session().state
    key, secret = create_key(state, name, task=task, tasks=tasks, models=models, limits=parsed, expires_at=ends)
    record = _record(state, key, secret=secret)
    text = key_text(record, finding=f"Key {name} is made.")
    show(record, text, as_json=as_json, next_step="freehold gateway")


@command.command("list")
@click.option("--all", "with_revoked", is_flag=True, help="Revoked ones too.")
@json_option
def list_all(with_revoked: bool, as_json: bool) -> None:
    """List keys by name, with what is used of their limits.

    \b
    Examples:
      freehold keys list
      freehold keys list --all --json
    """
    from freehold.cli.session import open_session
    from freehold.report.key_tables import keys_text
    from freehold.state.keys import list_keys

    state = open_session().state
    record = {"schema": "freehold.keys/1", "keys": _records(state, list_keys(state, with_revoked=with_revoked))}
    show(record, keys_text(record), as_json=as_json, next_step="freehold keys rotate KEY")


@command.command("revoke")
@click.argument("key")
@click.option("--reason", help="Why; it is kept in the audit trail.")
@json_option
def revoke(key: str, reason: str | None, as_json: bool) -> None:
    """End KEY (name, id, or how a secret begins) with all its secrets, for good.

    \b
    Examples:
      freehold keys revoke desk --reason "left in a notebook"
      freehold keys revoke fh-ssYawkFz
    """
    from freehold.cli.session import open_session
    from freehold.report.key_tables import key_text
    from freehold.state.keys import revoke_key

    state = open_session().state
    record = _record(state, revoke_key(state, key, reason=reason))
    text = key_text(record, finding=f"Key {record['name']} is revoked; running gateways refuse it within two seconds.")
    show(record, text, as_json=as_json, next_step="freehold keys list --all")


@command.command("rotate")
@click.argument("key")
@click.option("--grace", default="24h", show_default=True, metavar="TIME", help="How long the old secret stays valid.")
@json_option
def rotate(key: str, grace: str, as_json: bool) -> None:
    """Give KEY (name or id) a new secret and show it, this once.

    The key keeps its id, its scopes, its limits and what it has used. Secrets before the new one stay valid for
    the time of grace, so that clients can be changed one after the other; 0s ends them at once.

    \b
    Examples:
      freehold keys rotate desk
      freehold keys rotate desk --grace 30m
    """
    from freehold.cli.session import open_session
    from freehold.report.key_tables import key_text
    from freehold.state.keys import rotate_key

    state = open_session().state
    rotated, secret = rotate_key(state, key, grace=_duration(grace, "--grace"))
    record = {**_record(state, rotated, secret=secret), "previous_valid_until": rotated.secrets[1].expires_at}
    finding = f"Key {rotated.name} has a new secret; the one before is valid until {record['previous_valid_until']}."
    show(record, key_text(record, finding=finding), as_json=as_json, next_step="freehold keys list")


def _duration(text: str, option: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    if found is None:
        raise InputError(f"{option} {text!r} is no time. Write a number and s, m, h, d or w, as in 90d or 30m.")
    duration = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if duration > _LONGEST:
        raise InputError(f"{option} {text!r} is longer than ten years. Leave it out for a key without an end.")
    return duration


def _record(state: Engine, key: Key, *, secret: str | None = None) -> dict[str, Any]:
    record = {"schema": "freehold.key/1", **_records(state, [key])[0]}
    return record if secret is None else {**record, "secret": secret}


def _records(state: Engine, keys: Sequence[Key]) -> list[dict[str, Any]]:
    from freehold.state.limits import PERIODS, in_unit
    from freehold.state.spending import spent_in, window_of

    at = datetime.now(UTC)
    windows = {period: window_of(period, at.timestamp()) for period in PERIODS}
    spent = spent_in(state, [key.id for key in keys], list(windows.values()))
    return [
        {
            "id": key.id,
            "name": key.name,
            "is_usable": key.is_usable(at),
            "task": key.task,
            "tasks": list(key.tasks),
            "models": list(key.models),
            "limits": [
                {
                    "measure": limit.measure,
                    "period": limit.period,
                    "amount": in_unit(limit.measure, limit.amount),
                    "spent": in_unit(limit.measure, spent.get((key.id, limit.measure, limit.period), 0)),
                }
                for limit in key.limits
            ],
            "secrets": [
                {"prefix": one.prefix, "created_at": one.created_at, "expires_at": one.expires_at}
                for one in key.secrets
            ],
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
        }
        for key in keys
    ]
