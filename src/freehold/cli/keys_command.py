"""`freehold keys`: who may call through the gateway, for what, and how much."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, show
from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from freehold.state.limits import Limit
    from freehold.state.settings import GatewaySection

_LONGEST = timedelta(days=3_653)
_SHORT = ("requests/minute", "tokens/minute", "usd/month")
"""Limits with an option of their own, as in --requests-per-minute."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _short_limits(command: Callable[..., None]) -> Callable[..., None]:
    for name in reversed(_SHORT):
        option = f"--{name.replace('/', '-per-')}"
        command = click.option(option, metavar="N", help=f"Short for --limit {name}=N.")(command)
    return command


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
@_short_limits
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
    **short: str | None,
) -> None:
    """Make a key called NAME and show its secret, this once.

    A call that a limit has no room for is answered with 429 and told when to come back. A key with a limit in
    dollars is refused models whose price nobody knows.

    \b
    Examples:
      freehold keys create checkout
      freehold keys create desk --task support_intent --requests-per-minute 60 --limit usd/day=20
      freehold keys create batch --allow-task 'nightly_*' --allow-model 'gpt-5*' --expires-in 90d
    """
    from freehold.cli.session import open_session
    from freehold.report.key_tables import key_text
    from freehold.state.key_records import key_record
    from freehold.state.keys import create_key

    ends = None if expires_in is None else datetime.now(UTC) + _duration(expires_in, "--expires-in")
    parsed, _ = _limits(limits, short, can_drop=False)
    session = open_session()
    state = session.state
    key, secret = create_key(state, name, task=task, tasks=tasks, models=models, limits=parsed, expires_at=ends)
    record = key_record(state, key, secret=secret)
    text = key_text(record, finding=f"Key {name} is made.")
    shown = "SECRET" if as_json else secret  # what is read by a program does not show it twice
    show(record, text, as_json=as_json, next_step=_first_call(session.settings.gateway, shown))


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
    from freehold.state.key_records import key_records
    from freehold.state.keys import list_keys

    state = open_session().state
    record = {"schema": "freehold.keys/1", "keys": key_records(state, list_keys(state, with_revoked=with_revoked))}
    show(record, keys_text(record), as_json=as_json, next_step="freehold keys rotate KEY")


@command.command("set")
@click.argument("key")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="MEASURE/PERIOD=AMOUNT",
    help="A new limit, or a new amount; =none drops it. requests, tokens or usd per minute, day or month; repeatable.",
)
@_short_limits
@json_option
def set_limits(key: str, limits: tuple[str, ...], as_json: bool, **short: str | None) -> None:
    """Change the limits of KEY (name, id, or how a secret begins).

    Limits that are not named stay. What the key has used stays too, and counts against the new amounts. Running
    gateways obey within a few seconds.

    \b
    Examples:
      freehold keys set desk --requests-per-minute 120
      freehold keys set desk --limit usd/month=500 --limit tokens/day=none
    """
    from freehold.cli.session import open_session
    from freehold.report.key_tables import key_text
    from freehold.state.key_records import key_record
    from freehold.state.keys import change_limits

    set_to, drop = _limits(limits, short, can_drop=True)
    state = open_session().state
    record = key_record(state, change_limits(state, key, set_to=set_to, drop=drop))
    text = key_text(record, finding=f"Key {record['name']} has other limits; running gateways obey within seconds.")
    show(record, text, as_json=as_json, next_step="freehold keys list")


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
    from freehold.state.key_records import key_record
    from freehold.state.keys import revoke_key

    state = open_session().state
    record = key_record(state, revoke_key(state, key, reason=reason))
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
    from freehold.state.key_records import key_record
    from freehold.state.keys import rotate_key

    state = open_session().state
    rotated, secret = rotate_key(state, key, grace=_duration(grace, "--grace"))
    record = {**key_record(state, rotated, secret=secret), "previous_valid_until": rotated.secrets[1].expires_at}
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


def _limits(limits: Sequence[str], short: dict[str, Any], *, can_drop: bool) -> tuple[list[Limit], list[str]]:
    """Limits as they were typed in, and names of those to drop.

    Raises:
        InputError: one is not understood.
    """
    from freehold.state.limits import parse_limit

    words = [*limits, *(f"{name}={short[name.replace('/', '_per_')]}" for name in _SHORT if _is_given(short, name))]
    dropped = [word.partition("=")[0].strip() for word in words if can_drop and word.strip().endswith("=none")]
    return [parse_limit(word) for word in words if not (can_drop and word.strip().endswith("=none"))], dropped


def _is_given(short: dict[str, Any], name: str) -> bool:
    return short[name.replace("/", "_per_")] is not None


def _first_call(gateway: GatewaySection, secret: str) -> str:
    """A call that works as soon as the gateway runs, and that costs nothing."""
    host = "127.0.0.1" if gateway.host in {"0.0.0.0", "::", "localhost"} else gateway.host  # noqa: S104 (compared)
    host = f"[{host}]" if ":" in host else host
    return f"freehold gateway, then: curl -H 'Authorization: Bearer {secret}' http://{host}:{gateway.port}/v1/models"
