from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from freehold.core.errors import InputError
from freehold.serving.cpu_engine import CpuEngine
from freehold.serving.gguf_export import export_adapter, export_base

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.serving.conftest import SaveAdapter, TinyModel

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it

MESSAGES = [
    {"role": "system", "content": "Name the topic of the customer's message."},
    {"role": "user", "content": "My card 1234 was swallowed at Harbour Street, bitte helfen Sie mir!"},
]
STEPS = 3


class TorchModel:
    """The reference: PyTorch on the folders that were exported."""

    def __init__(self, base: Path, adapter: Path | None = None) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        if adapter is not None:
            self.model = PeftModel.from_pretrained(self.model, adapter)
        self.tokenizer = AutoTokenizer.from_pretrained(base)

    def prompt(self) -> str:
        return str(self.tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True))

    def log_probabilities(self, ids: list[int]) -> NDArray[np.float32]:
        with torch.no_grad():
            scores = torch.log_softmax(self.model(torch.tensor([ids])).logits[0, -1], -1)  # [vocabulary]
        values: NDArray[np.float32] = scores.numpy()
        return values


def engine_log_probabilities(
    post: Callable[..., Any], engine: CpuEngine, adapter: Path | None, ids: list[int], reference: TorchModel
) -> NDArray[np.float32]:
    vocabulary = reference.model.config.vocab_size
    body = {
        "prompt": ids,
        "lora": engine.lora(adapter),
        "n_predict": 1,
        "n_probs": vocabulary,
        # What is drawn does not matter, but llama.cpp shows probabilities of whole characters only.
        "logit_bias": [[reference.tokenizer.convert_tokens_to_ids("a"), 1000.0]],
    }
    answer = post(engine, "/completion", body)
    values = np.full(vocabulary, np.nan, dtype=np.float32)
    for token in answer["completion_probabilities"][0]["top_logprobs"]:
        values[token["id"]] = token["logprob"]
    return values


def assert_same(post: Callable[..., Any], engine: CpuEngine, adapter: Path | None, reference: TorchModel) -> list[int]:
    """Every token has the same log-probability at each of the first greedy steps. Returns these."""
    rendered = post(engine, "/apply-template", {"messages": MESSAGES})["prompt"]
    assert rendered == reference.prompt()
    ids = reference.tokenizer(rendered, add_special_tokens=False).input_ids
    cut = post(engine, "/tokenize", {"content": rendered, "parse_special": True, "add_special": True})
    assert cut["tokens"] == ids
    for _ in range(STEPS):
        expected = reference.log_probabilities(ids)
        found = engine_log_probabilities(post, engine, adapter, ids, reference)
        # The base is stored as F16, three digits of a weight, and the cache of keys and values too.
        np.testing.assert_allclose(found, expected, atol=0.01)
        ids = [*ids, int(expected.argmax())]
    greedy: list[int] = ids[-STEPS:]
    return greedy


def test_base_and_adapters_answer_as_in_pytorch_in_any_order(
    tiny: TinyModel, engine: CpuEngine, post: Callable[..., Any]
) -> None:
    one, two = tiny.adapters_gguf
    references = {
        None: TorchModel(tiny.folder),
        one: TorchModel(tiny.folder, tiny.adapter_folders[0]),
        two: TorchModel(tiny.folder, tiny.adapter_folders[1]),
    }
    order = (None, one, two, one, None, two)
    greedy = [assert_same(post, engine, adapter, references[adapter]) for adapter in order]
    assert len({tuple(tokens) for tokens in greedy}) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True, "r": 8},
        {"rank_pattern": {"q_proj": 2, r"layers\.1\..*down_proj": 6}, "alpha_pattern": {"q_proj": 5}},
        {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [2, 3]},
    ],
    ids=["rank-stabilised", "patterns", "upper layers"],
)
def test_every_way_to_scale_an_adapter_is_carried_over(
    options: dict[str, Any],
    tiny: TinyModel,
    tmp_path: Path,
    post: Callable[..., Any],
    save_adapter: SaveAdapter,
) -> None:
    folder = save_adapter(tiny.folder, tmp_path / "adapter", seed=3, **options)
    adapter = export_adapter(folder, tmp_path / "adapter.gguf", base_folder=tiny.folder)
    with CpuEngine(tiny.base_gguf, adapters=[adapter], log_file=tmp_path / "log", threads=1) as engine:
        assert_same(post, engine, adapter, TorchModel(tiny.folder, folder))


def test_a_base_of_another_make_answers_as_in_pytorch(
    tiny: TinyModel, tmp_path: Path, post: Callable[..., Any]
) -> None:
    base = shutil.copytree(tiny.folder, tmp_path / "base")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config.update(tie_word_embeddings=False, attention_bias=True, head_dim=32, dtype="bfloat16")
    config["rope_parameters"] = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.5)
    model.to(torch.bfloat16).save_pretrained(base)
    target = export_base(base, tmp_path / "base.gguf")
    with CpuEngine(target, log_file=tmp_path / "log", threads=1) as engine:
        assert_same(post, engine, None, TorchModel(base))


def test_an_adapter_file_says_what_it_is(tiny: TinyModel) -> None:
    fields = GGUFReader(tiny.adapters_gguf[0]).fields
    assert fields["general.type"].contents() == "adapter"
    assert fields["adapter.type"].contents() == "lora"
    assert fields["adapter.lora.alpha"].contents() == 8.0
    assert fields["general.architecture"].contents() == "llama"


def test_exporting_twice_gives_the_same_bytes_and_leaves_nothing_else(tiny: TinyModel, tmp_path: Path) -> None:
    target = tmp_path / "base.gguf"
    assert export_base(tiny.folder, target).read_bytes() == tiny.base_gguf.read_bytes()
    assert export_base(tiny.folder, target).read_bytes() == tiny.base_gguf.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["base.gguf"]


def test_a_failed_export_leaves_the_older_file(tiny: TinyModel, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.adapter_folders[0], tmp_path / "adapter")
    target = tmp_path / "adapter.gguf"
    target.write_bytes(b"older")
    weights = load_file(folder / "adapter_model.safetensors")
    weights["base_model.model.lm_head.lora_A.weight"] = torch.zeros(4, 64)
    weights["base_model.model.lm_head.lora_B.weight"] = torch.zeros(448, 4)
    weights["base_model.model.model.layers.0.self_attn.rotary.lora_A.weight"] = torch.zeros(4, 64)
    weights["base_model.model.model.layers.0.self_attn.rotary.lora_B.weight"] = torch.zeros(64, 4)
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(InputError) as caught:
        export_adapter(folder, target, base_folder=tiny.folder)
    assert str(caught.value) == (
        f"{folder}: module 'model.layers.0.self_attn.rotary' has no place in llama.cpp's Llama."
    )
    assert target.read_bytes() == b"older"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter", "adapter.gguf"]


def test_a_target_that_cannot_be_written_is_told(tiny: TinyModel, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "adapter.gguf"
    with pytest.raises(InputError) as caught:
        export_adapter(tiny.adapter_folders[0], target, base_folder=tiny.folder)
    assert str(caught.value) == (
        f"{target} cannot be written: No such file or directory. Free some space or choose another folder."
    )


def test_all_that_a_gguf_adapter_cannot_carry_is_told_at_once(tiny: TinyModel, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.adapter_folders[0], tmp_path / "adapter")
    config = {"peft_type": "IA3", "use_dora": True, "bias": "all", "modules_to_save": ["lm_head"]}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        export_adapter(folder, tmp_path / "adapter.gguf", base_folder=tiny.folder)
    assert str(caught.value) == (
        f"{folder / 'adapter_config.json'}: peft_type is 'IA3', it must be 'LORA'; "
        "lora_alpha is None, it must be above 0; use_dora is set; bias is 'all', it must be 'none'; "
        "modules_to_save names ['lm_head'], it must be empty. "
        "A GGUF adapter holds LoRA factors and nothing else."
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architectures": ["GemmaForCausalLM"]},
            "the architecture is 'GemmaForCausalLM'; the CPU engine's export",
        ),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type 'yarn' cannot be exported; 'llama3' can."),
        ({"vocab_size": 100}, "has token 447, but the model has only 100 embeddings"),
    ],
)
def test_a_base_that_llama_cpp_would_misread_is_refused(
    change: dict[str, Any], message: str, tiny: TinyModel, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny.folder, tmp_path / "base")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        export_base(base, tmp_path / "base.gguf")
    assert message in str(caught.value)
    assert not (tmp_path / "base.gguf").exists()


def test_older_configurations_name_the_rotary_frequency_elsewhere(tiny: TinyModel, tmp_path: Path) -> None:
    base = shutil.copytree(tiny.folder, tmp_path / "base")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    del config["rope_parameters"], config["head_dim"], config["architectures"]
    config.update(rope_theta=1234.0, architectures=["LlamaForCausalLM"], rope_scaling=None)
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    fields = GGUFReader(export_base(base, tmp_path / "base.gguf")).fields
    assert fields["llama.rope.freq_base"].contents() == 1234.0
    assert fields["llama.attention.key_length"].contents() == 16


def test_a_stored_copy_of_tied_embeddings_is_left_out(tiny: TinyModel, tmp_path: Path) -> None:
    base = shutil.copytree(tiny.folder, tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].to(torch.float16)
    save_file(weights, base / "model.safetensors")
    assert export_base(base, tmp_path / "base.gguf").read_bytes() == tiny.base_gguf.read_bytes()


def test_weights_that_are_missing_damaged_or_of_another_kind_are_told(tiny: TinyModel, tmp_path: Path) -> None:
    base = shutil.copytree(tiny.folder, tmp_path / "base")
    file = base / "model.safetensors"
    whole = file.read_bytes()

    def message() -> str:
        with pytest.raises(InputError) as caught:
            export_base(base, tmp_path / "base.gguf")
        return str(caught.value)

    file.write_bytes(whole[:-100])
    assert message() == f"{file} ends in the middle of tensor 'model.norm.weight'. Make it again."
    file.write_bytes(b"\x10\0\0\0\0\0\0\0not JSON at all.")
    assert message() == f"{file} is no safetensors file, or is damaged. Make it again."
    save_file({"model.norm.weight": torch.ones(64, dtype=torch.int64)}, file)
    assert message() == f"{file} holds I64 numbers; F32, F16 and BF16 can be exported."
    file.unlink()
    assert message() == f"{base} has no model*.safetensors; the export reads weights as safetensors alone."
    file.mkdir()
    assert message() == f"{file} cannot be read: Is a directory."


def test_an_adapter_with_half_a_factor_or_something_else_is_told(tiny: TinyModel, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.adapter_folders[0], tmp_path / "adapter")
    file = folder / "adapter_model.safetensors"
    module = "base_model.model.model.layers.0.self_attn.q_proj"

    def message() -> str:
        with pytest.raises(InputError) as caught:
            export_adapter(folder, tmp_path / "adapter.gguf", base_folder=tiny.folder)
        return str(caught.value)

    save_file({f"{module}.lora_A.weight": torch.zeros(4, 64)}, file)
    assert message() == (
        f"{file}: module 'model.layers.0.self_attn.q_proj' lacks one of its two LoRA factors; it is damaged."
    )
    save_file({f"{module}.lora_magnitude_vector": torch.zeros(4)}, file)
    assert message() == f"{file}: tensor '{module}.lora_magnitude_vector' is no LoRA factor of a linear layer."
    save_file({}, file)
    assert message() == f"{file}: it holds no LoRA factors."
    (folder / "adapter_config.json").write_text("[]", encoding="utf-8")
    assert message() == f"{folder / 'adapter_config.json'} holds list; a JSON object is expected."
    (folder / "adapter_config.json").write_text("{", encoding="utf-8")
    assert message().startswith(f"{folder / 'adapter_config.json'} is not JSON: ")
    (folder / "adapter_config.json").unlink()
    assert message() == f"{folder / 'adapter_config.json'} cannot be read: No such file or directory."
