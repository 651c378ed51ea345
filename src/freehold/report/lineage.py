"""Where a verdict comes from: everything that must be the same to get it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report.numbers import NOT_MEASURED, count, plain_number, share, usd
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping


def lineage_table(decision: Mapping[str, Any]) -> Table:  # Any: JSON
    """Ids, hashes, seeds, dates of prices and versions behind one verdict."""
    inputs = decision.get("inputs") or {}
    evaluation, cost = inputs.get("evaluation") or {}, inputs.get("cost") or {}
    rows = [
        ("decision", _named(decision.get("id"))),
        ("dataset", _named(evaluation.get("dataset"))),
        ("own model", _named(evaluation.get("model"))),
        *((f"SHA-256 of the {name}", _named(digest)) for name, digest in (decision.get("hashes") or {}).items()),
        ("seed of the bootstrap", _named(evaluation.get("seed"))),
        ("seed of the simulation", f"{_named(cost.get('seed'))}, {count(cost.get('draws'))} draws"),
        *_policy(inputs.get("policy") or {}),
        *_prices(cost.get("inputs") or {}),
        *((f"version of {name}", _named(each)) for name, each in _versions(decision, cost).items()),
    ]
    return Table("Lineage", (Column("what"), Column("which")), tuple((visible(what), which) for what, which in rows))


def _policy(policy: Mapping[str, Any]) -> list[tuple[str, str]]:  # Any: JSON
    return [
        ("margin, fixed beforehand", f"{plain_number(policy.get('margin_points'))} points"),
        ("confidence of quality intervals", share(policy.get("confidence"))),
        ("fewest test cases", count(policy.get("min_test_cases"))),
        ("certainty asked of costs", share(policy.get("cost_certainty"))),
    ]


def _prices(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:  # Any: JSON
    rows = []
    for what, price in (
        ("price of the rented model", inputs.get("rent")),
        ("price of the open model", inputs.get("hosted")),
    ):
        if price:
            rows.append((what, _price(price)))
    own = inputs.get("own")
    if own:
        rows.append(("rent of the own machine", f"as of {_named(own.get('rental_as_of'))}"))
        rows += [("facts of the own plan", visible(source, 300)) for source in own.get("sources") or ()]
    return rows


def _price(price: Mapping[str, Any]) -> str:  # Any: JSON
    billed = f", billed as {visible(price['alias_of'])} (assumption)" if price.get("alias_of") else ""
    note = f"; {visible(price['note'], 300)}" if price.get("note") else ""
    return (
        f"{_named(price.get('model'))}{billed}: {usd(price.get('input_usd_per_mtok'))} in and "
        f"{usd(price.get('output_usd_per_mtok'))} out per million tokens, as of "
        f"{_named(price.get('as_of'))}, {_named(price.get('catalogue'))}, {_named(price.get('source'))}{note}"
    )


def _versions(decision: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    return {**(cost.get("versions") or {}), **(decision.get("versions") or {})}


def _named(value: Any) -> str:  # Any: JSON
    return NOT_MEASURED if value is None else visible(value, 300)
