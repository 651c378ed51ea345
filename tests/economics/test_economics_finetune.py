from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.facts import hardware, model_facts
from freehold.economics.finetune import LOG_SD, METHODS, Method, finetuning, memory_gb

if TYPE_CHECKING:
    from pathlib import Path

LLAMA = model_facts("llama-3.1-8b")
BIG = model_facts("llama-3.1-70b")
H100 = hardware("h100")
ACTIVE = 7_504_924_672


def test_full_training_repeats_the_arithmetic_of_one_run_by_hand() -> None:
    run = finetuning(LLAMA, H100, method="full", trained_tokens=1e9, gpus=8, sequence_tokens=4096, micro_batch=2)
    # a micro-batch of 8,192 tokens: 6 FLOP per active weight, 6 × 131,072 × 4,096 of attention per token
    flop = 8192 * (6 * ACTIVE + 6 * 131_072 * 4096)
    # 32 layers of 3 ms at least; 7/8 of 6 bytes per weight over 0.44 × 450 GB/s
    step_s = flop / (989e12 * 0.56) + 32 * 3e-3 + 6 * 8_030_261_248 * 7 / 8 / (0.44 * 450e9)
    assert run.tokens_per_s == pytest.approx(8 * 8192 / step_s)
    assert run.gpu_hours == pytest.approx(8 * run.hours) == pytest.approx(1e9 / run.tokens_per_s * 8 / 3600)
    # 16 bytes of state per weight over 8 devices, one vector a layer and token, logits, and a workspace
    activations = 8192 * (2 * 32 * 4096 + 34 * 4096 + 10 * 128_256)
    assert run.memory_gb_per_gpu == pytest.approx((16 * 8_030_261_248 / 8 + activations) / 1e9 + 1.5)
    assert run.fits
    assert run.remedy is None


def test_an_adapter_over_four_bits_unpacks_them_for_each_micro_batch() -> None:
    lora, qlora = (finetuning(LLAMA, H100, method=how, trained_tokens=1e6) for how in ("lora", "qlora"))
    # 33 bytes of traffic a weight
    extra_s = 2048 / qlora.tokens_per_s - 2048 / lora.tokens_per_s
    assert extra_s == pytest.approx(33 * 8_030_261_248 / 3.35e12)


def test_the_article_s_full_training_of_70b_on_eight_a100_does_not_fit() -> None:
    run = finetuning(BIG, hardware("a100-80gb"), method="full", trained_tokens=1e9, gpus=8)
    # 70.55 billion weights × 16 bytes = 1,129 GB of state, 141 GB a device before anything is computed
    assert run.memory_gb_per_gpu > 141
    assert not run.fits
    assert run.remedy == "32 devices or lora or qlora"


@pytest.mark.parametrize(
    ("method", "machine", "gpus", "sequence", "remedy"),
    [
        ("full", "rtx-4090", 1, 512, "8 devices or lora or qlora"),
        ("qlora", "rtx-4090", 1, 16_384, "8192 tokens in a micro-batch"),
        ("lora", "l4", 1, 4096, "2 devices or qlora or 2048 tokens in a micro-batch"),
    ],
)
def test_what_would_make_a_run_fit_is_named(
    method: Method, machine: str, gpus: int, sequence: int, remedy: str
) -> None:
    run = finetuning(LLAMA, hardware(machine), method=method, trained_tokens=1e6, gpus=gpus, sequence_tokens=sequence)
    assert not run.fits
    assert run.remedy == remedy


def test_where_nothing_helps_it_is_said() -> None:
    run = finetuning(LLAMA, hardware("l4"), method="qlora", trained_tokens=1e6, rank=10_000)
    assert run.remedy == "a device with more memory, or a smaller model"


def test_adapters_share_weights_only_where_a_copy_each_is_too_much() -> None:
    alone, together = (finetuning(LLAMA, H100, method="lora", trained_tokens=1e6, gpus=g) for g in (1, 8))
    assert together.memory_gb_per_gpu == alone.memory_gb_per_gpu
    assert together.tokens_per_s == pytest.approx(8 * alone.tokens_per_s)
    big = finetuning(BIG, H100, method="lora", trained_tokens=1e6, gpus=8)
    assert big.fits
    assert big.memory_gb_per_gpu < memory_gb(BIG, "lora", shards=1, tokens=2048, rank=16) / 4
    far = finetuning(BIG, H100, method="full", trained_tokens=1e6, gpus=64)
    assert far.tokens_per_s < 64 * finetuning(BIG, H100, method="full", trained_tokens=1e6).tokens_per_s


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "dora"}, r"Unknown method 'dora'; choose one of qlora, lora, full\."),
        ({"trained_tokens": 0}, "trained tokens is 0; it must be a number from 1"),
        ({"trained_tokens": math.nan}, "trained tokens is nan"),
        ({"trained_tokens": math.inf}, "trained tokens is inf"),
        ({"gpus": 0}, "gpus is 0"),
        ({"sequence_tokens": -1}, "sequence tokens is -1"),
        ({"micro_batch": 0}, "micro-batch is 0"),
        ({"rank": 10**6}, "rank is 1000000"),
    ],
)
def test_numbers_that_are_none_are_refused(changed: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"method": "lora", "trained_tokens": 1e6, **changed}
    with pytest.raises(InputError, match=message):
        finetuning(LLAMA, H100, **asked)


@given(
    method=st.sampled_from(METHODS), tokens=st.floats(1, 1e12), more=st.floats(1, 10), gpus=st.sampled_from([1, 2, 8])
)
def test_more_tokens_take_more_hours(method: Method, tokens: float, more: float, gpus: int) -> None:
    few = finetuning(LLAMA, H100, method=method, trained_tokens=tokens, gpus=gpus)
    many = finetuning(LLAMA, H100, method=method, trained_tokens=tokens * more, gpus=gpus)
    assert many.gpu_hours >= few.gpu_hours
    assert few.interval[0] < few.gpu_hours < few.interval[1]


def test_published_training_rates_are_met_as_the_decision_says(shared_data: Path) -> None:
    ratios = []
    with (shared_data / "bench_throughput" / "finetune_points.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["method"] in METHODS
            run = finetuning(
                model_facts(row["model"]),
                hardware(row["gpu"]),
                method=row["method"],
                trained_tokens=1e6,
                gpus=int(row["n_gpu"]),
                sequence_tokens=int(row["seq_len"]),
                micro_batch=int(row["micro_batch"]),
            )
            ratios.append(math.log(run.tokens_per_s / float(row["tokens_s_total"])))
    errors = sorted(abs(math.exp(ratio) - 1) for ratio in ratios)
    assert errors[len(errors) // 2] < 0.13
    assert max(abs(ratio) for ratio in ratios) < math.log(2)
    assert sum(abs(ratio) < 1.645 * LOG_SD for ratio in ratios) >= 0.9 * len(ratios)
