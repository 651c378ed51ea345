from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.audit.pricing import Pricing
from freehold.audit.spending import missing_edges, spending
from freehold.core.call import Call
from freehold.core.chat import Usage
from freehold.core.identity import call_id
from freehold.economics.overrides import Override
from freehold.economics.prices import cost_of_call, price_of
from freehold.economics.rates import Rates, Tier
from freehold.ledger.index import Index
from freehold.ledger.rollup import EDGES, stored_sums, sums_of_files
from freehold.ledger.store import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    import pytest

_NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
TIERED = "google/gemini-2.5-pro"
"""Its rates change above 200,000 input tokens."""


def _call(number: int, *, days: int = 0, **fields: Any) -> Call:  # Any: fields of a call
    moment = _NOON + timedelta(days=days, seconds=number)
    known: dict[str, Any] = {
        "id": call_id(moment, str(number)),
        "task": "desk",
        "started_at": moment,
        "route": "rent",
        "status": 200,
        "model_requested": "openai/gpt-4o-mini",
        "model_served": "openai/gpt-4o-mini",
        "input_tokens": 1000,
        "output_tokens": 100,
    }
    return Call(**(known | fields))


def _sums(folder: Path, calls: list[Call]) -> tuple[pa.Table, pa.Table]:
    """From the rollup, and from the files."""
    Ledger(folder).append(calls)
    index = Index(folder)
    stored = stored_sums(index.connection)
    index.close()
    return stored, sums_of_files(folder)


def _one_by_one(calls: list[Call]) -> Decimal:
    """The slow, obvious way: every call at the price of its day."""
    total = Decimal(0)
    for call in calls:
        assert call.started_at is not None
        price = price_of(call.model_served or "", call.started_at.date(), aliases={})
        read, written = call.cache_read_tokens, call.cache_write_tokens
        usage = Usage(call.input_tokens, call.output_tokens, read, written)
        cost = None if price is None else cost_of_call(usage, price)
        total += cost or Decimal(0)
    return total


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([TIERED, "openai/gpt-4o-mini", "nobody/knows"]),
            st.integers(0, 3),
            st.none() | st.sampled_from([0, 1, 199_999, 200_000, 200_001, 1_000_001]),
            st.none() | st.integers(0, 70_000),
            st.none() | st.integers(0, 5_000),
        ),
        max_size=30,
    )
)
def test_sums_cost_what_their_calls_cost_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int | None, int | None, int | None]]
) -> None:
    calls = [
        _call(number, days=days, model_requested=model, model_served=model, input_tokens=inside,
              output_tokens=outside, cache_read_tokens=read)
        for number, (model, days, inside, outside, read) in enumerate(rows)
    ]  # fmt: skip
    stored, from_files = _sums(tmp_path_factory.mktemp("calls"), calls) if calls else (None, None)
    if stored is None or from_files is None:
        return
    found = spending(stored, Pricing({}))

    assert missing_edges(stored, Pricing({})) == set()
    assert (found.total_usd or 0) == _one_by_one(calls)
    assert spending(from_files, Pricing({})).days == found.days


def test_a_call_above_a_threshold_pays_its_rates_for_all_of_its_input(tmp_path: Path) -> None:
    calls = [
        _call(1, model_served=TIERED, input_tokens=200_000, output_tokens=0),
        _call(2, model_served=TIERED, input_tokens=200_001, output_tokens=0),
    ]
    found = spending(_sums(tmp_path, calls)[0], Pricing({}))
    # 200,000 x $1.25/M + 200,001 x $2.50/M
    assert found.total_usd == Decimal("0.25") + Decimal("0.5000025")


def test_own_rows_and_unknown_models_and_failures_are_told_apart(tmp_path: Path) -> None:
    calls = [
        _call(1),
        _call(2, route="own"),
        _call(3, model_served="nobody/knows", model_requested="nobody/knows"),
        _call(4, status=500, error_type="server_error", input_tokens=None, output_tokens=None),
        _call(5, route=None, status=None, model_served=None, model_requested=None, input_tokens=None),
        _call(6, task="other", model_served=None),
    ]
    found = spending(_sums(tmp_path, calls)[0], Pricing({}))
    desk, other = found.days
    assert (desk.day, desk.task, desk.calls, desk.own_calls, desk.priced_calls, desk.errors) == (
        "2026-11-01", "desk", 3, 1, 1, 1,
    )  # fmt: skip
    assert desk.cost_usd == other.cost_usd
    assert dict(found.unpriced) == {"nobody/knows": 1}


def _override(first: date, usd: str, *, above: int | None = None) -> Override:
    rates = Rates(
        input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=Decimal(0), cache_read_usd_per_mtok=None,
        cache_write_usd_per_mtok=None,
    )  # fmt: skip
    dear = Rates(
        input_usd_per_mtok=Decimal(usd) * 2, output_usd_per_mtok=Decimal(0), cache_read_usd_per_mtok=None,
        cache_write_usd_per_mtok=None,
    )  # fmt: skip
    tiers = () if above is None else (Tier(above_input_tokens=above, rates=dear),)
    return Override(
        model="openai/gpt-4o-mini", provider=None, tariff="list", valid_from=first, rates=rates, tiers=tiers, source="x"
    )


def test_a_users_own_row_counts_from_its_first_day_on(tmp_path: Path) -> None:
    calls = [
        _call(1, input_tokens=1_000_000, output_tokens=0),
        _call(2, days=1, input_tokens=1_000_000, output_tokens=0),
    ]
    pricing = Pricing({}, [_override(date(2026, 11, 2), "7.123456789")])
    found = spending(_sums(tmp_path, calls)[0], pricing)
    assert [day.cost_usd for day in found.days] == [Decimal("0.15"), Decimal("7.123456789")]


def test_a_threshold_that_the_rollup_does_not_keep_apart_is_named_and_the_files_know_it(tmp_path: Path) -> None:
    calls = [_call(1, input_tokens=5_000, output_tokens=0), _call(2, input_tokens=5_001, output_tokens=0)]
    stored, _ = _sums(tmp_path, calls)
    pricing = Pricing({}, [_override(date(2026, 1, 1), "1", above=5_000)])
    assert missing_edges(stored, pricing) == {5_000}
    found = spending(sums_of_files(tmp_path, sorted({*EDGES, 5_000})), pricing)
    # 5,000 x $1/M + 5,001 x $2/M
    assert found.total_usd == Decimal("0.015002")


def test_sums_beyond_eight_bytes_are_exact(tmp_path: Path) -> None:
    calls = [_call(number, input_tokens=999_999_999_999, output_tokens=1) for number in range(9)]
    pricing = Pricing({}, [_override(date(2026, 1, 1), "123456.789123456")])
    found = spending(_sums(tmp_path, calls)[0], pricing)
    assert found.total_usd == 9 * 999_999_999_999 * Decimal("123456.789123456") / 1_000_000


def test_an_empty_ledger_costs_nothing_that_is_known(tmp_path: Path) -> None:
    index = Index(tmp_path)
    found = spending(stored_sums(index.connection), Pricing({}))
    index.close()
    assert (found.days, found.total_usd) == ((), None)
