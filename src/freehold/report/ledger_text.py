"""What the commands of the ledger print: a sentence first, then aligned tables; 80 columns are enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, plain_table, sentence
from freehold.report.ledger_tables import counted
from freehold.report.numbers import NOT_MEASURED, exact, number, size, usd
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ROUTES = {
    "rent": "rented models",
    "own": "own models",
    "shadow": "repeated for comparison",
    "canary": "own models on trial",
    "cascade": "own model first, rented where it was unsure",
    "none": "never sent to a model (labelled rows)",
}


def ledger_stats_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """How many calls there are, of what, since when, and what they take on the disk."""
    if not record.get("calls") and not record.get("segments"):
        return joined(sentence(_volumes(record))) if record.get("volumes") else "The ledger is empty.\n"
    tasks = record.get("by_task") or {}
    return joined(
        sentence(
            f"The ledger holds {counted(record.get('calls'), 'call')} of {counted(len(tasks), 'task')}, "
            f"{_period(record.get('first_day'), record.get('last_day'))}, in {size(record.get('bytes'))}."
        ),
        sentence(_volumes(record)),
        plain_table(_counts("By task", "task", tasks)),
        plain_table(_counts("By who answered", "route", {_route(name): n for name, n in _items(record, "by_route")})),
        _facts(
            ("Under way now", exact(record.get("in_flight"))),
            ("Never ended: their worker died", exact(record.get("open_without_close"))),
            ("Records lost to damage, ever", exact(record.get("lost_records"))),
            ("Files", exact(record.get("files"))),
            ("Segments", f"{exact(record.get('segments'))}, {size(record.get('segment_bytes'))}"),
        ),
    )


def _volumes(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What is known by its sum alone."""
    if not record.get("volumes"):
        return ""
    calls = record.get("volume_calls")
    of = f", {counted(calls, 'call')} in all" if calls else ""
    return (
        f"Known by their sums alone{of}: {counted(record.get('volumes'), 'volume')} of many calls, "
        f"{_period(record.get('volumes_first_day'), record.get('volumes_last_day'))}."
    )


def ledger_verify_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Whether all is sound, and what is not."""
    seen = (
        f"{counted(record.get('rows'), 'row')} in {counted(record.get('files'), 'file')} and "
        f"{counted(record.get('segments'), 'segment')} looked through"
    )
    found = record.get("damaged") or ()
    verdict = "Nothing is damaged" if record.get("ok") else _damage(len(found))
    return joined(sentence(f"{verdict}: {seen}."), _findings(found))


def ledger_costs_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What was spent, on which task on which day."""
    days = record.get("days") or ()
    prices = sentence(f"Prices: {record.get('price_catalogue', NOT_MEASURED)}, each call at the list price of its day")
    if not days:
        return joined("No call is recorded.", prices)
    calls, own = (sum(number(day.get(name)) or 0 for day in days) for name in ("calls", "own_calls"))
    known = [amount for day in days if (amount := number(day.get("cost_usd"))) is not None]
    dated = [day["day"] for day in days if str(day.get("day"))[:1].isdigit()]
    spent = f"{usd(sum(known))} is the known cost of" if known else "The cost is unknown of"
    beside = f", beside {counted(own, 'call')} of own models" if own else ""
    return joined(
        sentence(
            f"{spent} {counted(calls, 'call')} of rented models"
            f"{beside}, {_period(min(dated, default=None), max(dated, default=None))}."
        ),
        plain_table(_spending_by_day(days)),
        bullets(
            "Without a price (name what they are billed like under [prices.alias] in freehold.toml)",
            [f"{model}: {counted(calls, 'call')}" for model, calls in _items(record, "unpriced")],
        ),
        bullets("Assumed", record.get("assumptions") or ()),
        prices,
    )


def ledger_repair_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What was damaged, what could be saved, what is lost."""
    found = record.get("found") or ()
    lost = record.get("rows_lost")
    return joined(
        sentence(
            f"{_damage(len(found))}; index and daily sums are made anew. Of damaged files "
            f"{counted(record.get('rows_saved'), 'row')} saved, "
            f"{'an unknown number' if lost is None else exact(lost)} lost; {counted(record.get('ingested'), 'call')} "
            "taken in from segments."
            if found
            else "Nothing was damaged; index and daily sums are made anew."
        ),
        _findings(found),
        bullets("Put aside, in _damaged", record.get("files_put_aside") or ()),
    )


def ledger_compact_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What was merged and what was let go."""
    return joined(
        sentence(
            f"{counted(record.get('files_before'), 'file')} became {exact(record.get('files_after'))}. Let go, as "
            f"[ledger] in freehold.toml says: bodies of {counted(record.get('bodies_removed'), 'call')}, "
            f"{counted(record.get('rows_removed'), 'row')}."
        ),
        _facts(
            ("Calls taken in from segments", exact(record.get("ingested"))),
            ("Segments removed", exact(record.get("segments_removed"))),
        ),
    )


def ledger_export_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What was written, on one line however long, so that the name can be copied."""
    return (
        f"{counted(record.get('rows'), 'row')} ({size(record.get('bytes'))}) in {visible(record.get('out'), 4096)}. "
        "'freehold import' reads them again.\n"
    )


def _damage(places: int) -> str:
    return f"{counted(places, 'place')} damaged"


def _period(first: Any, last: Any) -> str:  # Any: fields of a JSON record
    if first is None:
        return "none of them dated"
    return f"of {visible(first)}" if first == last else f"from {visible(first)} to {visible(last)}"


def _items(record: Mapping[str, Any], name: str) -> Iterable[tuple[str, Any]]:  # Any: JSON
    return (record.get(name) or {}).items()


def _route(name: str) -> str:
    return _ROUTES.get(name, visible(name))


def _counts(caption: str, what: str, counts: Mapping[str, Any]) -> Table:  # Any: JSON
    rows = tuple((visible(name, 48), exact(calls)) for name, calls in counts.items())
    return Table(caption, (Column(what), Column("calls", is_number=True)), rows)


def _facts(*facts: tuple[str, str]) -> str:
    widest = max(len(name) for name, _ in facts)
    return "\n".join(f"{name:<{widest}}  {value}" for name, value in facts)


def _findings(found: Iterable[Mapping[str, Any]]) -> str:  # Any: JSON
    rows = tuple(
        (
            visible(each.get("file"), 200),
            visible(each.get("reason"), 200),
            "unknown" if each.get("lost") is None else exact(each["lost"]),
        )
        for each in found
    )
    return plain_table(
        Table("Damaged", (Column("file"), Column("what is wrong"), Column("lost", is_number=True)), rows)
    )


def _spending_by_day(days: Iterable[Mapping[str, Any]]) -> Table:  # Any: JSON
    return Table(
        "By day and task; days are UTC, cost is of the calls whose price is known",
        (
            Column("day"),
            Column("task"),
            Column("calls", is_number=True),
            Column("priced", is_number=True),
            Column("failed", is_number=True),
            Column("own", is_number=True),
            Column("cost", is_number=True),
        ),
        tuple(
            (
                visible(day.get("day")),
                visible(day.get("task"), 30),
                *(exact(day.get(name)) for name in ("calls", "priced_calls", "errors", "own_calls")),
                "unknown" if day.get("cost_usd") is None else usd(day["cost_usd"]),
            )
            for day in days
        ),
    )
