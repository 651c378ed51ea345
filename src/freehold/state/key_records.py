"""Keys as JSON has them: without a secret, with what is used of their limits in the windows that run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from freehold.state.limits import PERIODS, in_unit
from freehold.state.spending import spent_in, window_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from freehold.state.keys import Key


def key_record(engine: Engine, key: Key, *, secret: str | None = None) -> dict[str, Any]:  # Any: JSON
    """One key; `secret` is shown once, when it is made."""
    record = {"schema": "freehold.key/1", **key_records(engine, [key])[0]}
    return record if secret is None else {**record, "secret": secret}


def key_records(engine: Engine, keys: Sequence[Key]) -> list[dict[str, Any]]:  # Any: JSON
    """Several keys, in their order."""
    at = datetime.now(UTC)
    windows = {period: window_of(period, at.timestamp()) for period in PERIODS}
    spent = spent_in(engine, [key.id for key in keys], list(windows.values()))
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
