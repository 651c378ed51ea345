"""The planner: parts counted by hand, the article's anchors, what would make a run fit."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.facts import model_facts
from freehold.tuning import answers
from freehold.tuning.plan import Machine, Pace, Plan, Rows, plan_run
from freehold.tuning.plan_inputs import base_facts, gpu, machine_for, machine_here, named_in_table, other_gpus
from freehold.tuning.plan_memory import MOST_LOGITS, Load, learning_weights, plan_memory
from freehold.tuning.plan_remedies import plan_with_remedies
from freehold.tuning.plan_rows import stated_rows
from freehold.tuning.recipe import Recipe, known_recipes, load_recipe

if TYPE_CHECKING:
    from pathlib import Path

LLAMA, BIG = model_facts("llama-3.1-8b"), model_facts("llama-3.1-70b")
ARTICLE_DAY = date(2026, 6, 15)
"""The prices that the article could have seen."""

GIB = 2**30
PARAMETERS, EMBEDDING = 8_030_261_248, 2 * 128_256 * 4096
ADAPTER = 41_943_040
"""Weights that PEFT makes of rank 16 on all linear layers of Llama 3.1 8B."""


def recipe(*options: str, name: str = "llama-3.1-8b-lora") -> Recipe:
    return load_recipe(name, options)


def plan_of(wanted: Recipe, *, rows: int = 20_000, tokens: int = 1000, as_of: date | None = None) -> Plan:
    machine = machine_for(wanted, as_of)
    stated = stated_rows(rows, tokens, max_tokens=wanted.training.max_tokens)
    return plan_with_remedies(wanted, base_facts(wanted.base), machine, stated, others=other_gpus(machine, as_of))


def test_the_parts_of_a_lora_run_are_counted_by_hand() -> None:
    load = Load(tokens=4000, sequence_tokens=1000, answer_tokens=800)
    memory, host = plan_memory(recipe(), LLAMA, load, on_gpu=True)
    assert memory.weights == 2 * PARAMETERS + 4 * ADAPTER
    assert memory.quantization == 0
    assert memory.gradients == 4 * ADAPTER
    assert memory.optimizer == 8 * ADAPTER
    # 800 places × 128,256 words × (2 in 16 bits + 4 in 32 + 4 of log-probabilities + 4 of the gradient)
    assert memory.logits == 800 * 128_256 * 14
    # kept: one input of 2 bytes a layer. At work: two norms in 32 bits, their outputs, 3 × 4,096 of queries and
    # attention, 2 × 1,024 keys and values, 4 × 14,336 of the gated block, then the gradients of it
    layer = 8 * 4096 + 2 * (2 * 4096 + 3 * 4096 + 2 * 1024 + 4 * 14_336)
    assert memory.activations == 4000 * (32 * 2 * 4096 + layer + 4 * 2 * 14_336 + 8 * 4096)
    assert memory.gathered == host == memory.stored == 0
    assert memory.total == sum(size * GIB for part, size in memory.gib().items() if part != "total")


def test_without_checkpointing_every_layer_keeps_what_one_keeps() -> None:
    load = Load(tokens=1, sequence_tokens=1, answer_tokens=1)
    kept, again = (
        plan_memory(recipe(f"training.gradient_checkpointing={on}"), LLAMA, load, on_gpu=True)[0].activations
        for on in ("false", "true")
    )
    layer = 8 * 4096 + 2 * (2 * 4096 + 3 * 4096 + 2 * 1024 + 4 * 14_336)
    assert kept - again == 31 * layer - 32 * 2 * 4096


@pytest.mark.parametrize(("double", "bits"), [("true", 0.127), ("false", 0.5)])
def test_four_bit_weights_take_their_scales_too(double: str, bits: float) -> None:
    packed = recipe(f"quantization.double={double}", name="llama-3.1-8b-qlora-1xh100")
    memory, _ = plan_memory(packed, LLAMA, Load(tokens=1, sequence_tokens=1, answer_tokens=1), on_gpu=True)
    blocks = PARAMETERS - EMBEDDING
    assert memory.weights == 0.5 * blocks + 2 * EMBEDDING + 4 * ADAPTER
    # Dettmers et al. 2023: double quantisation takes the scales from 0.5 bit per weight to 0.127
    one_matrix = 2 * 4096 * 14_336
    assert memory.quantization - one_matrix == pytest.approx(bits / 8 * blocks, rel=1e-3)


def test_all_weights_take_sixteen_bytes_each_and_a_copy_in_which_products_are_computed() -> None:
    memory, _ = plan_memory(
        recipe("method=full"), LLAMA, Load(tokens=1, sequence_tokens=1, answer_tokens=1), on_gpu=True
    )
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * PARAMETERS, 4 * PARAMETERS, 8 * PARAMETERS)
    assert memory.gathered == 2 * PARAMETERS
    small, _ = plan_memory(
        recipe("method=full", "training.optimizer=adamw_8bit"), LLAMA,
        Load(tokens=1, sequence_tokens=1, answer_tokens=1), on_gpu=True,
    )  # fmt: skip
    assert small.optimizer == pytest.approx(2 * PARAMETERS, rel=0.02)


def test_devices_that_share_weights_hold_a_part_each_and_the_host_holds_what_is_put_there() -> None:
    load = Load(tokens=1, sequence_tokens=1, answer_tokens=1)
    options = ("method=full", "devices.count=8", "devices.parallel=fsdp", "training.micro_batch_size=2")
    shared, none = plan_memory(recipe(*options), LLAMA, load, on_gpu=True)
    assert shared.weights == 4 * PARAMETERS / 8
    assert none == 0
    away, host = plan_memory(recipe(*options, "devices.cpu_offload=true"), LLAMA, load, on_gpu=True)
    assert away.weights == away.optimizer == 0
    assert away.gathered == shared.gathered > 0
    assert host == 16 * PARAMETERS


def test_the_loss_of_more_answers_than_stand_in_memory_at_once_takes_no_more() -> None:
    few, many = (
        plan_memory(recipe(), LLAMA, Load(tokens=n, sequence_tokens=n, answer_tokens=n), on_gpu=True)[0].logits
        for n in (2000, 20_000)
    )
    assert few == many == MOST_LOGITS * 14
    assert MOST_LOGITS == answers.MOST_LOGITS


def test_adapters_are_counted_by_rank_targets_and_layers() -> None:
    assert learning_weights(recipe(), LLAMA) == ADAPTER
    assert learning_weights(recipe("lora.rank=32"), LLAMA) == 2 * ADAPTER
    assert learning_weights(recipe("lora.upper_layers=8"), LLAMA) == ADAPTER / 4
    # 16 × 32 × (4,096 + 4,096 + 4,096 + 1,024)
    assert learning_weights(recipe("lora.target_modules=[q_proj, v_proj]"), LLAMA) == 16 * 32 * 13_312
    assert learning_weights(recipe("method=full"), LLAMA) == PARAMETERS


def test_the_article_s_qlora_of_8b_takes_2_to_8_gpu_hours_and_4_to_28_dollars() -> None:
    """It names no data; 20,000 rows of 1,000 tokens, three times, are 60 million tokens, inside its 45 to 450."""
    plan = plan_of(recipe(name="llama-3.1-8b-qlora-1xh100"), as_of=ARTICLE_DAY)
    assert plan.fits
    assert 2 <= plan.hours <= 8
    assert plan.usd is not None
    assert 4 <= plan.usd <= 28
    rental = plan.machine.rental
    assert rental is not None
    assert rental.as_of == date(2026, 5, 20)
    # how sure: the cost model's own spread gives three chances in four or more
    assert plan.chance(2, 8) > 0.7
    assert plan.chance(0.001, 1e6) == pytest.approx(1)
    # half and four times the data leave the range or reach its edge
    assert plan_of(recipe(name="llama-3.1-8b-qlora-1xh100"), rows=5_000).hours < 2
    assert plan_of(recipe(name="llama-3.1-8b-qlora-1xh100"), rows=80_000).hours > 8


def test_the_article_s_full_training_of_70b_does_not_fit_eight_a100_without_offload() -> None:
    plan = plan_of(recipe("method=full", "training.micro_batch_size=1", name="llama-3.1-70b-qlora-8xa100"))
    assert not plan.fits
    # 16 bytes × 70.55 billion over eight are 131 GiB before anything is computed
    assert plan.memory.weights + plan.memory.gradients + plan.memory.optimizer == pytest.approx(131.4 * GIB, rel=0.01)
    away = next(way for way in plan.alternatives if way.overrides == ("devices.cpu_offload=true",))
    assert away.host_memory_gib == pytest.approx(1051, rel=0.01)
    assert away.is_same_result
    suggestion = plan.suggestion()
    assert suggestion is not None
    assert suggestion.startswith("devices.count=32 (")
    assert "Cheapest of all, with another device: devices.hardware=" in suggestion
    assert any(way.overrides == ("method=qlora",) and not way.is_same_result for way in plan.alternatives)


@pytest.mark.parametrize("name", known_recipes())
def test_each_shipped_recipe_fits_the_device_that_it_names(name: str) -> None:
    wanted = recipe(name=name)
    rows = stated_rows(1000, wanted.training.max_tokens, max_tokens=wanted.training.max_tokens)
    if wanted.devices.hardware is None:
        memory, _ = plan_memory(
            wanted, base_facts(wanted.base), Load(tokens=16 * 256, sequence_tokens=256, answer_tokens=128), on_gpu=False
        )
        assert memory.total < 8 * GIB
        return
    assert plan_run(wanted, base_facts(wanted.base), machine_for(wanted), rows).fits


@pytest.mark.parametrize("size", ["24", "40"])
def test_the_comments_of_the_shipped_recipes_about_smaller_cards_hold(size: str) -> None:
    card, name = {"24": ("rtx-4090", "llama-3.1-8b-qlora-1xh100"), "40": ("a100-40gb", "llama-3.1-8b-lora")}[size]
    wanted = recipe(f"devices.hardware={card}", name=name)
    assert plan_run(wanted, LLAMA, gpu(card), stated_rows(1000, 2048, max_tokens=2048)).fits


def test_what_saves_memory_on_the_same_devices_comes_before_other_devices_and_other_methods() -> None:
    plan = plan_of(recipe("devices.hardware=l4", "training.gradient_checkpointing=false"))
    assert not plan.fits
    here = [way for way in plan.alternatives if way.is_same_result and not way.is_elsewhere]
    assert any("training.gradient_checkpointing=true" in way.overrides for way in here)
    suggestion = plan.suggestion()
    assert suggestion is not None
    assert suggestion.startswith("training.gradient_checkpointing=true")
    costs = [way.usd for way in plan.alternatives if way.usd is not None]
    assert costs == sorted(costs)


def test_each_alternative_fits_when_it_is_typed_behind_the_command() -> None:
    options = ("method=full", "devices.hardware=a100-80gb")
    plan = plan_of(recipe(*options))
    assert not plan.fits
    assert plan.alternatives
    for way in plan.alternatives:
        assert plan_of(recipe(*options, *way.overrides)).fits, way.overrides


def test_no_change_is_offered_twice() -> None:
    """On a processor no devices can be added, and the lightest recipe has nothing lighter."""
    wanted = recipe("devices.type=cpu", "devices.hardware=null", "training.gradient_checkpointing=false")
    small = Machine(name="small", room_bytes=44 * GIB, hardware=None, rental=None)
    pace = Pace(samples_per_s=1, tokens_per_s=1, seconds=3600, log_sd=0.5, source="x")
    plan = plan_with_remedies(
        wanted, LLAMA, small, stated_rows(10, 2048, max_tokens=2048), pace=pace, repace=lambda _: pace
    )
    assert not plan.fits
    offered = [way.overrides for way in plan.alternatives]
    assert offered
    assert len(offered) == len(set(offered))


def test_where_nothing_helps_it_is_said() -> None:
    wanted = recipe("base=kimi-k2", "devices.hardware=t4", "training.max_tokens=128", "training.micro_batch_size=1",
                    "method=qlora", "training.batch_size=1")  # fmt: skip
    plan = plan_with_remedies(wanted, model_facts("kimi-k2"), gpu("t4"), stated_rows(10, 128, max_tokens=128))
    assert not plan.fits
    assert plan.suggestion() == "Nothing in the recipe makes it fit: take a smaller base or a device with more memory."


def test_pairs_32_bits_and_offload_each_take_longer() -> None:
    plain = plan_of(recipe()).hours
    # two sequences a row, and one forward pass over all of them for three epochs of (4 + 2)
    assert plan_of(recipe("method=dpo")).hours == pytest.approx(plain * 2 * (1 + 2 / 6 / 3), rel=0.15)
    assert plan_of(recipe("precision=float32", "devices.hardware=b200")).hours == pytest.approx(
        2 * plan_of(recipe("devices.hardware=b200")).hours
    )
    away = plan_of(recipe("devices.count=2", "devices.parallel=fsdp", "devices.cpu_offload=true"))
    assert away.hours > plain
    assert away.pace.log_sd > plan_of(recipe()).pace.log_sd


def test_a_record_tells_its_fields_and_where_the_price_comes_from() -> None:
    record = plan_of(recipe(name="llama-3.1-8b-qlora-1xh100")).as_record()
    assert {"weights", "gradients", "optimizer", "activations", "total"} <= set(record["memory_gib"])
    assert record["fits"] is True
    assert record["suggestion"] is None
    assert record["hours_source"] == "cost model"
    assert record["price"]["as_of"] == "2026-10-24"
    assert record["interval"]["usd"]["p5"] < record["usd"] < record["interval"]["usd"]["p95"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("Voodoo 2", None),
    ],
)
def test_a_driver_s_name_of_a_gpu_is_found_in_the_table(name: str, found: str | None) -> None:
    assert named_in_table(name) == found


def test_a_run_on_a_processor_is_foreseen_for_it_whatever_gpu_its_recipe_names() -> None:
    here = machine_here(recipe("devices.type=cpu"))  # the recipe names an h100
    assert here.hardware is None
    with pytest.raises(InputError, match=r"devices\.hardware is 'h100', a GPU, and devices\.type is 'cpu'"):
        machine_for(recipe("devices.type=cpu"))


def test_what_cannot_be_planned_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Or name a folder with the base's config\.json, which needs no weights"):
        base_facts("nobody/nothing-1b")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: it is no JSON"):
        base_facts(str(tmp_path))
    with pytest.raises(InputError, match=r"max_tokens is 9999999; llama-3\.1-8b reads at most 131072 tokens"):
        plan_of(recipe("training.max_tokens=9999999"))
    with pytest.raises(InputError, match=r"--row-tokens is 5000; the recipe leaves out rows with more than 2048"):
        stated_rows(1, 5000, max_tokens=2048)
    processor = machine_for(recipe("devices.type=cpu", "devices.hardware=null"))
    with pytest.raises(InputError, match="is not known before it is measured"):
        plan_run(recipe(), LLAMA, processor, stated_rows(10, 10, max_tokens=2048))
    with pytest.raises(InputError, match="There are no rows to train on"):
        plan_run(recipe(), LLAMA, gpu("h100"), Rows(train=0, validation=0, tokens=1, longest=1, answer_tokens=1))


@settings(deadline=None, max_examples=40)
@given(
    method=st.sampled_from(["lora", "qlora", "full", "dpo"]),
    rank=st.sampled_from([8, 64]),
    tokens=st.integers(64, 2000),
    micro=st.sampled_from([1, 2, 4]),
    count=st.sampled_from([1, 2, 4]),
    parallel=st.sampled_from(["ddp", "fsdp"]),
)
def test_more_of_anything_takes_no_less_memory_and_sharing_takes_less(  # noqa: PLR0917 -- Hypothesis names them
    method: str, rank: int, tokens: int, micro: int, count: int, parallel: str
) -> None:
    options = (f"method={method}", f"lora.rank={rank}", f"devices.count={count}", f"devices.parallel={parallel}")

    def total(*more: str, tokens: int = tokens) -> float:
        wanted = recipe(*options, f"training.micro_batch_size={micro}", *more)
        plan = plan_run(wanted, LLAMA, gpu("h100"), stated_rows(100, tokens, max_tokens=2048))
        assert math.isfinite(plan.hours)
        assert plan.hours > 0
        return plan.memory.total

    assert total(tokens=tokens + 48) >= total()
    assert total(f"lora.rank={2 * rank}") >= total()
    assert total("training.gradient_checkpointing=false") >= total()
    if parallel == "ddp" or count == 1:
        assert total("training.optimizer=adamw_8bit") <= total()
    if parallel == "ddp" and count > 1:
        assert total("devices.parallel=fsdp") < total() or method != "full"


def test_how_sure_a_plan_is_follows_its_spread() -> None:
    pace = Pace(samples_per_s=1, tokens_per_s=1, seconds=3600, log_sd=0.5, source="x")
    plan = plan_run(recipe(), LLAMA, gpu("h100"), stated_rows(10, 10, max_tokens=2048), pace=pace)
    low, high = plan.interval_hours()
    assert (low, high) == pytest.approx((math.exp(-0.8224), math.exp(0.8224)), rel=1e-4)
    assert plan.chance(low, high) == pytest.approx(0.9, abs=1e-4)
