"""Models other than the bundled one: packed passes against transformers' own forward pass."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    MistralConfig,
    Qwen3Config,
)

from freehold.core.progress import Silent
from freehold.tuning.decoder import Decoder
from freehold.tuning.packing import pack
from freehold.tuning.predict import merge_adapter
from freehold.tuning.recipe import Recipe, load_recipe
from freehold.tuning.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.tuning.bases import BaseModel

SHAPE = {
    "vocab_size": 448,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "pad_token_id": 2,
}
SLIDING = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
FAMILIES = {
    "qwen3": lambda: Qwen3Config(**SHAPE),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=7),
    "gemma3_text": lambda: Gemma3TextConfig(**SHAPE, sliding_window=7, layer_types=SLIDING),
    "gemma3": lambda: Gemma3Config(
        text_config={**SHAPE, "sliding_window": 7, "layer_types": SLIDING},
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
    ),
}


@pytest.fixture(params=sorted(FAMILIES))
def other(request: pytest.FixtureRequest, base: BaseModel, tmp_path: Path) -> BaseModel:
    """A random model of another family with the tiny base's tokenizer."""
    config = FAMILIES[request.param]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = (
            Gemma3ForConditionalGeneration(config)
            if request.param == "gemma3"
            else AutoModelForCausalLM.from_config(config)
        )
    folder = tmp_path / request.param
    made.save_pretrained(folder)
    for file in base.folder.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").write_bytes((base.folder / "chat_template.jinja").read_bytes())
    assert json.loads((folder / "config.json").read_text())["model_type"] == request.param
    return replace(base, name=request.param, folder=folder, hub_id=request.param)


@pytest.mark.parametrize("kernel", ["products", "fused"])
@pytest.mark.parametrize("prefix", [0, 3, 9])
def test_packed_rows_behind_a_prefix_have_the_logits_of_separate_passes(
    other: BaseModel, prefix: int, kernel: Literal["products", "fused"]
) -> None:
    made = torch.Generator().manual_seed(prefix)
    rows = [torch.randint(4, 448, (length,), generator=made) for length in (12, 17, 11)]
    for row in rows[1:]:
        row[:prefix] = rows[0][:prefix]
    decoder = Decoder(other.folder)
    packing = replace(pack(prefix, [len(row) - prefix for row in rows]), kernel=kernel)
    line = torch.cat([rows[0][:prefix], *(row[prefix:] for row in rows)])
    plain = AutoModelForCausalLM.from_pretrained(other.folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        found = decoder.logits(decoder.run(decoder.embed(line[None]), packing)[0])
        expected = [plain(input_ids=row[None]).logits[0] for row in rows]
    whole = torch.cat([expected[0][:prefix], *(row[prefix:] for row in expected)])
    torch.testing.assert_close(found, whole, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_other_families_learn_and_their_results_load(
    other: BaseModel, task: Task, rows: list[Example], recipe: Recipe, tmp_path: Path, *, method: str
) -> None:
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    changes = ("lora.upper_layers=null", f"method={method}", "training.gradient_checkpointing=true")
    found = train(
        task=task,
        train_rows=rows,
        validation_rows=(),
        recipe=load_recipe(str(tmp_path / "recipe.json"), changes),
        base=other,
        run_folder=tmp_path / "run",
        progress=Silent(),
    )
    assert found.losses[-1] < found.losses[0]
    if method == "full":
        assert Decoder(found.folder).width == SHAPE["hidden_size"]
    else:
        merge_adapter(Decoder(other.folder), found.folder)
        names = (found.folder / "adapter_model.safetensors").read_bytes()[:20_000]
        assert b"vision" not in names


@pytest.mark.parametrize("prefix", [0, 9])
def test_whole_weights_compute_in_bfloat16_with_the_fused_attention(base: BaseModel, prefix: int) -> None:
    line = torch.arange(4, 44)[None]
    decoder = Decoder(base.folder)
    decoder.let_all_learn()
    packing = replace(pack(prefix, [12, 40 - 12 - prefix]), kernel="fused")
    exact = decoder.logits(decoder.run(decoder.embed(line), packing)[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = decoder.logits(decoder.run(decoder.embed(line), packing)[0])
    torch.autograd.backward(found.float().square().mean())
    assert found.dtype == torch.bfloat16
    assert (found - exact).abs().max() < 0.05 * exact.abs().max()
    assert all(weight.grad is not None for weight in decoder.model.parameters())
