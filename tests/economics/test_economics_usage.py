"""Token counts of recorded bodies, in the words of each kind of API."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.chat import Usage
from freehold.core.errors import InputError
from freehold.economics.usage import dialect_of, model_in, recorded, usage_of

GEMINI = {
    "modelVersion": "gemini-2.0-flash",
    "usageMetadata": {
        "promptTokenCount": 4610,
        "promptTokensDetails": [
            {"modality": "VIDEO", "tokenCount": 3096},
            {"modality": "TEXT", "tokenCount": 14},
            {"modality": "AUDIO", "tokenCount": 1500},
        ],
        "candidatesTokenCount": 101,
        "thoughtsTokenCount": 60,
        "toolUsePromptTokenCount": 19,
        "cachedContentTokenCount": 1000,
        "totalTokenCount": 4790,
    },
}

CASES: list[tuple[str, dict[str, Any], Usage]] = [
    (
        "openai-chat",
        {"usage": {"prompt_tokens": 254, "completion_tokens": 174, "total_tokens": 428,
                   "prompt_tokens_details": {"cached_tokens": 128, "cache_write_tokens": 0},
                   "completion_tokens_details": {"reasoning_tokens": 147}}},
        Usage(254, 174, 128, 0, 147),  # 428 = 254 + 174: reasoning is inside the output
    ),
    (
        "openai-chat",
        {"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150,
                   "completion_tokens_details": {"reasoning_tokens": 30}}},
        Usage(100, 50, None, None, 30),  # 150 = 100 + 20 + 30: the body's total has it beside the output
    ),
    ("openai-chat", {"usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8, 0)),
    ("openai-chat", {"usage": {"prompt_tokens": 8}}, Usage(8, None)),
    ("openai-chat", {"usage": {"prompt_tokens": 563, "completion_tokens": 5, "prompt_cache_hit_tokens": 512}},
     Usage(563, 5, 512)),
    ("openai-chat", {"usage": {"prompt_tokens": 70, "completion_tokens": 12, "num_cached_tokens": 69}},
     Usage(70, 12, 69)),
    (
        "openai-responses",
        {"usage": {"input_tokens": 4020, "output_tokens": 5, "total_tokens": 4025,
                   "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4012},
                   "output_tokens_details": {"reasoning_tokens": 3}}},
        Usage(4020, 5, 8, 4012, 3),
    ),
    ("openai-responses", {"usage": {"input_tokens": 10, "output_tokens": 2, "cache_read_tokens": 4}}, Usage(10, 2, 4)),
    (
        "anthropic",  # 3 fresh + 2,074 read + 297 written = 2,374
        {"usage": {"input_tokens": 3, "output_tokens": 61, "cache_read_input_tokens": 2074,
                   "cache_creation_input_tokens": 297, "output_tokens_details": {"thinking_tokens": 7}}},
        Usage(2374, 61, 2074, 297, 7),
    ),
    ("gemini", GEMINI, Usage(4629, 161, 1000, None, 60)),  # 4,610 + 19 and 101 + 60
    ("gemini", {"usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}}, Usage(7, 0)),
    (
        "bedrock",  # 22 + 2,492 written
        {"usage": {"inputTokens": 22, "outputTokens": 13, "cacheReadInputTokens": 0, "cacheWriteInputTokens": 2492}},
        Usage(2514, 13, 0, 2492),
    ),
    (
        "cohere",
        {"usage": {"billed_units": {"input_tokens": 431, "output_tokens": 661}, "tokens": {"input_tokens": 2190}}},
        Usage(431, 661),  # what is billed, not what was read
    ),
    ("cohere", {"usage": {"tokens": {"input_tokens": 5, "output_tokens": 6}}}, Usage(5, 6)),
    ("cohere", {"meta": {"billed_units": {"input_tokens": 4}}}, Usage(4, 0)),
    ("ollama", {"model": "m", "prompt_eval_count": 9, "eval_count": 3}, Usage(9, 3)),
    ("openai-responses", {"usage": {"output_tokens": 3}}, Usage(None, 3)),
    ("anthropic", {"usage": {"input_tokens": None, "cache_read_input_tokens": 3}}, Usage(None, None, 3)),
    ("bedrock", {"usage": {"outputTokens": 3}}, Usage(None, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "body", "usage"), CASES)
def test_counts_are_read_in_the_words_of_the_api(dialect: str, body: dict[str, Any], usage: Usage) -> None:
    assert dialect_of(body) == dialect
    assert usage_of(body) == usage


@pytest.mark.parametrize(
    "body", [{}, {"usage": None}, {"usage": []}, {"usage": {}}, {"model": "m"}, {"usageMetadata": {"trafficType": "x"}}]
)
def test_a_body_without_counts_has_no_usage(body: dict[str, Any]) -> None:
    assert usage_of(body) is None


def test_counts_are_found_bare_and_inside_events_of_a_stream() -> None:
    counts = {"input_tokens": 5, "output_tokens": 2}
    assert usage_of(counts) == Usage(5, 2)
    assert usage_of({"type": "response.completed", "response": {"model": "gpt-5", "usage": counts}}) == Usage(5, 2)
    assert model_in({"type": "response.completed", "response": {"model": "gpt-5", "usage": counts}}) == "gpt-5"
    assert usage_of({"promptTokenCount": 5, "candidatesTokenCount": 2}) == Usage(5, 2)


def test_the_model_is_the_one_that_answered() -> None:
    assert model_in(GEMINI) == "gemini-2.0-flash"
    assert model_in({"model": "  "}) is None
    assert model_in({"model": 5}) is None


def test_a_dialect_can_be_stated() -> None:
    body = {"usage": {"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 4}}
    assert usage_of(body) == Usage(14, 2, 4)
    assert usage_of(body, dialect="openai-responses") == Usage(10, 2)


def test_finer_parts_and_searches_are_kept() -> None:
    found = recorded(GEMINI)
    assert found is not None
    assert dict(found.finer) == {"input_video_tokens": 3096, "input_audio_tokens": 1500}
    claude = recorded(
        {"usage": {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 9,
                   "cache_creation": {"ephemeral_1h_input_tokens": 5},
                   "server_tool_use": {"web_search_requests": 2}}}
    )  # fmt: skip
    assert claude is not None
    assert dict(claude.finer) == {"cache_write_1h_tokens": 5, "web_searches": 2}
    bedrock = recorded(
        {"usage": {"inputTokens": 1, "outputTokens": 1, "cacheWriteInputTokens": 9,
                   "cacheDetails": [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 5}]}}
    )  # fmt: skip
    assert bedrock is not None
    assert dict(bedrock.finer) == {"cache_write_1h_tokens": 4}


def test_steps_that_are_billed_apart_are_kept_apart() -> None:
    found = recorded(
        {"usage": {"input_tokens": 180, "output_tokens": 8, "cache_read_input_tokens": 0, "iterations": [
            {"type": "compaction", "input_tokens": 100, "output_tokens": 82, "cache_creation_input_tokens": 55096},
            {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518, "output_tokens": 22},
            {"type": "message", "input_tokens": 180, "output_tokens": 8},
        ]}}
    )  # fmt: skip
    assert found is not None
    assert found.usage == Usage(180, 8, 0)
    assert [(model, step.usage.input_tokens) for model, step in found.apart] == [
        (None, 55196),  # 100 + 55,096
        ("claude-opus-4-8", 2518),
    ]


@pytest.mark.parametrize(
    ("body", "tariff"),
    [
        ({"service_tier": "default", "usage": {"prompt_tokens": 1}}, "list"),
        ({"service_tier": "flex", "usage": {"prompt_tokens": 1}}, "flex"),
        ({"usage": {"input_tokens": 1, "cache_read_input_tokens": 0, "service_tier": "standard"}}, "list"),
        ({"usage": {"input_tokens": 1, "cache_read_input_tokens": 0, "service_tier": "batch"}}, "batch"),
        ({"usageMetadata": {"promptTokenCount": 1, "trafficType": "ON_DEMAND_FLEX"}}, "flex"),
        ({"usageMetadata": {"promptTokenCount": 1, "trafficType": "PROVISIONED_THROUGHPUT"}}, "provisioned_throughput"),
        ({"service_tier": 7, "usage": {"prompt_tokens": 1}}, "list"),
    ],
)
def test_a_body_tells_its_tariff(body: dict[str, Any], tariff: str) -> None:
    found = recorded(body)
    assert found is not None
    assert found.tariff == tariff


@pytest.mark.parametrize(
    ("usage", "fault"),
    [
        ({"prompt_tokens": -1}, "prompt_tokens is below 0"),
        ({"prompt_tokens": 10**13}, "prompt_tokens is above 1,000,000,000,000"),
        ({"prompt_tokens": float("nan")}, "prompt_tokens is 'nan'"),
        ({"prompt_tokens": float("inf")}, "prompt_tokens is 'inf'"),
        ({"prompt_tokens": 1.5}, "must be a whole number"),
        ({"prompt_tokens": True}, "prompt_tokens is 'True'"),
        ({"prompt_tokens": "5"}, "prompt_tokens is '5'"),
        ({"prompt_tokens": 5, "num_cached_tokens": 6}, "cached input (6 read, 0 written) exceeds the input (5)"),
        (
            {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 0,
             "output_tokens_details": {"thinking_tokens": 2}},
            "reasoning (2) exceeds the output (1)",
        ),
        (
            {"input_tokens": 5, "cache_creation_input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 2}},
            "for an hour exceeds",
        ),
        (
            {"input_tokens": 5, "cache_read_input_tokens": 0,
             "iterations": [{"type": "compaction", "input_tokens": -1}]},
            "input_tokens is below 0",
        ),
    ],
)  # fmt: skip
def test_impossible_counts_are_refused(usage: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError) as raised:
        usage_of({"usage": usage})
    assert fault in str(raised.value)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert usage_of({"usage": {"prompt_tokens": 5.0, "completion_tokens": 1.0}}) == Usage(5, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**14) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["usage", "usageMetadata", "meta", "billed_units", "tokens", "prompt_tokens", "input_tokens",
                         "inputTokens", "promptTokenCount", "iterations", "cacheDetails", "response", "type", "model",
                         "completion_tokens_details", "cache_creation", "cache_read_input_tokens", "eval_count"]),
        inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["usage", "usageMetadata", "meta", "response", "eval_count"]), JSON))
def test_no_body_makes_the_reader_fall_over(body: dict[str, Any]) -> None:
    try:
        found = usage_of(body)
    except InputError:
        return
    if found is not None and found.input_tokens is not None:
        assert (found.cache_read_tokens or 0) + (found.cache_write_tokens or 0) <= found.input_tokens
