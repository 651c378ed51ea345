from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.capacity import CRAMPED_LOG_SD, RESIDUAL_LOG_SD, Precision, capacity
from freehold.economics.facts import hardware, model_facts
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.rentals import rental

LLAMA = model_facts("llama-3.1-8b")
H100 = hardware("h100")


def test_keys_and_values_of_llama_8b_take_131072_bytes_a_token_in_16_bits() -> None:
    # 2 × 32 layers × 8 heads × 128 × 2 bytes
    assert LLAMA.kv_bytes_per_token(2.0) == 131_072


def test_the_formula_repeats_the_arithmetic_of_one_point_by_hand() -> None:
    found = capacity(LLAMA, H100, input_tokens=1000, output_tokens=500, precision="fp8", concurrency=10)
    # prefill: 10 × (2 × 8.030261248e9 × 1000 + 2 × 32 × 4096 × 1e6) / (1979e12 × 0.66)
    prefill_s = 10 * (1.6060522496e13 + 2.62144e11) / 1.30614e15
    # step: (8.030261248e9 + 10 × 1250 × 65,536) / (3.35e12 × 0.916)
    #       + 2 × 8.030261248e9 × 10 / (1979e12 × 0.5) + 32 × 60e-6
    step_s = 8.849461248e9 / 3.0686e12 + 1.6060522496e11 / 9.895e14 + 0.00192
    assert found.ttft_ms == pytest.approx(1e3 * prefill_s)
    assert found.tpot_ms == pytest.approx(1e3 * step_s)
    assert found.output_tokens_per_s == pytest.approx(10 * 500 / (prefill_s + 500 * step_s))
    # room: (0.9 × 80 - 3.5) GB - 8.030261248 GB = 60.47 GB over 1250 × 65,536 bytes a request
    assert found.kv_limited_concurrency == pytest.approx(60.469738752e9 / 81.92e6)


@pytest.mark.parametrize(
    ("model", "gpus", "tokens", "concurrency", "published"),
    [
        # TensorRT-LLM 1.0 performance overview, H100 SXM, fp8: output tokens per second of one replica
        ("llama-3.1-8b", 1, (128, 128), None, 28_312),
        ("llama-3.1-8b", 1, (1000, 1000), None, 15_220),
        ("llama-3.1-8b", 1, (20_000, 2000), None, 1351),
        ("llama-3.3-70b", 2, (1000, 1000), None, 4205),
        ("llama-3.3-70b", 2, (2048, 128), None, 762),
        ("llama-3.3-70b", 2, (5000, 500), 25, 623.4),
    ],
)
def test_published_throughput_is_met_within_15_percent(
    model: str, gpus: int, tokens: tuple[int, int], concurrency: float | None, published: float
) -> None:
    found = capacity(
        model_facts(model),
        H100,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        gpus=gpus,
        precision="fp8",
        concurrency=concurrency,
    )
    assert found.output_tokens_per_s == pytest.approx(published, rel=0.15)
    assert found.interval[0] < published < found.interval[1]


@pytest.mark.parametrize(("together", "tokens_per_s"), [(1, 98), (4, 140), (16, 153)])
def test_two_cpu_threads_decode_smollm_as_measured(together: int, tokens_per_s: float) -> None:
    found = capacity(
        model_facts("smollm2-135m"),
        hardware("cpu-2vcpu"),
        input_tokens=60,
        output_tokens=40,
        concurrency=together,
    )
    assert together * 1e3 / found.tpot_ms == pytest.approx(tokens_per_s, rel=0.05)
    assert found.ttft_ms / together == pytest.approx(60 / 390 * 1e3, rel=0.05)


@pytest.mark.parametrize(
    ("precision", "tokens", "together", "bound"),
    [
        ("fp8", (4000, 10), None, "compute"),
        ("bf16", (100, 4000), 8, "memory"),
        ("bf16", (2000, 60_000), None, "kv"),
    ],
)
def test_the_binding_limit_is_named(
    precision: Precision, tokens: tuple[int, int], together: float | None, bound: str
) -> None:
    found = capacity(
        LLAMA,
        H100,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        precision=precision,
        concurrency=together,
    )
    assert found.bound_by == bound


def test_a_tiny_model_on_a_large_gpu_is_bound_by_the_engine() -> None:
    found = capacity(model_facts("smollm2-135m"), H100, input_tokens=10, output_tokens=100, concurrency=1)
    assert found.bound_by == "engine"


def test_a_model_larger_than_its_machines_is_refused() -> None:
    with pytest.raises(InputError, match=r"llama-3\.3-70b in bf16 needs 141\.1 GB .* 1 × h100 leave 68\.5 GB"):
        capacity(model_facts("llama-3.3-70b"), H100, input_tokens=100, output_tokens=100, precision="bf16")


def test_a_call_longer_than_the_context_is_refused() -> None:
    with pytest.raises(InputError, match=r"qwen3-8b: a call of 41,000 tokens .* 40,960 tokens"):
        capacity(model_facts("qwen3-8b"), H100, input_tokens=40_000, output_tokens=1000)


def test_where_few_requests_fit_the_interval_widens() -> None:
    tight = capacity(LLAMA, hardware("l4"), input_tokens=60_000, output_tokens=100)
    assert tight.kv_limited_concurrency < 8
    assert tight.log_sd == CRAMPED_LOG_SD
    wide = capacity(LLAMA, H100, input_tokens=100, output_tokens=100)
    assert wide.log_sd == RESIDUAL_LOG_SD


@given(given_tokens=st.floats(1, 30_000), output_tokens=st.floats(1, 5_000), more=st.floats(1, 20_000))
def test_a_longer_prompt_never_raises_the_rate(given_tokens: float, output_tokens: float, more: float) -> None:
    short = capacity(LLAMA, H100, input_tokens=given_tokens, output_tokens=output_tokens)
    long = capacity(LLAMA, H100, input_tokens=given_tokens + more, output_tokens=output_tokens)
    assert long.requests_per_s <= short.requests_per_s * (1 + 1e-9)


def test_names_are_forgiving_and_unknown_ones_get_the_nearest() -> None:
    assert hardware("A100_80GB").name == "a100-80gb"
    assert model_facts("Llama 3.1 8B") is LLAMA
    with pytest.raises(InputError, match=r"Unknown hardware 'h1000'; nearest: h100"):
        hardware("h1000")
    with pytest.raises(InputError, match=r"Unknown model '\?'; nearest: llama-3\.1-8b, llama-3\.3-70b, qwen3-8b"):
        model_facts("?")


def test_a_precision_without_a_rate_of_its_own_computes_in_bf16() -> None:
    assert H100.flops("q4_0") == H100.flops("bf16") == 989e12


def test_a_rent_is_dated() -> None:
    assert rental("h100") == rental("h100", date(2026, 6, 1))
    assert rental("h100").usd_per_hour == (1.99, 2.95, 5.0)
    with pytest.raises(InputError, match=r"h100 has no rental price for 2025-01-01; the first is from 2026-05-20"):
        rental("h100", date(2025, 1, 1))


@pytest.mark.parametrize(("text", "devices"), [("llama-3.1-8b", 1), ("llama-3.1-8b@h100", 0)])
def test_a_plan_must_name_model_and_hardware(text: str, devices: int) -> None:
    with pytest.raises(InputError, match="must read MODEL@HARDWARE"):
        own_plan(text, devices=devices)


def test_a_plan_knows_its_label_and_precision() -> None:
    assert own_plan("llama-3.1-8b@h100").label == "llama-3.1-8b on h100"
    pair = own_plan("llama-3.3-70b@H100", devices=2, precision="bf16")
    assert (pair.label, pair.precision) == ("llama-3.3-70b on 2 × h100", "bf16")


def test_every_shipped_row_can_be_used() -> None:
    for machine in ("h100", "a100-80gb", "l4", "l40s", "rtx-4090", "rtx-5090"):
        for model in ("smollm2-135m", "llama-3.1-8b", "qwen3-8b"):
            scenario = default_scenario(own_plan(f"{model}@{machine}"))
            assert scenario.assumptions["gpu_usd_per_hour"].typical > 0
            room = hardware(machine)
            assert capacity(model_facts(model), room, input_tokens=500, output_tokens=50).requests_per_s > 0


def test_a_slower_link_slows_a_spread_replica() -> None:
    big = model_facts("llama-3.3-70b")
    slow = replace(H100, link_gb_per_s=32.0)
    fast_rate = capacity(big, H100, input_tokens=500, output_tokens=500, gpus=2).requests_per_s
    assert capacity(big, slow, input_tokens=500, output_tokens=500, gpus=2).requests_per_s < fast_rate
