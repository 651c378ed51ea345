"""What keys have spent in each minute, day and month, and the slices that workers lease of what is left.

A worker leases a slice of a limit, spends it without asking anyone, and tells now and then how much of it is gone.
Nothing is locked while a call is under way: a lease is one short transaction. Of a worker that died the lease expires,
and what it had not told as spent is free again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, assert_never

from sqlalchemy import and_, bindparam, delete, or_, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from freehold.state.schema import LEASES, SPENDING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Table

    from freehold.state.limits import Measure, Period

_WISH_SHARE = 16
"""Of what nobody holds, a worker gets at most this part beyond what its calls need at once."""
_KEPT: dict[Period, timedelta] = {"minute": timedelta(days=1), "day": timedelta(days=93), "month": timedelta(days=800)}


_Place = tuple[str, str, str, str]
_COLUMNS = ("key_id", "measure", "period", "starts_at")


class _Sums(NamedTuple):
    spent: int
    leased: int


@dataclass(frozen=True, slots=True)
class Window:
    """A minute, a day or a month of the calendar in UTC."""

    period: Period
    starts_at: str
    """ISO 8601."""
    ends: float
    """Seconds since 1970."""


def window_of(period: Period, at: float) -> Window:
    """The window of this kind that holds the moment `at`, in seconds since 1970."""
    moment = datetime.fromtimestamp(at, UTC).replace(second=0, microsecond=0)
    match period:
        case "minute":
            start, end = moment, moment + timedelta(minutes=1)
        case "day":
            start = moment.replace(hour=0, minute=0)
            end = start + timedelta(days=1)
        case "month":
            start = moment.replace(day=1, hour=0, minute=0)
            end = (start + timedelta(days=32)).replace(day=1)
        case _:
            assert_never(period)
    return Window(period, start.isoformat(), end.timestamp())


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """One limit of one key in one window."""

    key_id: str
    measure: Measure
    period: Period
    starts_at: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker tells of an account, and what it asks for."""

    account: Account
    holder: str
    """Name of the slice, never used for another one: whoever holds it tells of it."""
    spent: int
    """From this slice since it began, all told: a claim that is repeated counts once."""
    needed: int
    """What it must hold: reserved by calls under way or asked for by calls that wait."""
    wished: int
    """What it would like to hold beyond that, for calls to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a worker may spend of an account from now on."""

    account: Account
    held: int
    """Up to needed + wished. It takes the place of what the worker held before."""
    spent: int
    """By all workers, as far as they have told."""
    leased: int
    """Held by all workers, this one included."""


def settle(engine: Engine, claims: Sequence[Claim], *, at: float, lease_s: float) -> list[Lease]:
    """Book what a worker has spent and lease it what it asks for, in one short transaction.

    No two workers are ever leased the same unit: over all workers, spent and leased together stay within the limit,
    but for what a worker spent beyond its lease, which is booked in full.

    Args:
        engine: The state database.
        claims: Of different accounts.
        at: Now, in seconds since 1970.
        lease_s: Seconds for which the leases hold.
    """
    if not claims:
        return []
    accounts = [claim.account for claim in claims]
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("begin immediate"))
        totals = _locked_totals(connection, accounts)
        own, lapsed = _leases(connection, claims, at)
        leases = [
            _share_out(claim, totals[_place(claim.account)], own.get(_place(claim.account)), lapsed) for claim in claims
        ]
        _write(connection, claims, leases, expires_at=at + lease_s)
    return leases


def _share_out(claim: Claim, total: _Sums, own: _Sums | None, lapsed: Mapping[_Place, int]) -> Lease:
    account = claim.account
    told = own or _Sums(spent=0, leased=0)
    news = max(0, claim.spent - told.spent)
    spent = total.spent + news
    leased_by_others = total.leased - told.leased - lapsed.get(_place(account), 0)
    left = max(0, account.limit - spent - leased_by_others)
    needed = min(claim.needed, left)
    # Of what it holds it keeps what it wishes, as it may be spending from it at this moment.
    kept = told.leased - news - needed
    held = needed + min(claim.wished, left - needed, max(kept, (left - needed) // _WISH_SHARE))
    return Lease(account=account, held=held, spent=spent, leased=leased_by_others + held)


def _place(account: Account) -> _Place:
    return account.key_id, account.measure, account.period, account.starts_at


def _among(table: Table, accounts: Collection[Account]) -> ColumnElement[bool]:
    return tuple_(*(table.c[name] for name in _COLUMNS)).in_([_place(account) for account in accounts])


def _locked_totals(connection: Connection, accounts: Sequence[Account]) -> dict[_Place, _Sums]:
    """Rows of the accounts, made where there are none; no other transaction may change them until this one ends."""
    # Every worker takes the rows in one order: two of them cannot wait for each other.
    order = [SPENDING.c[name] for name in _COLUMNS]
    query = select(SPENDING).where(_among(SPENDING, accounts)).order_by(*order).with_for_update()
    found = connection.execute(query).all()
    if len(found) < len(accounts):
        insert_new = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert
        rows = [dict(zip(_COLUMNS, _place(account), strict=True), spent=0, leased=0) for account in sorted(accounts)]
        connection.execute(insert_new(SPENDING).on_conflict_do_nothing(), rows)
        found = connection.execute(query).all()
    return {(row.key_id, row.measure, row.period, row.starts_at): _Sums(row.spent, row.leased) for row in found}


def _leases(
    connection: Connection, claims: Sequence[Claim], at: float
) -> tuple[dict[_Place, _Sums], dict[_Place, int]]:
    """The leases of those who claim, and per account what others hold although their time is over."""
    holders = [claim.holder for claim in claims]
    here = _among(LEASES, [claim.account for claim in claims])
    is_over = and_(LEASES.c.leased > 0, LEASES.c.expires_at < at)
    own: dict[_Place, _Sums] = {}
    lapsed: dict[_Place, int] = {}
    for row in connection.execute(select(LEASES).where(here, or_(LEASES.c.holder.in_(holders), is_over))):
        place = row.key_id, row.measure, row.period, row.starts_at
        if row.holder in holders:
            own[place] = _Sums(row.spent, row.leased)
        else:
            lapsed[place] = lapsed.get(place, 0) + row.leased
    if lapsed:
        others = and_(here, LEASES.c.holder.not_in(holders), is_over)
        connection.execute(update(LEASES).where(others).values(leased=0))
    return own, lapsed


def _write(connection: Connection, claims: Sequence[Claim], leases: Sequence[Lease], *, expires_at: float) -> None:
    places = [dict(zip(_COLUMNS, _place(claim.account), strict=True)) for claim in claims]
    insert_new = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(LEASES)
    changed = {name: insert_new.excluded[name] for name in ("spent", "leased", "expires_at")}
    upsert = insert_new.on_conflict_do_update(index_elements=[*_COLUMNS, "holder"], set_=changed)
    rows = [
        {**place, "holder": claim.holder, "spent": claim.spent, "leased": lease.held, "expires_at": expires_at}
        for place, claim, lease in zip(places, claims, leases, strict=True)
    ]
    connection.execute(upsert, rows)
    here = and_(*(SPENDING.c[name] == bindparam(f"at_{name}") for name in _COLUMNS))
    booked = update(SPENDING).where(here).values(spent=bindparam("now_spent"), leased=bindparam("now_leased"))
    totals = [
        {f"at_{name}": value for name, value in place.items()} | {"now_spent": lease.spent, "now_leased": lease.leased}
        for place, lease in zip(places, leases, strict=True)
    ]
    connection.execute(booked, totals)


def spent_in(engine: Engine, key_ids: Collection[str], windows: Collection[Window]) -> dict[tuple[str, str, str], int]:
    """What keys have spent in these windows: (key id, measure, period) -> units, as far as the workers have told."""
    among = [and_(SPENDING.c.period == window.period, SPENDING.c.starts_at == window.starts_at) for window in windows]
    query = select(SPENDING).where(SPENDING.c.key_id.in_(key_ids), or_(*among))
    with engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    return {(row["key_id"], row["measure"], row["period"]): row["spent"] for row in rows}


def forget_slices(engine: Engine, holders: Collection[str]) -> None:
    """Delete leases of which nobody will tell anything more; what was spent from them stays booked."""
    with engine.begin() as connection:
        connection.execute(delete(LEASES).where(LEASES.c.holder.in_(holders), LEASES.c.leased == 0))


def forget_old_windows(engine: Engine, *, at: float) -> None:
    """Delete minutes after a day, days after three months and months after two years."""
    now = datetime.fromtimestamp(at, UTC)
    with engine.begin() as connection:
        for table in (SPENDING, LEASES):
            for period, kept in _KEPT.items():
                oldest = (now - kept).isoformat()
                connection.execute(delete(table).where(table.c.period == period, table.c.starts_at < oldest))
