from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit.billed import Cell, cells_of
from freehold.audit.invoice import Invoice, InvoiceLine
from freehold.audit.pricing import Pricing
from freehold.audit.reconciliation import ALL_MODELS, Reconciliation, reconcile
from freehold.core.call import Call
from freehold.core.chat import Usage
from freehold.economics.overrides import parse_overrides
from freehold.ledger.rollup import SUMS
from freehold.ledger.store import Ledger

if TYPE_CHECKING:
    from pathlib import Path

_DAY = date(2026, 6, 10)
_MODEL = "gpt-4o-mini"  # 0.15 USD per million input tokens, 0.075 cached, 0.60 output; batch half of that
_PRICING = Pricing({})


def _cell(calls: int = 10, *, day: date = _DAY, hour: int = 12, model: str = _MODEL, **facts: Any) -> Cell:
    """Calls of a thousand input tokens, of which 400 are cached, and a hundred output tokens each."""
    usage = Usage(
        input_tokens=1000 * calls, output_tokens=100 * calls, cache_read_tokens=400 * calls, cache_write_tokens=0
    )
    known: dict[str, Any] = {
        "provider": "openai", "asked": model, "tier": "", "bucket": 0, "is_error": False, "is_retry": False,
        "is_counted": True, "usage": usage,
    }  # fmt: skip
    return Cell(day=day, hour=hour, model=model, calls=calls, **(known | facts))


_CALL_USD = Decimal("0.00018")  # 600 x 0.15 + 400 x 0.075 + 100 x 0.60 = 180 per million calls


def _line(usd: Decimal | str | None, *, day: date = _DAY, model: str | None = _MODEL, **facts: Any) -> InvoiceLine:
    return InvoiceLine(day=day, model=model, usd=None if usd is None else Decimal(usd), **facts)


def _of(cells: list[Cell], *lines: InvoiceLine, places: int = 9, pricing: Pricing = _PRICING) -> Reconciliation:
    found = reconcile(cells, Invoice(list(lines), places), pricing)
    _adds_up(found)
    return found


def _adds_up(found: Reconciliation) -> None:
    for line in found.lines:
        assert line.difference_usd == line.ledger_usd - line.invoice_usd
        assert sum((one.usd for one in line.causes), Decimal(0)) + line.unexplained_usd == line.difference_usd
    assert sum(found.by_cause().values(), Decimal(0)) == found.total("difference_usd")
    assert found.total("ledger_usd") - found.total("invoice_usd") == found.total("difference_usd")


def _causes(found: Reconciliation) -> list[tuple[str, Decimal, int | None]]:
    (line,) = found.lines
    return [(one.kind, one.usd, one.calls) for one in line.causes]


def test_an_invoice_of_the_same_amount_leaves_nothing_to_explain() -> None:
    found = _of([_cell(10)], _line(10 * _CALL_USD, requests=10))
    (line,) = found.lines
    assert (line.difference_usd, line.explanation) == (Decimal(0), "the same")
    assert (line.ledger_calls, line.invoice_requests) == (10, 10)


def test_requests_that_the_ledger_lacks_are_counted() -> None:
    found = _of([_cell(10)], _line(15 * _CALL_USD, requests=15))
    assert _causes(found) == [("missing-rows", -5 * _CALL_USD, 5)]
    assert "5 of 15 requests are not in the ledger" in found.lines[0].explanation


def test_calls_that_the_invoice_lacks_are_counted() -> None:
    found = _of([_cell(10)], _line(7 * _CALL_USD, requests=7))
    assert _causes(found) == [("extra-rows", 3 * _CALL_USD, 3)]


def test_a_price_of_ones_own_that_is_not_what_was_billed_is_named() -> None:
    text = (
        f"- model: {_MODEL}\n  valid_from: 2026-01-01\n  input_usd_per_mtok: 0.30\n  output_usd_per_mtok: 1.20\n"
        "  source: a contract that nobody told the provider of\n"
    )
    overrides = parse_overrides(text, "own.yaml")
    found = _of([_cell(10)], _line(10 * _CALL_USD), pricing=Pricing({}, overrides))
    assert [one[0] for one in _causes(found)] == ["price-override"]
    assert found.lines[0].unexplained_usd == 0


def test_calls_that_were_billed_as_a_batch_are_found_by_their_amount() -> None:
    batch = Decimal("0.000105")  # 1000 x 0.075 + 100 x 0.30 a million; cached input has no batch rate of its own
    found = _of([_cell(10)], _line(10 * batch, requests=10))
    assert _causes(found) == [("tier", 10 * (_CALL_USD - batch), 10)]
    assert "batch tariff" in found.lines[0].explanation


def test_cached_input_that_was_billed_like_any_other_is_found() -> None:
    full = 10 * (_CALL_USD + 400 * Decimal("0.075") / 1_000_000)
    assert _causes(_of([_cell(10)], _line(full))) == [("cache", 10 * _CALL_USD - full, 10)]


def test_cached_tokens_that_the_two_sides_count_otherwise_are_found_from_the_tokens() -> None:
    usd = Decimal(10 * (900 * 15 + 100 * 75 // 10 + 100 * 60)) / 100_000_000
    line = _line(usd, requests=10, input_tokens=10_000, cached_tokens=1_000, output_tokens=1_000)
    ((kind, _, _),) = _causes(_of([_cell(10)], line))
    assert kind == "cache"


def test_failed_calls_that_were_not_billed_are_found() -> None:
    found = _of([_cell(10), _cell(2, is_error=True)], _line(10 * _CALL_USD))
    assert _causes(found) == [("failed-calls", 2 * _CALL_USD, 2)]


def _failed(calls: int) -> Cell:
    """Failed calls of which the ledger has no tokens."""
    return _cell(calls, is_error=True, is_counted=False)


@pytest.mark.parametrize("requests", [12, None])
def test_failed_calls_without_tokens_that_the_provider_billed_are_found(requests: int | None) -> None:
    usd = 12 * _CALL_USD
    ((kind, cause_usd, calls),) = _causes(_of([_cell(10), _failed(2)], _line(usd, requests=requests)))
    assert (kind, cause_usd, calls) == ("failed-calls", -2 * _CALL_USD, 2)


def test_only_as_many_failed_calls_are_billed_as_the_invoice_counts() -> None:
    found = _of([_cell(10), _failed(5)], _line(12 * _CALL_USD, requests=12))
    assert _causes(found) == [("failed-calls", -2 * _CALL_USD, 2)]
    assert "2 failed calls were billed" in found.lines[0].explanation


def test_failed_calls_that_were_billed_are_told_from_other_tokens() -> None:
    line = _line(12 * _CALL_USD, requests=12, input_tokens=12_000, cached_tokens=None, output_tokens=1_200)
    ((kind, usd, calls), *_) = _causes(_of([_cell(10), _failed(2)], line))
    assert (kind, calls) == ("failed-calls", 2)
    assert usd < 0


@pytest.mark.parametrize("times", ["1.01", "5"])
def test_an_amount_that_failed_calls_cannot_have_cost_stays_unexplained(times: str) -> None:
    found = _of([_cell(10), _failed(2)], _line(10 * _CALL_USD * Decimal(times)))
    assert found.lines[0].unexplained_usd < 0


def test_suppositions_that_the_amount_cannot_tell_apart_are_all_said_and_a_change_of_those_days_first() -> None:
    # The list price changed on this day to twice the old one, so the old one is today's batch rate.
    model, day = "mistral-large-4", date(2026, 10, 20)
    usage = Usage(input_tokens=10_000, output_tokens=1_000, cache_read_tokens=0, cache_write_tokens=0)
    cell = _cell(10, day=day, model=model, provider="mistral", usage=usage)
    old = _PRICING.paid(model, model, day - timedelta(days=1), "", "mistral")
    found = _of([cell], _line(cell.cost(old), model=model, day=day))
    assert found.lines[0].causes[0].kind == "price-version"
    assert "the price of 2026-10-19, or 10 calls were billed at the batch tariff" in found.lines[0].explanation


def test_repeated_calls_that_were_not_billed_are_found() -> None:
    assert _causes(_of([_cell(10), _cell(3, is_retry=True)], _line(10 * _CALL_USD)))[0] == (
        "retries", 3 * _CALL_USD, 3,
    )  # fmt: skip


def test_calls_without_a_price_are_named_and_their_part_is_estimated_only_where_it_can_be() -> None:
    strange = _cell(10, model="house-model", asked="house-model")
    assert _causes(_of([strange], _line("3.5", model="house-model"))) == [("unpriced", Decimal("-3.5"), 10)]
    half = [_cell(10), _cell(10, is_counted=False)]
    ((kind, usd, calls),) = _causes(_of(half, _line(20 * _CALL_USD, requests=20)))
    assert (kind, usd, calls) == ("unpriced", -10 * _CALL_USD, 10)
    untold = _of(half, _line(20 * _CALL_USD))
    assert _causes(untold) == [("unpriced", Decimal(0), 10)]
    assert untold.lines[0].unexplained_usd == -10 * _CALL_USD


def test_what_the_invoice_rounds_away_is_rounding_and_no_more() -> None:
    exact = 10_000 * _CALL_USD + Decimal("0.0049")
    assert _causes(_of([_cell(10_000)], _line(exact.quantize(Decimal("0.01")), requests=10_000), places=2)) == []
    rounded = _of([_cell(10_001)], _line("1.80", requests=10_001), places=2)
    assert _causes(rounded) == [("rounding", 10_001 * _CALL_USD - Decimal("1.80"), None)]
    off = _of([_cell(10_000)], _line("1.81", requests=10_000), places=2)
    assert (_causes(off), off.lines[0].unexplained_usd) == ([], Decimal("-0.01"))


def test_days_that_begin_at_another_hour_are_found_over_all_days() -> None:
    """Calls at 02:00 and 12:00 UTC; the invoice's day begins at 07:00 UTC, midnight in Denver."""
    cells, lines = [], []
    for step in range(6):
        day = _DAY + timedelta(days=step)
        cells += [_cell(10 + 7 * step, day=day, hour=2), _cell(20 + 3 * step, day=day, hour=12)]
    for step in range(1, 5):
        lines.append(_line((20 + 3 * step + 10 + 7 * (step + 1)) * _CALL_USD, day=_DAY + timedelta(days=step)))
    found = _of(cells, *lines)
    assert {one.kind for line in found.lines for one in line.causes} == {"day-boundary"}
    assert found.total("unexplained_usd") == 0
    assert any("seem to begin at" in note for note in found.notes)


def test_what_stands_on_one_side_alone_is_said_and_never_dropped() -> None:
    found = _of(
        [_cell(10), _cell(5, model="gpt-4o", asked="gpt-4o")],
        _line(10 * _CALL_USD), _line("0.25", model="o3"), _line("-20", model="Credit grant"),
    )  # fmt: skip
    kinds = {line.model: [one.kind for one in line.causes] for line in found.lines}
    assert kinds == {_MODEL: [], "gpt-4o": ["not-invoiced"], "o3": ["missing-rows"], "Credit grant": ["credit"]}


def test_a_model_under_another_name_of_the_catalogue_is_the_same_model() -> None:
    found = _of([_cell(10, model="gpt-4o-mini-2024-07-18")], _line(10 * _CALL_USD, model="GPT-4o mini"))
    assert [(line.model, line.difference_usd) for line in found.lines] == [("GPT-4o mini", Decimal(0))]


def test_an_alias_and_its_snapshot_are_one_model_where_the_two_sides_name_it_otherwise() -> None:
    dated, next_day = f"{_MODEL}-2024-07-18", _DAY + timedelta(days=1)
    found = _of(
        [_cell(10), _cell(10, day=next_day)],
        _line(10 * _CALL_USD, model=dated, requests=10), _line(10 * _CALL_USD, day=next_day, requests=10),
    )  # fmt: skip
    assert [(line.difference_usd, line.causes) for line in found.lines] == [(Decimal(0), ()), (Decimal(0), ())]
    strange = _of([_cell(10, model="house", asked="house")], _line("1", model="house-20260101", requests=10))
    assert [(line.ledger_calls, line.invoice_requests) for line in strange.lines] == [(10, 10)]
    apart = _of(
        [_cell(10), _cell(5, model=dated)], _line(10 * _CALL_USD, requests=10), _line(5 * _CALL_USD, model=dated)
    )
    assert [(line.model, line.ledger_calls) for line in apart.lines] == [(_MODEL, 10), (dated, 5)]
    other = _of([_cell(10, model="gpt-4o-2024-08-06")], _line("1", model="gpt-4o-2024-05-13"))
    assert len(other.lines) == 2


def test_equal_requests_and_tokens_at_another_amount_are_another_price_per_token() -> None:
    counts: dict[str, Any] = {"requests": 10, "input_tokens": 10_000, "cached_tokens": 4_000, "output_tokens": 1_000}
    found = _of([_cell(10)], _line(11 * _CALL_USD, **counts))
    assert _causes(found) == [("price", -_CALL_USD, None)]
    assert "the invoice's price per token is 10.0% higher" in found.lines[0].explanation
    more = _of([_cell(10)], _line(11 * _CALL_USD, **counts | {"output_tokens": 2_000}))
    assert "price" not in [kind for kind, _, _ in _causes(more)]


def test_where_the_invoice_tells_no_models_whole_days_are_compared() -> None:
    found = _of([_cell(10), _cell(10, model="gpt-4o-mini-2024-07-18")], _line(20 * _CALL_USD, model=None))
    assert [(line.model, line.difference_usd) for line in found.lines] == [(ALL_MODELS, Decimal(0))]


def test_calls_of_other_providers_and_invoices_of_other_years_are_told() -> None:
    other = _cell(3, model="claude-3-5-haiku-latest", provider="anthropic")
    found = _of([_cell(10), other], _line(10 * _CALL_USD))
    assert (len(found.lines), found.notes) == (
        1, ("3 calls of anthropic are not compared: the invoice has none of its models.",),
    )  # fmt: skip
    wrong = _of([_cell(10)], _line("1", day=date(2025, 6, 10)))
    assert wrong.notes[-1].startswith("The ledger holds no call from 2025-06-10 to 2025-06-10")
    assert wrong.total("difference_usd") == -1


def test_usage_without_amounts_is_priced_as_the_ledger_is_and_that_is_said() -> None:
    line = _line(None, requests=12, input_tokens=12_000, cached_tokens=4_800, output_tokens=1_200)
    found = _of([_cell(10)], line)
    assert _causes(found) == [("missing-rows", -2 * _CALL_USD, 2)]
    assert found.notes == ("1 lines tell tokens and no amount: they are priced as the ledger is.",)


_CELLS = st.lists(
    st.builds(
        lambda calls, day, hour, model, bad, retry, counted, tier: _cell(
            calls, day=_DAY + timedelta(days=day), hour=hour, model=model, asked=model,
            is_error=bad, is_retry=retry, is_counted=counted, tier=tier,
        ),
        st.integers(1, 1000), st.integers(-1, 4), st.integers(0, 23),
        st.sampled_from([_MODEL, "gpt-4o", "house-model", ""]), st.booleans(), st.booleans(), st.booleans(),
        st.sampled_from(["", "batch", "flex", "odd"]),
    ),
    max_size=12,
)  # fmt: skip
_LINES = st.lists(
    st.builds(
        lambda day, model, usd, requests, tokens: _line(
            usd, day=_DAY + timedelta(days=day), model=model, requests=requests,
            input_tokens=tokens, output_tokens=tokens, cached_tokens=None if tokens is None else tokens // 2,
        ),
        st.integers(0, 3), st.sampled_from([_MODEL, "GPT-4o", "house-model", "tax", None]),
        st.none() | st.decimals(-50, 50, places=4), st.none() | st.integers(0, 2000), st.none() | st.integers(0, 10**6),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@given(_CELLS, _LINES)
def test_causes_and_rest_add_up_whichever_way_they_are_sliced(cells: list[Cell], lines: list[InvoiceLine]) -> None:
    found = _of(cells, *lines, places=4)
    for slice_by in ("day", "model"):
        sums: defaultdict[Any, Decimal] = defaultdict(Decimal)
        for line in found.lines:
            sums[getattr(line, slice_by)] += line.difference_usd
        assert sum(sums.values(), Decimal(0)) == found.total("difference_usd")
    told = sum((line.usd for line in lines if line.usd is not None), Decimal(0))
    if not any("are priced as" in note for note in found.notes):
        assert found.total("invoice_usd") == told
    json.dumps([line.as_record() for line in found.lines])


def test_the_ledgers_cells_hold_every_rented_call_once(tmp_path: Path) -> None:
    moment = datetime(2026, 6, 10, 23, 30, tzinfo=UTC)
    calls = [
        Call(
            id=f"0199aa00-0000-7000-8000-{number:012x}", task="desk", started_at=moment + timedelta(hours=number),
            route="own" if number == 3 else "rent", model_served=_MODEL, provider="openai",
            status=500 if number == 2 else 200, input_tokens=None if number == 2 else 1000, output_tokens=100,
        )
        for number in range(5)
    ]  # fmt: skip
    Ledger(tmp_path / "calls").append(calls)
    cells = cells_of(tmp_path / "calls", SUMS.empty_table(), first=_DAY, last=_DAY + timedelta(days=1))
    assert [(cell.day.day, cell.hour, cell.calls, cell.is_error) for cell in cells] == [
        (10, 23, 1, False), (11, 0, 1, False), (11, 1, 1, True), (11, 3, 1, False),
    ]  # fmt: skip


def test_a_credit_among_other_lines_is_named_and_takes_no_more_than_the_difference() -> None:
    ten_calls = str(10 * _CALL_USD)
    found = _of([_cell()], _line(ten_calls, model=None), _line("-0.001", model=None))
    assert [(one.kind, one.usd) for one in found.lines[0].causes] == [("credit", Decimal("0.001"))]
    assert found.lines[0].unexplained_usd == 0
    # Half of the credit is made up for by something else.
    found = _of([_cell()], _line("0.0023"), _line("-0.001"))
    assert [(one.kind, one.usd) for one in found.lines[0].causes] == [("credit", Decimal("0.0005"))]


def test_a_credit_that_makes_up_for_another_line_is_no_difference() -> None:
    found = _of([_cell()], _line("0.0028"), _line("-0.001"))
    assert found.lines[0].causes == ()


def test_a_price_that_differs_is_named_too_where_costs_and_usage_come_in_two_files() -> None:
    usage = _line(None, requests=10, input_tokens=10_000, cached_tokens=4_000, output_tokens=1_000)
    found = _of([_cell(10)], _line(12 * _CALL_USD), usage)
    assert _causes(found) == [("price", -2 * _CALL_USD, None)]
    assert "price per token is 20.0% higher" in found.lines[0].explanation
    fewer = _line(None, requests=10, input_tokens=9_000, cached_tokens=4_000, output_tokens=1_000)
    assert "price" not in [cause[0] for cause in _causes(_of([_cell(10)], _line(12 * _CALL_USD), fewer))]


@given(st.integers(2, 40))
def test_twice_the_calls_are_no_batch(calls: int) -> None:
    batch = Decimal("0.000105")
    found = _of([_cell(2 * calls)], _line(2 * calls * batch, requests=calls))
    assert [(kind, number) for kind, _, number in _causes(found)] == [("extra-rows", calls)]


def test_other_tokens_than_the_ledgers_are_no_batch() -> None:
    batch = Decimal("0.000105")
    line = _line(10 * batch, requests=10, input_tokens=5_000, cached_tokens=2_000, output_tokens=500)
    assert "tier" not in [kind for kind, _, _ in _causes(_of([_cell(10)], line))]


def test_the_same_model_of_another_provider_is_not_on_the_bill_of_the_one() -> None:
    days = [_DAY + timedelta(days=number) for number in range(4)]
    cells = [_cell(13, day=day, provider=name) for day in days for name in ("openai", "azure")]
    found = _of(cells, *(_line(13 * _CALL_USD, day=day, requests=13) for day in days))
    assert found.notes == ("52 calls of azure are not compared: the invoice's amounts are those of openai alone.",)
    assert {line.explanation for line in found.lines} == {"the same"}
    both = _of(cells, *(_line(26 * _CALL_USD, day=day, requests=26) for day in days))
    assert (both.notes, {line.explanation for line in both.lines}) == ((), {"the same"})


def test_a_difference_of_binary_fractions_is_none() -> None:
    found = _of([_cell(10)], _line(10 * _CALL_USD + Decimal("4e-17"), requests=10), places=17)
    assert found.lines[0].explanation == "the same"
