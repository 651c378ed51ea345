"""API keys: who may call, for which tasks and models, and within which limits.

A key keeps its id, its scopes and what it has spent when its secret is rotated. Every change leaves an entry in the
audit trail, in the same transaction: the trail's last number tells a gateway that some key may have changed.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from freehold.core.errors import InputError
from freehold.core.task import fault_of_name
from freehold.state.database import record_action
from freehold.state.limits import MEASURES, PERIODS, Limit, in_unit
from freehold.state.schema import AUDIT_TRAIL, KEY_LIMITS, KEY_SECRETS, KEYS
from freehold.state.secrets import PREFIX, SHOWN_CHARACTERS, new_secret, sha256_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Connection, Engine, RowMapping

_LONGEST_GLOB = 200


@dataclass(frozen=True, slots=True)
class Secret:
    """What may be known of a secret."""

    prefix: str
    created_at: str
    expires_at: str | None
    """None: as long as the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key without its secret."""

    id: str
    name: str
    task: str | None
    """Of calls that name none; None: the rules decide."""
    tasks: tuple[str, ...]
    """Globs of tasks that it may be used for; empty: all."""
    models: tuple[str, ...]
    """Globs of models that it may ask for; empty: all."""
    limits: tuple[Limit, ...]
    secrets: tuple[Secret, ...]
    """Newest first."""
    created_at: str
    expires_at: str | None
    revoked_at: str | None

    def is_usable(self, at: datetime) -> bool:
        """It is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or moment(self.expires_at) > at)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSecret:
    """A secret of which the hash was presented, with its key."""

    sha256: str
    key: Key
    expires_at: datetime | None
    """When this secret ends, its key's end included; None: never."""


def moment(text: str) -> datetime:
    """A moment as the tables keep it."""
    return datetime.fromisoformat(text)


def create_key(
    engine: Engine,
    name: str,
    *,
    task: str | None = None,
    tasks: Sequence[str] = (),
    models: Sequence[str] = (),
    limits: Sequence[Limit] = (),
    expires_at: datetime | None = None,
) -> tuple[Key, str]:
    """Make a key.

    Returns:
        The key, and its secret, which cannot be read again.

    Raises:
        InputError: a name, a glob or a limit cannot be used (all faults at once), or the name is taken.
    """
    at = datetime.now(UTC)
    faults = [*_faults_of_names(name, task), *_faults_of_globs(tasks, models), *_faults_of_limits(limits)]
    if expires_at is not None and expires_at <= at:
        faults.append(f"it would expire at {_text(expires_at)}, which is over")
    if faults:
        raise InputError(f"Key {name!r} cannot be made: {'; '.join(faults)}.")
    key_id = f"key-{uuid.uuid4().hex[:12]}"
    row = {
        "id": key_id,
        "name": name,
        "task": task,
        "tasks": list(tasks),
        "models": list(models),
        "created_at": _text(at),
        "expires_at": None if expires_at is None else _text(expires_at),
        "revoked_at": None,
    }
    try:
        with engine.begin() as connection:
            connection.execute(insert(KEYS).values(row))
            secret = _add_secret(connection, key_id, at)
            for limit in limits:
                _add_limit(connection, key_id, limit)
            details = {key: value for key, value in row.items() if key not in {"id", "created_at", "revoked_at"}}
            details |= {"prefix": secret[:SHOWN_CHARACTERS], "limits": _in_words(limits)}
            record_action(connection, "key.created", key_id, details)
    except IntegrityError as error:
        raise InputError(
            f"There is a key {name!r} already. Choose another name, or give that key a new secret: "
            f"freehold keys rotate {quote(name)}"
        ) from error
    return get_key(engine, key_id), secret


def list_keys(engine: Engine, *, with_revoked: bool = False) -> list[Key]:
    """All keys by name, revoked ones last; without `with_revoked` those that are not revoked."""
    with engine.connect() as connection:
        query = select(KEYS) if with_revoked else select(KEYS).where(KEYS.c.revoked_at.is_(None))
        keys = _keys(connection, connection.execute(query).mappings().all())
    return sorted(keys, key=lambda key: (key.revoked_at is not None, key.name, key.revoked_at or ""))


def get_key(engine: Engine, which: str) -> Key:
    """The key of this id, of this name, or of a secret that begins like this.

    Of several of one name it is the one in use, else the one revoked last.

    Raises:
        InputError: there is none.
    """
    shown = which[:SHOWN_CHARACTERS] if which.startswith(PREFIX) else which  # a whole secret is not repeated
    with engine.connect() as connection:
        of_secret = select(KEY_SECRETS.c.key_id).where(KEY_SECRETS.c.prefix == shown)
        query = select(KEYS).where(or_(KEYS.c.id == which, KEYS.c.name == which, KEYS.c.id.in_(of_secret)))
        found = _keys(connection, connection.execute(query).mappings().all())
    if not found:
        raise InputError(f"There is no key {shown!r}. Those there are: freehold keys list --all")
    return max(found, key=lambda key: (key.id == which, key.revoked_at is None, key.revoked_at or ""))


def revoke_key(engine: Engine, which: str, *, reason: str | None = None) -> Key:
    """End a key with all its secrets at once. To revoke a revoked one changes nothing.

    Raises:
        InputError: there is no such key.
    """
    key = get_key(engine, which)
    with engine.begin() as connection:
        at = _text(datetime.now(UTC))
        usable = KEYS.c.id == key.id, KEYS.c.revoked_at.is_(None)
        if connection.execute(update(KEYS).where(*usable).values(revoked_at=at)).rowcount:
            record_action(connection, "key.revoked", key.id, {"name": key.name, "reason": reason})
    return get_key(engine, key.id)


def change_limits(engine: Engine, which: str, *, set_to: Sequence[Limit] = (), drop: Collection[str] = ()) -> Key:
    """Give a key other limits; what it has used stays, and counts against them.

    Running gateways obey within a few seconds: a worker may still spend what it had leased under the old ones.

    Args:
        engine: The state database.
        which: Id or name of the key, or how a secret of it begins.
        set_to: New limits, and new amounts of limits that it has. Others stay.
        drop: Names of limits that it shall not have any more, such as `tokens/day`.

    Raises:
        InputError: there is no such key, it is revoked, nothing is to change, or a limit cannot be used (all faults).
    """
    key = get_key(engine, which)
    had = {limit.name: limit for limit in key.limits}
    faults = _faults_of_limits(set_to)
    faults += [f"it has no limit {name} to drop" for name in drop if name not in had]
    faults += [f"the limit {one.name} is both set and dropped" for one in set_to if one.name in drop]
    if key.revoked_at is not None:
        faults.append("it is revoked")
    if not set_to and not drop:
        faults.append("no limit was named")
    if faults:
        raise InputError(f"The limits of key {key.name!r} cannot be changed: {'; '.join(faults)}.")
    has = {name: limit for name, limit in had.items() if name not in drop} | {limit.name: limit for limit in set_to}
    with engine.begin() as connection:
        connection.execute(delete(KEY_LIMITS).where(KEY_LIMITS.c.key_id == key.id))
        for limit in has.values():
            _add_limit(connection, key.id, limit)
        details = {"name": key.name, "before": _in_words(key.limits), "limits": _in_words(has.values())}
        record_action(connection, "key.limits_changed", key.id, details)
    return get_key(engine, key.id)


def rotate_key(engine: Engine, which: str, *, grace: timedelta) -> tuple[Key, str]:
    """Give a key a new secret; the ones before stay valid for `grace`, or for less if they ended before.

    Returns:
        The key, and its new secret, which cannot be read again.

    Raises:
        InputError: there is no such key, it is revoked or expired, or the grace is negative.
    """
    if grace < timedelta(0):
        raise InputError("The grace period is negative. Give the time for which the old secret stays valid, or 0s.")
    key = get_key(engine, which)
    at = datetime.now(UTC)
    with engine.begin() as connection:
        # The row is taken first: of two rotations at once the second ends the first one's secret too.
        connection.execute(update(KEYS).where(KEYS.c.id == key.id).values(name=KEYS.c.name))
        row = connection.execute(select(KEYS).where(KEYS.c.id == key.id)).mappings().one()
        if not _keys(connection, [row])[0].is_usable(at):
            raise InputError(f"Key {key.name!r} is revoked or expired. Make another one: freehold keys create NAME")
        ends = _text(at + grace)
        later = or_(KEY_SECRETS.c.expires_at.is_(None), KEY_SECRETS.c.expires_at > ends)
        connection.execute(update(KEY_SECRETS).where(KEY_SECRETS.c.key_id == key.id, later).values(expires_at=ends))
        secret = _add_secret(connection, key.id, at)
        details = {"name": key.name, "prefix": secret[:SHOWN_CHARACTERS], "previous_valid_until": ends}
        record_action(connection, "key.rotated", key.id, details)
    return get_key(engine, key.id), secret


def known_secrets(engine: Engine, hashes: Collection[str]) -> list[KnownSecret]:
    """Those of the hashes that belong to a key, whether it may still be used or not."""
    with engine.connect() as connection:
        rows = connection.execute(select(KEY_SECRETS).where(KEY_SECRETS.c.sha256.in_(hashes))).mappings().all()
        owners = select(KEYS).where(KEYS.c.id.in_({row["key_id"] for row in rows}))
        keys = {key.id: key for key in _keys(connection, connection.execute(owners).mappings().all())}
    return [
        KnownSecret(
            sha256=row["sha256"],
            key=keys[row["key_id"]],
            expires_at=min(
                (moment(end) for end in (row["expires_at"], keys[row["key_id"]].expires_at) if end), default=None
            ),
        )
        for row in rows
    ]


def last_change(engine: Engine) -> tuple[int, bool]:
    """Number of the audit trail's last entry (0: none), and whether any key was ever made."""
    with engine.connect() as connection:
        last = connection.execute(select(func.max(AUDIT_TRAIL.c.sequence))).scalar()
        has_keys = connection.execute(select(KEYS.c.id).limit(1)).scalar() is not None
    return last or 0, has_keys


def _add_secret(connection: Connection, key_id: str, at: datetime) -> str:
    secret = new_secret()
    values = {"sha256": sha256_of(secret), "prefix": secret[:SHOWN_CHARACTERS], "created_at": _text(at)}
    connection.execute(insert(KEY_SECRETS).values(key_id=key_id, **values))
    return secret


def _add_limit(connection: Connection, key_id: str, limit: Limit) -> None:
    values = {"measure": limit.measure, "period": limit.period, "amount": limit.amount}
    connection.execute(insert(KEY_LIMITS).values(key_id=key_id, **values))


def _in_words(limits: Iterable[Limit]) -> list[str]:
    return [f"{limit.name}={in_unit(limit.measure, limit.amount)}" for limit in limits]


def _keys(connection: Connection, rows: Iterable[RowMapping]) -> list[Key]:
    rows = list(rows)
    ids = [row["id"] for row in rows]
    limits: dict[str, list[Limit]] = defaultdict(list)
    for limit in connection.execute(select(KEY_LIMITS).where(KEY_LIMITS.c.key_id.in_(ids))).mappings():
        limits[limit["key_id"]].append(Limit(limit["measure"], limit["period"], limit["amount"]))
    secrets: dict[str, list[Secret]] = defaultdict(list)
    for secret in connection.execute(select(KEY_SECRETS).where(KEY_SECRETS.c.key_id.in_(ids))).mappings():
        secrets[secret["key_id"]].append(Secret(secret["prefix"], secret["created_at"], secret["expires_at"]))
    return [_key(row, limits[row["id"]], secrets[row["id"]]) for row in rows]


def _key(row: RowMapping, limits: list[Limit], secrets: list[Secret]) -> Key:
    order = sorted(limits, key=lambda limit: (MEASURES.index(limit.measure), PERIODS.index(limit.period)))
    newest = sorted(
        secrets, key=lambda one: (one.expires_at is None, one.expires_at or "", one.created_at), reverse=True
    )
    values: dict[str, Any] = {**row, "tasks": tuple(row["tasks"]), "models": tuple(row["models"])}  # Any: columns
    return Key(**values, limits=tuple(order), secrets=tuple(newest))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _faults_of_names(name: str, task: str | None) -> list[str]:
    named = (("its name", name), ("the task", task))
    faults = [f"{what} {fault}" for what, value in named if value is not None and (fault := fault_of_name(value))]
    if name.startswith(("key-", PREFIX)):
        faults.append(f"its name begins with 'key-' or {PREFIX!r}, as ids and secrets do")
    return faults


def _faults_of_globs(*globs: Sequence[str]) -> list[str]:
    return [
        f"the pattern {glob!r} is empty, longer than {_LONGEST_GLOB} characters or cannot be printed"
        for glob in (glob for several in globs for glob in several)
        if not glob.strip() or len(glob) > _LONGEST_GLOB or not glob.isprintable()
    ]


def _faults_of_limits(limits: Sequence[Limit]) -> list[str]:
    names = Counter(limit.name for limit in limits)
    twice = [f"the limit {name} is given twice" for name, times in names.items() if times > 1]
    return twice + [limit.fault for limit in limits if limit.fault is not None]
