from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.capacity import PROMPTS_AHEAD, capacity, most_that_fit
from freehold.economics.facts import hardware, known_hardware, known_models, model_facts
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.steps import CRAMPED_LOG_SD, EXPERT_LOG_SD, FAR_LOG_SD, RESIDUAL_LOG_SD, step_costs

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.economics.precision import Precision

LLAMA = model_facts("llama-3.1-8b")
H100 = hardware("h100")
DEEPSEEK = model_facts("deepseek-v3")


def test_keys_and_values_of_llama_8b_take_131072_bytes_a_token_in_16_bits() -> None:
    # 2 × 32 layers × 8 heads × 128 × 2 bytes
    assert LLAMA.kv_bytes_per_token(2.0) == 131_072


def test_the_formula_repeats_the_arithmetic_of_one_point_by_hand() -> None:
    found = capacity(LLAMA, H100, input_tokens=1000, output_tokens=500, precision="fp8", concurrency=10)
    # without the input embedding one token meets 8,030,261,248 - 128,256 × 4096 = 7,504,924,672 weights
    active = 7_504_924_672
    flops = 1979e12 * 0.65  # what fp8 keeps of its peak
    # prompt: weights, and 2 × (32 layers × 32 heads × 128) × 1000² of attention in 16 bits
    prefill_s = 2 * active * 1000 / (flops * 0.76) + 2 * 131_072 * 1e6 / (989e12 * 0.76)
    # step: weights and 10 × 1250 × 65,536 bytes read, arithmetic, 32 × 70 µs of layers, 10 × 21.5 µs of serving
    bandwidth = 3.35e12 * 0.945
    step_s = (active + 10 * 1250 * 65_536) / bandwidth + 2 * active * 10 / flops + 32 * 70e-6 + 10 * 21.5e-6
    # and 30 ms for the way of a request there and back
    cycle_s = 10 * prefill_s + 500 * step_s + 0.03
    assert found.output_tokens_per_s == pytest.approx(10 * 500 / cycle_s)
    assert found.requests_per_s == pytest.approx(10 / cycle_s)
    assert found.step_ms == pytest.approx(1e3 * step_s)
    # the way there, its own prompt and 0.155 of nine others', and a step; the rest of the cycle is 499 tokens
    first_s = 0.03 + prefill_s * (1 + PROMPTS_AHEAD * 9) + step_s
    assert found.ttft_ms == pytest.approx(1e3 * first_s)
    assert found.tpot_ms == pytest.approx(1e3 * (cycle_s - first_s) / 499)
    # room: (0.9 × 80 - 3.5) GB - 8.030261248 GB = 60.47 GB over 1250 × 65,536 bytes a request
    assert found.kv_limited_concurrency == pytest.approx(60.469738752e9 / 81.92e6)


def test_a_slow_second_way_gives_the_same_rate() -> None:
    """Every answer token of every request one after the other, contexts growing, in place of their mean."""
    costs = step_costs(LLAMA, H100, precision="fp8", context_tokens=300)
    batch, given_tokens, written = 20, 200, 200
    seconds = batch * costs.prefill_s(given_tokens, decoding=batch)
    for token in range(written):
        seconds += costs.decode_s(batch, batch * (given_tokens + token + 0.5))
    found = capacity(LLAMA, H100, input_tokens=given_tokens, output_tokens=written, precision="fp8", concurrency=batch)
    assert found.output_tokens_per_s == pytest.approx(batch * written / (seconds + 0.03))


def test_clients_beyond_the_room_wait_and_do_not_change_the_rate() -> None:
    room = capacity(LLAMA, H100, input_tokens=8000, output_tokens=1000, precision="bf16", concurrency=10_000)
    assert room.concurrency == room.kv_limited_concurrency < 10_000
    # a place is taken at once, without a round trip
    costs = step_costs(LLAMA, H100, precision="bf16", context_tokens=8500)
    batch = room.concurrency
    cycle_s = batch * costs.prefill_s(8000) + 1000 * costs.decode_s(batch, batch * 8500)
    assert room.requests_per_s == pytest.approx(batch / cycle_s)
    # of 10,000 clients all but these wait, each for its turn at this rate
    assert room.ttft_ms > 1e3 * (10_000 - room.concurrency) / room.requests_per_s
    # Little's law: clients = rate × time
    total_s = (room.ttft_ms + 999 * room.tpot_ms) / 1e3
    assert room.requests_per_s * total_s == pytest.approx(10_000)


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
def test_published_throughput_is_met_within_20_percent(
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
    assert found.output_tokens_per_s == pytest.approx(published, rel=0.2)
    assert found.interval[0] < published < found.interval[1]


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_tokens": math.nan}, r"input tokens is nan; it must be a number from 0"),
        ({"input_tokens": -1}, "input tokens is -1"),
        ({"output_tokens": 0}, r"output tokens is 0; it must be a number from 1"),
        ({"output_tokens": math.inf}, "output tokens is inf"),
        ({"gpus": 0}, "gpus is 0"),
        ({"gpus": 1.5}, r"gpus is 1.5; it must be a whole number"),
        ({"gpus": 10**12}, "gpus is 1000000000000"),
        ({"concurrency": 0.5}, r"concurrency is 0\.5"),
        ({"precision": "fp3"}, "Unknown precision 'fp3'; choose one of bf16"),
    ],
)
def test_numbers_that_are_none_are_refused(changed: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"input_tokens": 100, "output_tokens": 100, **changed}
    with pytest.raises(InputError, match=message):
        capacity(LLAMA, H100, **asked)


def test_where_few_requests_fit_the_interval_widens() -> None:
    tight = capacity(LLAMA, hardware("l4"), input_tokens=60_000, output_tokens=100)
    assert tight.kv_limited_concurrency < 8
    assert tight.interval[1] / tight.output_tokens_per_s > 3
    assert tight.log_sd == CRAMPED_LOG_SD
    wide = capacity(LLAMA, H100, input_tokens=100, output_tokens=100)
    assert wide.log_sd == RESIDUAL_LOG_SD
    far = capacity(DEEPSEEK, H100, input_tokens=100, output_tokens=100, gpus=32)
    near = capacity(DEEPSEEK, hardware("b200"), input_tokens=100, output_tokens=100, gpus=8)
    assert (far.log_sd, near.log_sd) == (FAR_LOG_SD, EXPERT_LOG_SD)


@given(given_tokens=st.floats(1, 30_000), output_tokens=st.floats(1, 5_000), more=st.floats(1, 20_000))
def test_a_longer_prompt_never_raises_the_rate(given_tokens: float, output_tokens: float, more: float) -> None:
    short = capacity(LLAMA, H100, input_tokens=given_tokens, output_tokens=output_tokens)
    long = capacity(LLAMA, H100, input_tokens=given_tokens + more, output_tokens=output_tokens)
    assert long.requests_per_s <= short.requests_per_s * (1 + 1e-9)


@pytest.mark.parametrize(("text", "devices"), [("llama-3.1-8b", 1), ("llama-3.1-8b@h100", 0)])
def test_a_plan_must_name_model_and_hardware(text: str, devices: int) -> None:
    with pytest.raises(InputError, match="must read MODEL@HARDWARE"):
        own_plan(text, devices=devices)


def test_a_plan_knows_its_label_and_precision() -> None:
    assert own_plan("llama-3.1-8b@h100").label == "llama-3.1-8b on h100"
    pair = own_plan("llama-3.3-70b@H100", devices=2, precision="bf16")
    assert (pair.label, pair.precision) == ("llama-3.3-70b on 2 × h100", "bf16")


def test_a_slower_link_slows_a_spread_replica() -> None:
    big = model_facts("llama-3.3-70b")
    slow = replace(H100, link_gb_per_s=32.0)
    fast_rate = capacity(big, H100, input_tokens=500, output_tokens=500, gpus=2).requests_per_s
    assert capacity(big, slow, input_tokens=500, output_tokens=500, gpus=2).requests_per_s < fast_rate


@given(
    gpus=st.sampled_from([1, 2, 4, 8]),
    together=st.floats(1, 2000),
    name=st.sampled_from(["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-27b", "gpt-oss-20b", "qwen3.5-35b-a3b"]),
    precision=st.sampled_from(["bf16", "fp8", "fp4"]),
)
def test_more_clients_never_lower_the_rate_and_little_s_law_holds(
    gpus: int, together: float, name: str, precision: Precision
) -> None:
    machine, model = hardware("b200"), model_facts(name)

    def rate(clients: float) -> float:
        found = capacity(
            model, machine, input_tokens=800, output_tokens=200, gpus=gpus, precision=precision, concurrency=clients
        )
        assert found.requests_per_s * (found.ttft_ms + 199 * found.tpot_ms) / 1e3 == pytest.approx(clients)
        assert found.ttft_ms > 0
        assert found.tpot_ms > 0
        return found.output_tokens_per_s

    assert rate(together * 1.5) >= rate(together) * (1 - 1e-9)


def test_the_cpu_engine_has_sixteen_slots_and_the_seventeenth_client_waits() -> None:
    asked: dict[str, Any] = {"input_tokens": 60, "output_tokens": 40}
    model, machine = model_facts("smollm2-135m"), hardware("cpu-2vcpu")
    full, more = (capacity(model, machine, **asked, concurrency=clients) for clients in (16, 32))
    assert more.concurrency == full.concurrency == 16
    assert more.ttft_ms - full.ttft_ms == pytest.approx(1e3 * 16 / full.requests_per_s)


@pytest.mark.parametrize("clients", [1, 7])
def test_an_answer_of_one_token_is_its_prompt_and_one_step(clients: int) -> None:
    found = capacity(LLAMA, H100, input_tokens=500, output_tokens=1, concurrency=clients)
    assert found.tpot_ms == found.step_ms
    assert found.ttft_ms == pytest.approx(1e3 * clients / found.requests_per_s)


def test_a_batch_job_waits_for_no_client() -> None:
    job = capacity(LLAMA, H100, input_tokens=500, output_tokens=1)
    assert job.ttft_ms == pytest.approx(1e3 * job.concurrency / job.requests_per_s)
    costs = step_costs(LLAMA, H100, context_tokens=500.5, is_streamed=False)
    cycle_s = job.concurrency * costs.prefill_s(500) + costs.decode_s(job.concurrency, job.concurrency * 500.5)
    assert job.requests_per_s == pytest.approx(job.concurrency / cycle_s)


def test_requests_that_fit_can_be_counted_without_a_rate() -> None:
    found = capacity(LLAMA, H100, input_tokens=1000, output_tokens=500, precision="fp8")
    counted = most_that_fit(LLAMA, H100, context_tokens=1250, gpus=1, precision="fp8")
    assert counted == pytest.approx(found.kv_limited_concurrency)
    assert most_that_fit(DEEPSEEK, H100, context_tokens=1250, gpus=1, precision="fp8") == 0


def test_weights_that_fit_without_room_for_one_call_are_refused() -> None:
    with pytest.raises(InputError, match="room for one call"):
        capacity(
            model_facts("llama-2-13b"), hardware("rtx-5090"), input_tokens=4000, output_tokens=90, precision="bf16"
        )


def test_every_shipped_row_can_be_used() -> None:
    for machine in ("h100", "a100-80gb", "l40s", "rtx-4090", "rtx-5090"):
        for model in ("smollm2-135m", "llama-3.1-8b", "qwen3-8b"):
            scenario = default_scenario(own_plan(f"{model}@{machine}"))
            assert scenario.assumptions["gpu_usd_per_hour"].typical > 0
    for machine in known_hardware():
        assert capacity(model_facts("smollm2-135m"), hardware(machine), input_tokens=500, output_tokens=50).log_sd < 1
    big = hardware("gb300")
    for model in known_models():
        facts = model_facts(model)
        gpus = next(each for each in (16, 8, 5, 4, 3, 2) if facts.heads % each == 0)
        found = capacity(facts, big, input_tokens=500, output_tokens=50, gpus=gpus, precision="bf16")
        assert found.requests_per_s > 0


def test_a_record_has_the_fields_of_the_contract() -> None:
    record = capacity(LLAMA, H100, input_tokens=500, output_tokens=50, concurrency=4).as_record()
    wanted = {"output_tokens_per_s", "requests_per_s", "ttft_ms", "tpot_ms", "kv_limited_concurrency", "interval"}
    assert wanted | {"bound_by"} <= set(record)


def test_measured_serving_rates_are_met_as_the_decision_says(shared_data: Path) -> None:
    """docs/decisions/0007-capacity.md: dense models within 6 % in the median, 90 % of points inside the interval."""
    errors, inside = [], 0
    for line in (shared_data / "bench_silicon_dev" / "agg.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        model = model_facts(row["model"])
        if model.experts or row["tp"] > 8 or not row["concurrency"]:
            continue
        found = capacity(
            model,
            hardware(row["gpu"]),
            input_tokens=row["isl"],
            output_tokens=row["osl"],
            gpus=row["tp"],
            precision=row["precision"] or "bf16",
            concurrency=row["concurrency"],
        )
        measured = row["out_tok_s_per_gpu_derived"] * row["gpus"]
        errors.append(abs(found.output_tokens_per_s / measured - 1))
        inside += found.interval[0] <= measured <= found.interval[1]
    errors.sort()
    assert len(errors) > 800
    assert errors[len(errors) // 2] < 0.06
    assert errors[len(errors) * 9 // 10] < 0.20
    assert inside / len(errors) > 0.9
