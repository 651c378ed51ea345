from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.capacity import capacity
from freehold.economics.facts import hardware, model_facts
from freehold.economics.machine import CPU_ENGINE, GPU_ENGINE
from freehold.economics.steps import free_bytes, kv_shards, step_costs, weight_bytes

if TYPE_CHECKING:
    from freehold.economics.precision import Precision

LLAMA = model_facts("llama-3.1-8b")
H100 = hardware("h100")
DEEPSEEK = model_facts("deepseek-v3")
ACTIVE = 7_504_924_672
"""8,030,261,248 weights of Llama 3.1 8B without its input embedding of 128,256 × 4096."""


def test_two_devices_halve_the_work_and_pay_for_their_link() -> None:
    one = step_costs(LLAMA, H100, precision="bf16")
    two = step_costs(LLAMA, H100, gpus=2, precision="bf16")
    # each token crosses half a link twice a layer: 2 × 1/2 × 4096 × 2 bytes over half of 450 GB/s
    link_s = 2 * 32 * 2 * 0.5 * 4096 * 2 / (0.5 * 450e9)
    assert two.prefill_s_per_token == pytest.approx(one.prefill_s_per_token / 2 + link_s)
    # each reads half of the weights; 64 all-reduces of 2 µs come on top
    read_s = 2 * ACTIVE / (3.35e12 * 0.945)
    assert one.decode_fixed_s == pytest.approx(read_s + 32 * 70e-6)
    assert two.decode_fixed_s == pytest.approx(read_s / 2 + 32 * 70e-6 + 64 * 2e-6)


def test_beyond_one_server_the_network_is_slow() -> None:
    near, far = step_costs(DEEPSEEK, replace(H100, link_devices=16), gpus=16), step_costs(DEEPSEEK, H100, gpus=16)
    # 2 × 61 all-reduces take 30 µs in place of 2
    assert far.decode_fixed_s - near.decode_fixed_s == pytest.approx(2 * 61 * 28e-6)
    # 14,336 bytes a token: 2 × 15/16 of them over the link, or 2 × 7/8 over it and 2 × 1/2 of an eighth over 50 GB/s
    joined_s = 2 * 15 / 16 * 14336 / 450e9
    parted_s = 2 * 7 / 8 * 14336 / 450e9 + 2 * 1 / 2 * 14336 / 8 / 50e9
    assert far.prefill_s_per_token - near.prefill_s_per_token == pytest.approx(2 * 61 * (parted_s - joined_s) / 0.5)


def test_a_pair_that_a_bridge_joins_reaches_the_next_pair_inside_the_server() -> None:
    nvl = hardware("h100-nvl")
    four, joined = step_costs(LLAMA, nvl, gpus=4), step_costs(LLAMA, replace(nvl, link_devices=8), gpus=4)
    assert four.decode_fixed_s == joined.decode_fixed_s
    assert four.prefill_s_per_token > joined.prefill_s_per_token


def test_kinds_of_layers_cost_what_their_kernels_take() -> None:
    b200 = hardware("b200")

    def layer_us(name: str, precision: Precision) -> float:
        model = model_facts(name)
        costs = step_costs(model, b200, gpus=8, precision=precision)
        return 1e6 * (costs.decode_fixed_s - costs.decode_read_s) / model.layers - 2 * 2

    assert layer_us("llama-3.1-70b", "fp8") == pytest.approx(70)
    assert layer_us("minimax-m2.5", "fp4") == pytest.approx(70)
    assert layer_us("minimax-m2.5", "fp8") == pytest.approx(70 + 17)  # activations are brought to 8 bits
    assert layer_us("deepseek-v3", "fp4") == pytest.approx(70 + 27.5)  # latent attention
    assert layer_us("glm-5", "fp4") == pytest.approx(70 + 27.5 + 92)  # and an index that picks tokens
    assert layer_us("qwen3.5-397b-a17b", "bf16") == pytest.approx(70 + 28.5)  # a running state
    # an A100 has no unit for fp8: it unpacks weights and multiplies in 16 bits
    mixtral, a100 = model_facts("mixtral-8x7b"), hardware("a100")
    eight, full = (step_costs(mixtral, a100, gpus=4, precision=how) for how in ("fp8", "bf16"))
    assert eight.decode_fixed_s - eight.decode_read_s == pytest.approx(full.decode_fixed_s - full.decode_read_s)


def test_a_mixture_reads_the_experts_that_somebody_needs() -> None:
    costs = step_costs(model_facts("mixtral-8x7b"), H100, gpus=2, precision="fp8")
    # one request leaves 6 of 8 experts alone, three leave (6/8)³ of them
    assert costs.decode_missed_share == 0.75
    assert costs.experts_s(1) == pytest.approx(costs.decode_experts_s / 4)
    assert costs.decode_s(3, 3000) == pytest.approx(
        costs.decode_fixed_s
        + costs.decode_experts_s * (1 - 0.75**3)
        + 3 * costs.decode_s_per_request
        + 3000 * costs.decode_s_per_context_token
    )
    # a prompt reads them all: the more requests decode beside it, the fewer it must add
    alone, beside = costs.prefill_s(100), costs.prefill_s(100, decoding=8)
    assert alone - beside == pytest.approx(costs.decode_experts_s * (1 - 0.75**8))


def test_wide_experts_are_multiplied_faster_than_thin_slices() -> None:
    # Mixtral's are 14,336 wide: 14336 / (14336 + 2060) = 87 % of the usual rate on one device, 50 % on eight
    mixtral = model_facts("mixtral-8x7b")
    one = step_costs(mixtral, hardware("mi300x"), precision="bf16", is_streamed=False)
    resident, routed = mixtral.resident_parameters, mixtral.routed_parameters
    flops = 1307.4e12 * 0.74
    assert one.decode_compute_s_per_request == pytest.approx((2 * resident + 2 * routed * 16396 / 14336) / flops)


def test_latent_attention_multiplies_each_head_with_all_of_the_cached_vector() -> None:
    # 61 layers × 128 heads × (512 + 64 compared + 512 summed) × 2 FLOP per cached token, at the rate of 16 bits
    costs = step_costs(DEEPSEEK, hardware("b200"), gpus=8, precision="fp8")
    attending_s = 2 * 61 * 128 * 1088 / (8 * 2250e12 * 0.76)
    assert costs.decode_compute_s_per_context_token == pytest.approx(attending_s)
    # and reads 61 × 576 bytes: less time than that
    read_s = 61 * 576 / (8 * 7.7e12 * 0.945)
    assert costs.decode_s_per_context_token == pytest.approx(read_s + attending_s)
    assert attending_s > read_s
    # plain attention waits for memory alone, and an index picks so few tokens that they do not count
    for name in ("llama-3.1-70b", "glm-5"):
        assert step_costs(model_facts(name), hardware("b200"), gpus=8).decode_compute_s_per_context_token == 0


def test_a_window_stops_growing_and_a_running_state_never_grows() -> None:
    # Gemma 3 27B: 52 of 62 layers see 1,024 tokens; 2 × 16 × 128 numbers a layer and token
    gemma = model_facts("gemma-3-27b")
    assert gemma.kv_values == 10 * 4096
    assert gemma.window_values == 52 * 4096
    assert gemma.cached_values(500) == 62 * 4096 * 500
    assert gemma.cached_values(9000) == 10 * 4096 * 9000 + 52 * 4096 * 1024
    far = step_costs(gemma, H100, precision="bf16", context_tokens=9000)
    bandwidth = 3.35e12 * 0.945
    assert far.decode_cache_s_per_request == pytest.approx(2 * 52 * 4096 * 1024 / bandwidth)
    # Qwen 3.5 27B: 48 layers keep 48 × 128 × 128 numbers for a request, 16 cache 2 × 4 × 256 a token
    qwen = model_facts("qwen3.5-27b")
    assert qwen.cached_values(1000) == 48 * 48 * 128 * 128 + 16 * 2048 * 1000


def test_four_bits_reach_the_experts_alone() -> None:
    # 116.8 billion weights, of which 114.7 billion are experts in 0.5625 bytes; the others stay in 16 bits
    model = model_facts("gpt-oss-120b")
    experts = model.expert_parameters
    assert weight_bytes(model, "fp4") == pytest.approx(0.5625 * experts + 2 * (model.parameters - experts))
    assert weight_bytes(LLAMA, "fp4") == 0.5625 * LLAMA.parameters


def test_experts_in_int4_are_unpacked_at_a_price() -> None:
    kimi, b200 = model_facts("kimi-k2.5"), hardware("b200")
    packed, native = (step_costs(kimi, b200, gpus=8, precision=how) for how in ("int4", "fp4"))
    assert packed.decode_experts_s == pytest.approx(native.decode_experts_s * 0.53125 / 0.5625 / 0.49)


def test_an_engine_is_given_more_memory_when_little_is_left() -> None:
    # DeepSeek V3 in fp8 takes 671 GB of 720: more than 0.9 × 720 - 14 = 634, yet people serve it on four B200
    b200 = hardware("b200")
    assert free_bytes(DEEPSEEK, b200, 4, "fp8", GPU_ENGINE) == pytest.approx(5e9, rel=0.3)
    assert free_bytes(LLAMA, H100, 1, "fp8", GPU_ENGINE) == 68.5e9 - LLAMA.parameters


@given(weights=st.floats(1e9, 90e9), more=st.floats(0, 10e9))
def test_a_heavier_model_never_leaves_more_room(weights: float, more: float) -> None:
    light, heavy = replace(LLAMA, parameters=weights), replace(LLAMA, parameters=weights + more)
    assert free_bytes(light, H100, 1, "fp8", GPU_ENGINE) >= free_bytes(heavy, H100, 1, "fp8", GPU_ENGINE)


def test_a_cpu_has_an_engine_of_its_own() -> None:
    with_cpu = step_costs(model_facts("smollm2-135m"), hardware("cpu-2vcpu"))
    assert with_cpu.most_requests == CPU_ENGINE.most_requests == 16
    assert step_costs(LLAMA, H100).most_requests == GPU_ENGINE.most_requests


@pytest.mark.parametrize(("together", "tokens_per_s"), [(1, 98), (4, 140), (16, 153)])
def test_two_cpu_threads_decode_smollm_as_measured(together: int, tokens_per_s: float) -> None:
    costs = step_costs(model_facts("smollm2-135m"), hardware("cpu-2vcpu"))
    assert together / costs.decode_s(together, together * 80) == pytest.approx(tokens_per_s, rel=0.05)
    assert 60 / costs.prefill_s(60) == pytest.approx(390, rel=0.05)


def test_weights_that_do_not_fit_have_no_step_costs() -> None:
    with pytest.raises(InputError, match=r"deepseek-v3 in fp8 needs 671\.0 GB .* 4 × h100 leave 274\.0 GB"):
        step_costs(DEEPSEEK, H100, gpus=4)


def test_a_job_that_streams_to_nobody_saves_the_server_s_time() -> None:
    served, job = step_costs(LLAMA, H100), step_costs(LLAMA, H100, is_streamed=False)
    assert served.decode_s_per_request - job.decode_s_per_request == pytest.approx(21.5e-6)
    assert math.isclose(served.decode_fixed_s, job.decode_fixed_s)


@pytest.mark.parametrize(("gpus", "nearest"), [(3, "2 or 4"), (7, "4 or 8"), (12, "8 or 16"), (64, "32")])
def test_devices_that_do_not_divide_the_heads_are_refused_with_the_nearest_that_do(gpus: int, nearest: str) -> None:
    wanted = f"32 attention heads, which {gpus} devices cannot share evenly.*Use {nearest} devices"
    with pytest.raises(InputError, match=wanted):
        step_costs(LLAMA, H100, gpus=gpus)
    with pytest.raises(InputError, match=wanted):
        capacity(LLAMA, H100, input_tokens=100, output_tokens=100, gpus=gpus)


def test_heads_of_keys_are_copied_where_there_are_fewer_than_devices_or_they_do_not_divide() -> None:
    assert [kv_shards(LLAMA, gpus) for gpus in (1, 2, 4, 8, 16, 32)] == [1, 2, 4, 8, 8, 8]
    # 10 heads of keys on 4 devices: the fullest holds 3, so that memory is for 12.
    assert kv_shards(replace(LLAMA, heads=40, kv_heads=10), 4) == pytest.approx(10 / 3)
    # Room for tokens: twice the devices with every head copied once more leaves each device as much for its head.
    eight, sixteen = (step_costs(LLAMA, H100, gpus=gpus, precision="fp8") for gpus in (8, 16))
    assert sixteen.kv_tokens < 1.1 * eight.kv_tokens
    # Latent attention has no heads to divide in its cache; engines divide requests.
    assert kv_shards(DEEPSEEK, 72) == 72
    assert step_costs(DEEPSEEK, H100, gpus=72).kv_tokens > 0
