from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit.estimate import CHARACTERS_PER_TOKEN, estimated_workload
from freehold.core.call import Call
from freehold.core.errors import InputError


def call(*contents: str) -> Call:
    messages = [{"role": "user", "content": content} for content in contents]
    return Call(id="00000000-0000-7000-8000-000000000000", task="t", request={"messages": messages})


def test_tokens_are_a_quarter_of_the_characters_of_requests_and_answers() -> None:
    # Requests: 400 and 200 + 200 characters, mean 400 -> 100 tokens. Answers: 12 and 28, mean 20 -> 5 tokens.
    found = estimated_workload(
        [call("a" * 400), call("b" * 200, "c" * 200)], ["d" * 12, "e" * 28], queries_per_month=7_000
    )

    assert (found.queries_per_month, found.input_tokens, found.output_tokens) == (7_000, 100.0, 5.0)
    assert (found.cached_share, found.peak_to_mean) == (None, None)


def test_a_call_costs_at_least_one_token_each_way() -> None:
    found = estimated_workload([call("ab")], ["y"], queries_per_month=1)

    assert (found.input_tokens, found.output_tokens) == (1.0, 1.0)


def test_a_call_without_a_recorded_request_counts_as_empty() -> None:
    bare = Call(id="00000000-0000-7000-8000-000000000000", task="t")

    found = estimated_workload([bare, call("a" * 80)], ["yes!"], queries_per_month=1)

    assert found.input_tokens == 10.0  # (0 + 80) / 2 / 4


@pytest.mark.parametrize(("calls", "outputs"), [([], ["yes"]), ([call("hello")], []), ([], [])])
def test_without_rows_or_without_answers_there_is_nothing_to_estimate(calls: list[Call], outputs: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        estimated_workload(calls, outputs, queries_per_month=1_000)

    assert str(caught.value) == "The task has no rows with answers, so its traffic cannot be estimated."


def test_a_volume_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="queries_per_month is 0"):
        estimated_workload([call("hello")], ["yes"], queries_per_month=0)


@given(texts=st.lists(st.text(max_size=200), min_size=1, max_size=20), longer=st.text(min_size=1, max_size=50))
def test_longer_texts_never_mean_fewer_tokens(texts: list[str], longer: str) -> None:
    before = estimated_workload(map(call, texts), texts, queries_per_month=10)
    after = estimated_workload(
        (call(text + longer) for text in texts), [text + longer for text in texts], queries_per_month=10
    )

    assert after.input_tokens >= before.input_tokens
    assert after.output_tokens >= before.output_tokens
    total = sum(map(len, texts))
    assert before.input_tokens == max(1.0, total / len(texts) / CHARACTERS_PER_TOKEN)
