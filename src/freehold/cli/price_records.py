"""What the `prices` commands answer, as JSON can hold it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError
from freehold.economics import catalogue
from freehold.economics.bodies import price_body
from freehold.economics.catalogue import TARIFFS, Missing, catalogue_version
from freehold.economics.facts import known_hardware
from freehold.economics.price_check import AGREEING, KINDS, NOT_COMPARED, check, kinds_of, only_here
from freehold.economics.prices import NoPrice, Price, find_price
from freehold.economics.rates import rates_of, rates_record
from freehold.economics.recorded_results import compare_recorded, verdict_on_row
from freehold.economics.rentals import rentals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from freehold.cli.price_files import OwnPrices
    from freehold.economics.bodies import GivenBody, Terms
    from freehold.economics.catalogue import Entry, Tariff
    from freehold.economics.overrides import Override
    from freehold.economics.price_check import ListedPrice


def list_record(
    overrides: Sequence[Override], day: date, *, provider: str | None, search: str | None
) -> dict[str, Any]:
    """Every model of the catalogue that is priced by tokens on a day, and the user's own rows.

    Raises:
        InputError: the catalogue knows no such provider.
    """
    seller = None if provider is None else _seller(provider)
    words = (search or "").lower()
    models = [
        row
        for entry in catalogue.entries()
        if seller in {None, entry.provider.id} and words in f"{entry.provider.id}/{entry.model.id}".lower()
        if (row := _entry_record(entry, day)) is not None
    ]
    return {
        "schema": "freehold.prices/1",
        "as_of": day.isoformat(),
        "catalogue": catalogue_version(),
        "filtered": bool(provider or search),
        "models": models,
        "overrides": [
            {
                "model": row.model,
                "provider": row.provider,
                "tariff": row.tariff,
                "valid_from": row.valid_from.isoformat(),
                **rates_record(row.rates),
                "source": row.source,
            }
            for row in overrides
            if words in row.model.lower()
        ],
    }


def price_record(
    model: str, day: date, own: OwnPrices, *, tariff: Tariff, provider: str | None, assumed: tuple[str, ...]
) -> dict[str, Any]:
    """One price with its other tariffs.

    Raises:
        InputError: there is no price for that day and tariff.
    """
    seller = None if provider is None else catalogue.provider_named(provider) or provider

    def find(which: Tariff) -> Price | NoPrice:
        return find_price(model, day, aliases=own.aliases, provider=seller, tariff=which, overrides=own.overrides)

    price = find(tariff)
    if isinstance(price, NoPrice):
        raise InputError(price.advice(model))
    others: dict[str, Any] = {}
    without: list[dict[str, Any]] = []
    for other in ("batch", "flex", "priority"):
        found = price if other == tariff else find(other)
        others[other] = _tariff_record(found)
        if isinstance(found, NoPrice):
            first = None if found.first_day is None else found.first_day.isoformat()
            without.append({"tariff": other, "reason": found.sentence, "first_day": first})
    record = price.as_record()
    return {
        "schema": "freehold.price/1",
        **record,
        "next_change": None if price.next_change is None else price.next_change.isoformat(),
        **others,
        "tariffs_without_price": without,
        "assumptions": [*assumed, *record["assumptions"]],
    }


def rentals_record(day: date | None) -> dict[str, Any]:
    """Rents of machines, and the machines that have none."""
    rows = rentals(as_of=day)
    priced = {row.hardware for row in rows}
    return {
        "schema": "freehold.rentals/1",
        "as_of": None if day is None else day.isoformat(),
        "rows": [
            {
                "hardware": row.hardware,
                "usd_per_hour_low": row.usd_per_hour[0],
                "usd_per_hour_typical": row.usd_per_hour[1],
                "usd_per_hour_high": row.usd_per_hour[2],
                "as_of": None if row.as_of is None else row.as_of.isoformat(),
                "terms": row.terms,
                "source": row.source,
            }
            for row in rows
        ],
        "without_price": [name for name in known_hardware() if name not in priced],
    }


def check_record(
    listed: Sequence[ListedPrice], day: date, *, provider: str | None, only: Sequence[str], assumed: tuple[str, ...]
) -> dict[str, Any]:
    """The catalogue against another list.

    Raises:
        InputError: an unknown kind, or a provider that the list does not have.
    """
    unknown = sorted(set(only) - set(KINDS))
    if unknown:
        raise InputError(f"There is no kind {', '.join(map(repr, unknown))}; there are {', '.join(KINDS)}.")
    rows = [row for row in listed if provider in {None, row.provider}]
    if not rows:
        known = ", ".join(sorted({row.provider for row in listed}))
        raise InputError(f"The list has no provider {provider!r}; it has {known}.")
    differences = check(rows, day)
    kinds = kinds_of(differences)
    shown = [row for row in differences if row.kind in only] if only else differences
    return {
        "schema": "freehold.pricecheck/1",
        "as_of": day.isoformat(),
        "catalogue": catalogue_version(),
        "models": len(rows),
        "compared": sum(number for kind, number in kinds.items() if kind not in NOT_COMPARED),
        "agree": sum(kinds[kind] for kind in (*AGREEING, "partial")),
        "only_here": len(only_here(differences)),
        "kinds": [{"kind": kind, "models": kinds[kind], "meaning": meaning} for kind, meaning in KINDS.items()],
        "kinds_not_listed": [] if only else sorted({*NOT_COMPARED, "equal"}),
        "rows": [row.as_record() for row in shown],
        "assumptions": list(assumed),
    }


def bodies_record(
    bodies: Sequence[GivenBody], recorded: Sequence[object], terms: Terms, *, assumed: tuple[str, ...]
) -> dict[str, Any]:
    """Recorded bodies with their prices, and how these compare with the results in the file."""
    rows: list[dict[str, Any]] = []
    total, priced = Decimal(0), 0
    unpriced: Counter[str] = Counter()
    entries: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    for given, extracted in zip(bodies, recorded, strict=True):
        row = price_body(given, terms)
        results = compare_recorded(given, extracted, terms) if extracted is not None else []
        verdict = verdict_on_row(row, results)
        rows.append({**row.as_record(), "recorded": verdict})
        entries.update(result.verdict for result in results)
        if verdict is not None:
            verdicts[verdict] += 1
        if row.total_usd is None:
            unpriced[row.reason or "unknown"] += 1
        else:
            total, priced = total + row.total_usd, priced + 1
    undated = sum(1 for row in rows if row["as_of"] == terms.as_of.isoformat())
    return {
        "schema": "freehold.bodies/1",
        "as_of": terms.as_of.isoformat(),
        "catalogue": catalogue_version(),
        "priced": priced,
        "total_usd": float(total) if priced else None,
        "unpriced": dict(sorted(unpriced.items())),
        "recorded": {"rows": dict(verdicts.most_common()), "results": dict(entries.most_common())}
        if verdicts
        else None,
        "rows": rows,
        "assumptions": list(assumed) if undated else [],
    }


def _entry_record(entry: Entry, day: date) -> dict[str, Any] | None:
    stored = catalogue.stored_on(entry, day, "list")
    if isinstance(stored, Missing) or "input_mtok" not in stored.values:
        return None
    known = [name for name in TARIFFS if not isinstance(catalogue.stored_on(entry, day, name), Missing)]
    return {
        "model": entry.model.id,
        "provider": entry.provider.id,
        **rates_record(rates_of(stored.values)),
        "valid_from": None if stored.valid_from is None else stored.valid_from.isoformat(),
        "tariffs": [name for name in known if name != "list"],
    }


def _tariff_record(found: Price | NoPrice) -> dict[str, Any] | None:
    if isinstance(found, NoPrice):
        return None
    since = None if found.valid_from is None else found.valid_from.isoformat()
    return {**rates_record(found.rates), "valid_from": since, "source": found.source, "note": found.note}


def _seller(provider: str) -> str:
    named = catalogue.provider_named(provider)
    if named is None:
        known = ", ".join(sorted({entry.provider.id for entry in catalogue.entries()}))
        raise InputError(f"The catalogue has no provider {provider!r}; it has {known}.")
    return named
