"""What a cache, prompt caching, batches and a cheaper model would save: worked by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from freehold.audit.examine import Question, examine, tier_of
from freehold.audit.prefixes import prefixes_of
from freehold.audit.pricing import Pricing
from freehold.audit.ranking import ranked
from freehold.audit.rows import Source
from freehold.audit.sample import Prompt
from freehold.core.call import Call
from freehold.core.identity import call_id
from freehold.economics.plans import own_plan
from freehold.ledger.columns import table_of

if TYPE_CHECKING:
    from freehold.audit.examine import Examined

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
AS_OF = date(2026, 11, 20)
DAYS = 10
MONTH = 730 / 24 / DAYS
"""How many times ten days fit into a month."""


def _call(number: int, question: str, **fields: Any) -> Call:  # Any: fields of a call
    facts: dict[str, Any] = {
        "started_at": START + timedelta(days=number % DAYS),
        "task": "desk",
        "model_served": "gpt-5.4",
        "model_requested": "gpt-5.4",
        "route": "rent",
        "status": 200,
        "input_tokens": 1000,
        "output_tokens": 100,
        "request": {"messages": [{"role": "user", "content": question}], "user": f"user-{number}"},
        "response": {"choices": [{"message": {"role": "assistant", "content": "yes"}}]},
    }
    facts |= fields
    return Call(id=call_id(facts["started_at"] or START, str(number)), **facts)


def _only(calls: list[Call], **options: Any) -> Examined:  # Any: options of a question
    found = examine(Source(calls=table_of(calls)), Question(aliases={}, as_of=AS_OF, **options)).tasks
    assert len(found) == 1
    return found[0]


def test_a_cache_saves_what_was_asked_again_within_a_week() -> None:
    asked = ["open?", "open?", "closed?", "open?"]
    days = [0, 3, 3, 9]
    calls = [
        _call(number, words, started_at=START + timedelta(days=day))
        for number, (words, day) in enumerate(zip(asked, days, strict=True))
    ]
    saved = _only(calls).savings
    # Days 3 and 9 ask what days 0 and 3 asked, three and six days before: two of four calls at 0.0040 each.
    assert saved.repeated_share == 0.5
    assert saved.repeats_usd == pytest.approx(2 * 0.0040 * MONTH)
    late = [_call(0, "open?", started_at=START), _call(1, "open?", started_at=START + timedelta(days=8))]
    assert _only(late).savings.repeated_share == 0.0


@pytest.mark.parametrize(
    "other",
    [
        {"model_requested": "gpt-5.4-mini", "model_served": "gpt-5.4-mini"},
        {"request": {"messages": [{"role": "user", "content": "open?"}], "tools": [{"type": "function"}]}},
        {"status": 500},
    ],
)
def test_another_model_other_tools_or_a_failure_is_no_repeat(other: dict[str, Any]) -> None:
    assert _only([_call(0, "open?"), _call(1, "open?", **other)]).savings.repeated_share == 0.0


def test_an_embedding_call_costs_its_input() -> None:
    found = _only([_call(0, "a", model_served="text-embedding-3-small", input_tokens=100, output_tokens=0)]).audit
    assert found.priced_calls == 1
    assert float(found.cost_usd or 0) == pytest.approx(0.000002)


@pytest.mark.parametrize(
    "fields",
    [
        {"request": {"messages": [{"role": "user", "content": "<truncated>"}]}, "truncated": True},
        {"request": {"response_format": {"type": "json_object"}}},
        {"request": {"tools": [], "messages": None, "input": [], "prompt": ""}},
    ],
)
def test_prompts_that_the_log_has_cut_or_never_had_are_not_taken_for_the_same(fields: dict[str, Any]) -> None:
    found = _only([_call(number, "", **fields) for number in range(60)])
    assert found.savings.repeated_share is None
    assert found.prefixes is None


def test_a_log_without_prompts_has_no_cacheable_share() -> None:
    found = _only([_call(number, "", request=None, response=None) for number in range(3)])
    assert found.savings.repeated_share is None
    assert found.replaceability is None
    assert any("Replaceability is unknown" in reason for reason in found.reasons)


def test_batches_save_half_of_what_is_not_streamed() -> None:
    calls = [_call(number, f"case {number}", stream=number < 4) for number in range(DAYS)]
    saved = _only(calls).savings
    # 10 calls at 0.0040; six of them can wait, at half the price of that day.
    assert saved.usd_per_month == pytest.approx(10 * 0.0040 * MONTH)
    assert saved.batchable_share == 0.6
    assert saved.batch_usd == pytest.approx(6 * 0.0020 * MONTH)
    assert saved.batch_reason is None


def test_without_a_batch_price_on_the_day_nothing_is_promised() -> None:
    question = Question(aliases={}, as_of=date(2026, 6, 15))
    found = examine(Source(calls=table_of([_call(0, "a")])), question).tasks[0]
    assert found.savings.batch_usd is None
    assert found.savings.batch_reason == "The price list has no batch price of gpt-5.4 on 2026-06-15."
    assert found.savings.batch_reason in found.reasons


def test_a_cheaper_model_of_the_family_is_named_with_what_it_would_save() -> None:
    saved = _only([_call(number, f"case {number}") for number in range(DAYS)]).savings
    assert saved.cheaper_model == "gpt-5.4-mini"
    # 1,000 × 0.75/M + 100 × 4.50/M = 0.0012 instead of 0.0040
    assert saved.cheaper_usd == pytest.approx(10 * (0.0040 - 0.0012) * MONTH)


def _prompt(text: str, *, second: float = 0.0, block: int = 0, cached: int = 0) -> Prompt:
    return Prompt(block, second, text, 2_000, cached, "gpt-5.4")


def test_prompt_caching_saves_the_long_beginning_that_was_sent_a_moment_before() -> None:
    rules = "x" * 9_000
    runs = [_prompt(rules + "a" * 1_000), _prompt(rules + "b" * 1_000, second=60.0)]
    found = prefixes_of(runs, Pricing({}), AS_OF)
    assert found is not None
    # 90 % of 2,000 tokens, in steps of 128: 1,792 of the second call; 1,792 × (2.50 − 0.25)/M over two calls
    assert found.cacheable_share == 1_792 / 4_000
    assert found.usd_per_call == pytest.approx(1_792 * 2.25e-6 / 2)


def test_the_saving_of_prompt_caching_is_at_the_tier_that_a_call_was_billed_under() -> None:
    model, rules = "gpt-4o-mini", "x" * 9_000  # cached input costs half; in a batch no less than other input

    def saved(tier: str) -> float | None:
        runs = [Prompt(0, each * 60.0, f"{rules}{each}", 2_000, 0, model, tier) for each in range(2)]
        found = prefixes_of(runs, Pricing({}), AS_OF)
        assert found is not None
        return found.usd_per_call

    assert saved("default") == saved("") == pytest.approx(1_920 * 0.075e-6 / 2)
    assert saved("batch") == 0.0
    assert saved("flex") == 0.0  # the price list has no such tariff of this model
    asked = [
        _call(number, rules + str(number), started_at=START + timedelta(seconds=number), service_tier=tier,
              model_served=model, model_requested=model, input_tokens=2_000)
        for number, tier in enumerate(["batch"] * 4)
    ]  # fmt: skip
    found = _only(asked).prefixes
    assert found is not None
    assert found.cacheable_share > 0.5
    assert found.usd_per_call == 0.0


@pytest.mark.parametrize(
    "second",
    [
        _prompt("x" * 10_000, second=400.0),
        _prompt("x" * 10_000, block=1),
        _prompt("x" * 4_000 + "y" * 6_000, second=1.0),
        _prompt("x" * 10_000, second=1.0, cached=2_000),
    ],
    ids=["too late", "another run", "too short", "cached already"],
)
def test_there_is_nothing_to_save_on(second: Prompt) -> None:
    found = prefixes_of([_prompt("x" * 10_000), second], Pricing({}), AS_OF)
    assert found is not None
    assert found.usd_per_call == 0.0


def test_the_ranking_puts_the_surest_and_largest_first_and_leaves_out_what_is_worth_nothing() -> None:
    calls = [_call(number, f"case {number % 20}", task="large") for number in range(400)]
    calls += [
        _call(1000 + number, f"case {number}", task="small", input_tokens=10, output_tokens=1) for number in range(9)
    ]
    found = examine(Source(calls=table_of(calls)), Question(aliases={}, as_of=AS_OF))
    steps = ranked(found.tasks)
    worth = [step.usd_per_month * step.sureness for step in steps]
    assert worth == sorted(worth, reverse=True)
    assert (steps[0].task, steps[0].action) == ("large", "exact-cache")
    assert all(step.usd_per_month >= 0.01 for step in steps)
    record = found.as_record()["ranking"]
    assert [each["rank"] for each in record] == list(range(1, len(steps) + 1))


def test_owning_is_compared_by_the_cost_model_with_what_the_mix_of_models_costs() -> None:
    plan = own_plan("llama-3.1-8b@h100", as_of=AS_OF)
    calls = [_call(number, f"case {number}") for number in range(DAYS)]
    mixed = [*calls, *(_call(100 + number, f"case {number}", model_served="gpt-5.4-mini") for number in range(DAYS))]
    dear, cheap = (_only(each, plan=plan).owning for each in (calls, mixed))
    assert dear is not None
    assert cheap is not None
    assert dear.saved_usd == dear.rent_usd - dear.own_usd < 0
    assert dear.breakeven[1] is not None
    assert cheap.breakeven[1] is not None
    assert dear.breakeven[1] < cheap.breakeven[1]  # what is rented for less is worth owning later


@pytest.mark.parametrize(
    ("volume", "tier"),
    [(None, None), (0.0, "low"), (99_999.9, "low"), (100_000.0, "mid"), (500_000.0, "mid"), (500_000.1, "high")],
)
def test_tiers_are_those_of_the_article(volume: float | None, tier: str | None) -> None:
    assert tier_of(volume) == tier
