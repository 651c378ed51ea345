"""Base and adapter as one set of weights: the same numbers that PEFT has."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.tuning.merge import INDEX, MergedWeights, WeightType, write_merged
from tests.tiny_model import make_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it
WHOLE = 2**40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("merge") / "base")


def make_adapter(base: Path, folder: Path, **lora: Any) -> Path:  # Any: options of LoRA
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **lora}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**settings))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def merged_by_peft(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return dict(PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True, "r": 8},
        {"rank_pattern": {"q_proj": 2, r"layers\.1\..*down_proj": 6}, "alpha_pattern": {"q_proj": 5}},
        {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [2, 3]},
    ],
    ids=["plain", "rank-stabilised", "patterns", "upper layers"],
)
def test_merged_weights_are_those_of_peft_bit_for_bit(options: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter", **options)
    expected = merged_by_peft(folder, adapter)
    weights = MergedWeights(folder, adapter)

    write_merged(weights, tmp_path, kind="f32", shard_bytes=WHOLE, progress=Silent())

    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() | {"lm_head.weight"} == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    changed = [name for name in found if not torch.equal(found[name], load_file(folder / "model.safetensors")[name])]
    assert len(changed) == (4 if "layers_to_transform" in options else 28)


@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("f16", torch.float16)])
def test_narrower_numbers_are_the_merged_ones_rounded_once(
    kind: WeightType, dtype: torch.dtype, folder: Path, tmp_path: Path
) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter")
    expected = merged_by_peft(folder, adapter)

    write_merged(MergedWeights(folder, adapter), tmp_path, kind=kind, shard_bytes=WHOLE, progress=Silent())

    found = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(found[name], expected[name].to(dtype)) for name in found)


def test_a_base_in_16_bits_is_merged_in_32(folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(folder, tmp_path / "base")
    half = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(half, base / "model.safetensors", {"format": "pt"})
    adapter = make_adapter(folder, tmp_path / "adapter")
    weights = MergedWeights(base, adapter)

    assert weights.stored_as == "bf16"
    expected = merged_by_peft(base, adapter)
    assert all(torch.equal(weights.read(name), expected[name]) for name in weights.shapes)


def test_several_files_hold_together_what_one_would(folder: Path, tmp_path: Path) -> None:
    weights = MergedWeights(folder)
    files = write_merged(weights, tmp_path, kind="f32", shard_bytes=100_000, progress=Silent())

    index = json.loads((tmp_path / INDEX).read_text("utf-8"))
    found = {name: tensor for file in files for name, tensor in load_file(file).items()}
    assert len(files) > 3
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    assert {name: (tmp_path / file).name for name, file in index["weight_map"].items()} == index["weight_map"]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in found.values())
    assert all(torch.equal(found[name], weights.read(name)) for name in weights.shapes)
    shutil.copyfile(folder / "config.json", tmp_path / "config.json")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], weights.read(name)) for name in weights.shapes)


def test_files_that_are_whole_are_not_written_again_and_a_cut_one_is(folder: Path, tmp_path: Path) -> None:
    weights = MergedWeights(folder)
    files = write_merged(weights, tmp_path, kind="f32", shard_bytes=100_000, progress=Silent())
    content = [file.read_bytes() for file in files]
    files[1].write_bytes(content[1][:-1])
    before = [file.stat().st_mtime_ns for file in files]

    write_merged(weights, tmp_path, kind="f32", shard_bytes=100_000, progress=Silent())

    assert [file.read_bytes() for file in files] == content
    again = [file.stat().st_mtime_ns for file in files]
    assert [old == new for old, new in zip(before, again, strict=True)] == [at != 1 for at in range(len(files))]


def test_what_one_tensor_needs_is_all_that_is_read_at_a_time(folder: Path, tmp_path: Path) -> None:
    """The largest piece that reaches the disk at once is one tensor: the writer holds no more."""
    read: list[str] = []
    weights = MergedWeights(folder)
    whole = weights.read
    sizes: list[int] = []

    def watched(name: str) -> torch.Tensor:
        (draft,) = tmp_path.glob(".model.safetensors.partial")
        sizes.append(draft.stat().st_size)
        read.append(name)
        return whole(name)

    weights.read = watched  # type: ignore[method-assign]
    write_merged(weights, tmp_path, kind="f32", shard_bytes=WHOLE, progress=Silent())

    assert read == list(weights.shapes)
    assert sizes == sorted(sizes)
    assert sizes[-1] > 600_000


def edited(adapter: Path, change: dict[str, Any]) -> Path:  # Any: JSON
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | change), "utf-8")
    return adapter


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "use_dora is set. Only LoRA factors of linear layers can be merged."),
        ({"peft_type": "IA3"}, "peft_type is 'IA3', it must be 'LORA'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save names ['lm_head'], it must be empty"),
        ({"bias": "lora_only", "fan_in_fan_out": True}, "fan_in_fan_out is set; bias is 'lora_only'"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(change: dict[str, Any], said: str, folder: Path, tmp_path: Path) -> None:
    adapter = edited(make_adapter(folder, tmp_path / "adapter"), change)
    with pytest.raises(InputError) as caught:
        MergedWeights(folder, adapter)
    assert said in str(caught.value)


def test_an_adapter_of_another_base_is_refused_by_its_module(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter", target_modules=["down_proj"], layers_to_transform=[3])
    file = adapter / "adapter_model.safetensors"
    name = "base_model.model.model.layers.{}.mlp.down_proj.lora_{}.weight"
    for layer, width, said in ((3, 100, "has one of 64 x 128"), (9, 128, "has no such layer")):
        save_file({name.format(layer, "A"): torch.zeros(4, width), name.format(layer, "B"): torch.zeros(64, 4)}, file)
        with pytest.raises(InputError) as caught:
            MergedWeights(folder, adapter)
        assert str(caught.value) == (
            f"{file}: module 'model.layers.{layer}.mlp.down_proj' of 64 x {width} does not fit: the base {said}. "
            "The adapter belongs to another base, or to another revision of it."
        )


def test_an_adapter_of_a_matrix_that_the_base_uses_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    name = "base_model.model.lm_head.lora_{}.weight"
    save_file({name.format("A"): torch.zeros(4, 64), name.format("B"): torch.zeros(448, 4)}, file)
    with pytest.raises(InputError, match="shares between its first and its last layer"):
        MergedWeights(folder, adapter)


def test_a_weight_that_16_bits_cannot_hold_is_told_and_no_file_is_left(folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(folder, tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = 1e5
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="has a weight that f16 cannot hold"):
        write_merged(MergedWeights(base), tmp_path, kind="f16", shard_bytes=WHOLE, progress=Silent())
    assert not (tmp_path / "model.safetensors").exists()


def test_files_that_are_missing_or_damaged_are_told(folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(folder, tmp_path / "base")
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="is no safetensors file, or is damaged"):
        MergedWeights(base)
    file.unlink()
    with pytest.raises(InputError, match=r"has no model\*\.safetensors"):
        MergedWeights(base)
