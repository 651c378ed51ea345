"""API keys for people: one with its secret, and all in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import joined, plain_table, sentence
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping


def key_text(record: Mapping[str, Any], *, finding: str) -> str:  # Any: JSON
    """One key: what happened to it, its secret if there is one to show, and what it may be used for."""
    shown = (
        ""
        if record.get("secret") is None
        else f"{record['secret']}\n\nThis is shown once. Keep it where secrets are kept."
    )
    facts = (
        ("Id", record.get("id")),
        ("Default task", record.get("task") or "none"),
        ("Tasks", _globs(record.get("tasks"))),
        ("Models", _globs(record.get("models"))),
        ("Limits", "; ".join(_limit(limit) for limit in record.get("limits") or ()) or "none"),
        ("Valid until", _end(record)),
    )
    table = "\n".join(f"{name:<14}{visible(value, 200)}" for name, value in facts)
    return joined(sentence(finding), shown, table)


def keys_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """All keys and what they have used of their limits."""
    keys = record.get("keys") or ()
    table = Table(
        "API keys, and what is used of their limits in the minute, day or month that runs",
        tuple(Column(name) for name in ("name", "id", "begins with", "tasks", "models", "used", "valid until")),
        tuple(
            (
                visible(key.get("name"), 40),
                visible(key.get("id"), 40),
                visible(", ".join(secret["prefix"] + "…" for secret in key.get("secrets") or ())),
                _globs(key.get("tasks")),
                _globs(key.get("models")),
                "; ".join(_used(limit) for limit in key.get("limits") or ()) or "no limit",
                _end(key),
            )
            for key in keys
        ),
    )
    return joined(plain_table(table) or "No key yet.")


def _globs(globs: Any) -> str:  # Any: JSON
    return visible(", ".join(globs or ()) or "all", 200)


def _end(key: Mapping[str, Any]) -> str:  # Any: JSON
    if key.get("revoked_at"):
        return f"revoked {_day(key['revoked_at'])}"
    return _day(key["expires_at"]) if key.get("expires_at") else "no end"


def _day(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC"


def _limit(limit: Mapping[str, Any]) -> str:  # Any: JSON
    amount = limit["amount"]
    what = _dollars(amount) if limit["measure"] == "usd" else f"{amount:,} {limit['measure']}"
    return f"{what} a {limit['period']}"


def _used(limit: Mapping[str, Any]) -> str:  # Any: JSON
    spent = limit["spent"]
    return f"{_dollars(spent) if limit['measure'] == 'usd' else f'{spent:,}'} of {_limit(limit)}"


def _dollars(amount: float) -> str:
    """All digits that count: nobody should wonder which limit was set."""
    whole, _, fraction = f"{amount:,.9f}".partition(".")
    return f"${whole}.{fraction.rstrip('0'):0<2}"
