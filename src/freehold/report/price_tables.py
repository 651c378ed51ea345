"""Price records as plain text: the list, one price, rentals, the comparison with another list, priced bodies."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, plain_table, sentence
from freehold.report.numbers import count, plain_number, rate_usd
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_ROWS = 40
RATES = (
    ("input", "input_usd_per_mtok"),
    ("output", "output_usd_per_mtok"),
    ("cache read", "cache_read_usd_per_mtok"),
    ("cache write", "cache_write_usd_per_mtok"),
)


def price_list_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Models with their rates, or the providers where there are too many."""
    models: Sequence[Mapping[str, Any]] = record["models"]  # Any: JSON
    if len(models) > MOST_ROWS and not record["filtered"]:
        sold = Counter(str(model["provider"]) for model in models)
        rows = tuple((visible(name), count(number)) for name, number in sorted(sold.items()))
        table = Table(
            f"{count(len(models))} models of {len(sold)} providers in {record['catalogue']}, as of {record['as_of']}",
            (Column("provider"), Column("models", is_number=True)),
            rows,
        )
        return joined(plain_table(table), sentence("Narrow it with --provider or --search, or take --json."))
    lines = tuple(
        (
            visible(f"{model['provider']}/{model['model']}"),
            *(_rate(model[field]) for _, field in RATES[:3]),
            model["valid_from"] or "undated",
            ", ".join(model["tariffs"]) or "none",
        )
        for model in models
    )
    head = (
        Column("model"),
        *(Column(name, is_number=True) for name, _ in RATES[:3]),
        Column("valid from"),
        Column("other tariffs known"),
    )
    own = [
        f"{row['model']} ({row['tariff']}, from {row['valid_from']}): {row['source']}" for row in record["overrides"]
    ]
    if not models and not own:
        said = (
            "No model of {catalogue} has such a name and a price on {as_of}. Leave out --search or --provider for all."
        )
        return sentence(said.format(catalogue=record["catalogue"], as_of=record["as_of"]))
    caption = f"{count(len(models))} models, US dollars per million tokens, as of {record['as_of']}"
    return joined(plain_table(Table(caption, head, lines)), bullets("Your own rows", own))


def price_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """One price: its rates by length of the call and by tariff, since when, whence, and what was assumed."""
    head = (Column("calls"), *(Column(name, is_number=True) for name, _ in RATES), Column("valid from"))
    lines = [(f"{record['tariff']}", record, record["valid_from"])]
    lines += [
        (f"{record['tariff']}, above {count(tier['above_input_tokens'])} input", tier, record["valid_from"])
        for tier in record["tiers"]
    ]
    for tariff in ("batch", "flex", "priority"):
        rates = record[tariff]
        if rates is not None and tariff != record["tariff"]:
            lines.append((tariff, rates, rates["valid_from"]))
    rows = tuple(
        (name, *(_rate(rates[field]) for _, field in RATES), since or "undated") for name, rates, since in lines
    )
    title = f"{visible(record['provider'])}/{visible(record['catalogue_model'])} as of {record['as_of']}"
    facts = [f"Source: {visible(record['source'], 500)} ({visible(record['catalogue'])})"]
    if record["next_change"]:
        facts.append(f"The next rate that is known begins on {record['next_change']}.")
    missing = [visible(each["reason"], 500) for each in record["tariffs_without_price"]]
    return joined(
        plain_table(Table(f"{title}, US dollars per million tokens", head, rows)),
        "\n".join(sentence(fact) for fact in facts),
        bullets("Assumed", [visible(each, 500) for each in record["assumptions"]]),
        bullets("Without a price on that day", missing),
    )


def rentals_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Rent of machines, each row with its day and terms; and machines without one."""
    head = (
        Column("machine"),
        *(Column(name, is_number=True) for name in ("low", "typical", "high")),
        Column("as of"),
        Column("terms"),
    )
    fields = ("usd_per_hour_low", "usd_per_hour_typical", "usd_per_hour_high")
    rows = tuple(
        (row["hardware"], *(plain_number(row[field]) for field in fields), row["as_of"], row["terms"])
        for row in record["rows"]
    )
    without = record["without_price"]
    sources = [f"{row['hardware']}, {row['as_of']}: {visible(row['source'], 500)}" for row in record["rows"]]
    return joined(
        plain_table(Table("Rent of one device for one hour, US dollars", head, rows)),
        sentence(f"Without a dated price: {', '.join(without)}.") if without else "",
        bullets("Sources", sources),
    )


def price_check_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """How the two lists compare: kinds with their number, then every difference that is about a price."""
    kinds = tuple((kind["kind"], count(kind["models"]), visible(kind["meaning"], 300)) for kind in record["kinds"])
    shown = [row for row in record["rows"] if row["kind"] not in record["kinds_not_listed"]]
    rows = tuple(
        (row["kind"], visible(f"{row['provider']}/{row['model']}"), visible(row["detail"], 300)) for row in shown
    )
    says = (
        f"{count(record['compared'])} models are priced by both lists; input and output agree for "
        f"{count(record['agree'])} of them. {count(record['only_here'])} entries of the catalogue met no listed model."
    )
    return joined(
        sentence(says),
        plain_table(Table("Kinds", (Column("kind"), Column("models", is_number=True), Column("meaning")), kinds)),
        plain_table(Table("Differences", (Column("kind"), Column("model"), Column("what differs")), rows)),
    )


def bodies_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What recorded bodies cost: by model, what has no price and why, and what is recorded of it."""
    totals: dict[tuple[str, str], list[float]] = {}
    for row in record["rows"]:
        if row["total_usd"] is not None:
            totals.setdefault((row["provider"], row["catalogue_model"]), []).append(row["total_usd"])
    dearest = sorted(totals.items(), key=lambda item: (-sum(item[1]), item[0]))
    rows = tuple(
        (visible(f"{provider}/{model}"), count(len(costs)), rate_usd(sum(costs)))
        for (provider, model), costs in dearest[:MOST_ROWS]
    )
    table = Table("By model", (Column("model"), Column("bodies", is_number=True), Column("cost", is_number=True)), rows)
    more = len(dearest) - MOST_ROWS
    reasons = [f"{reason}: {count(number)}" for reason, number in record["unpriced"].items()]
    recorded = record["recorded"] or {}
    found = [f"{verdict}: {count(number)}" for verdict, number in recorded.get("rows", {}).items()]
    says = (
        f"{count(record['priced'])} of {count(len(record['rows']))} bodies have a price: "
        f"{rate_usd(record['total_usd'])} together."
    )
    differing = Counter(
        "more than ours" if row["reported_usd"] > row["total_usd"] else "less than ours"
        for row in record["rows"]
        if row["reported_agrees"] is False
    )
    differs = [f"{how}: {count(number)}" for how, number in differing.items()]
    return joined(
        sentence(says),
        plain_table(table),
        f"and {count(more)} models more" if more > 0 else "",
        bullets("Without a price", reasons),
        bullets("Against the results recorded in the file, rows", found),
        bullets("Bodies that report another cost of their own (why: --json)", differs),
        bullets("Assumed", [visible(each, 300) for each in record["assumptions"]]),
    )


def _rate(value: Any) -> str:  # Any: a field of a JSON record
    """A rate; one that nobody states is no zero."""
    return "none" if value is None else plain_number(value)
