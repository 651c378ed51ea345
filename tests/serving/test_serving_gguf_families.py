"""Bases of every family that can be written, against PyTorch, at every way to store them."""

from __future__ import annotations

import json
import re
import shutil
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from freehold.core.errors import InputError
from freehold.serving._gguf_tokenizer import _QWEN2_PATTERN, read_tokenizer
from freehold.serving._safetensors import StoredWeights, weight_files
from freehold.serving.cpu_engine import CpuEngine
from freehold.serving.gguf_export import GgufType, export_adapter, export_base, export_model
from tests.serving.test_serving_gguf_export import TorchModel, assert_same, engine_log_probabilities
from tests.tiny_model import LINES, VOCABULARY, make_tiny_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.serving.conftest import SaveAdapter, TinyModel

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
GEMMA = {"sliding_window": 8, "query_pre_attn_scalar": 32}
FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=None),
    "qwen2": lambda: Qwen2Config(**{key: SHAPE[key] for key in SHAPE if key != "head_dim"}, tie_word_embeddings=False),
    "qwen3": lambda: Qwen3Config(**SHAPE, tie_word_embeddings=True),
    "gemma3": lambda: Gemma3TextConfig(**SHAPE, **GEMMA),
}


def make_base(folder: Path, family: str) -> Path:
    """A random model of a family, its norms and biases away from what they are born with."""
    make_tiny_model(folder)
    if family == "gemma3":
        _write_pieces(folder)
    elif family.startswith("qwen"):
        _write_qwen(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = AutoModelForCausalLM.from_config(FAMILIES[family]())
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                # Gemma's norms add one to their weights; a bias is small beside what it is added to.
                mean = 1.0 if "norm" in name and family != "gemma3" else 0.0
                torch.nn.init.normal_(parameter, mean=mean, std=0.3 if "norm" in name else 0.1)
    model.save_pretrained(folder)
    return folder


def _write_qwen(folder: Path) -> None:
    """Cut as Qwen's tokenizers do, which also compose characters."""
    file = folder / "tokenizer.json"
    value = json.loads(file.read_text("utf-8"))
    cut = {"type": "Split", "pattern": {"Regex": _QWEN2_PATTERN}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    value["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [cut, level]}
    value["normalizer"] = {"type": "NFC"}
    file.write_text(json.dumps(value), "utf-8")


def _write_pieces(folder: Path) -> None:
    """A tokenizer as Gemma's: pieces with visible spaces, bytes for what it does not know, all ways to each piece."""
    template = (folder / "chat_template.jinja").read_text("utf-8")
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<0x{byte:02X}>" for byte in range(256))]
    text = "\u2581".join(LINES).replace(" ", "\u2581").replace("\n", "")
    pieces = list(dict.fromkeys(text))
    grams = chain.from_iterable((text[at : at + size] for at in range(len(text) - size)) for size in (2, 3, 4))
    for gram in dict.fromkeys(grams):
        splits = [(gram[:cut], gram[cut:]) for cut in range(1, len(gram))]
        if len(names) + len(pieces) < VOCABULARY and any(a in pieces and b in pieces for a, b in splits):
            pieces.append(gram)
    merges = [
        (piece[:cut], piece[cut:])
        for piece in pieces
        for cut in range(1, len(piece))
        if piece[:cut] in pieces and piece[cut:] in pieces
    ]
    vocabulary = {token: index for index, token in enumerate((*names, *pieces))}
    model = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<|endoftext|>", fuse_unk=True)
    )
    model.normalizer = normalizers.Replace(" ", "\u2581")
    model.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    model.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp(request.param) / "base", request.param)


def test_a_base_and_an_adapter_of_every_family_answer_as_in_pytorch(
    base: Path, tmp_path: Path, post: Callable[..., Any], save_adapter: SaveAdapter
) -> None:
    # Of half the usual scale: scores of attention in the hundreds lose their digits in 16-bit keys.
    folder = save_adapter(base, tmp_path / "adapter", seed=5, lora_alpha=4)
    adapter = export_adapter(folder, tmp_path / "adapter.gguf", base_folder=base)
    model = export_base(base, tmp_path / "base.gguf")
    with CpuEngine(model, adapters=[adapter], log_file=tmp_path / "log", threads=1) as engine:
        plain = assert_same(post, engine, None, TorchModel(base))
        adapted = assert_same(post, engine, adapter, TorchModel(base, folder))
        for text in (*LINES, "Straße\tund 12345 Ünïcödé 漢字 🙂  zwei", "a\nb\r\n\n c"):
            expected = AutoTokenizer.from_pretrained(base)(text, add_special_tokens=False).input_ids
            assert post(engine, "/tokenize", {"content": text})["tokens"] == expected
    assert plain != adapted


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_weights_in_fewer_bits_are_the_nearest_and_the_engine_reads_them(
    kind: GgufType, base: Path, tmp_path: Path, post: Callable[..., Any]
) -> None:
    whole = {tensor.name: tensor for tensor in GGUFReader(export_base(base, tmp_path / "whole.gguf")).tensors}
    target = export_base(base, tmp_path / "packed.gguf", kind=kind)
    tensors = GGUFReader(target).tensors
    assert [tensor.name for tensor in tensors] == list(whole)
    for tensor in tensors:
        expected = dequantize(whole[tensor.name].data, whole[tensor.name].tensor_type)
        found = dequantize(tensor.data, tensor.tensor_type)
        if tensor.tensor_type == GGMLQuantizationType.F32:
            np.testing.assert_array_equal(found, expected)
            continue
        is_end = tensor.name.startswith(("token_embd", "output"))
        assert tensor.tensor_type.name == ("Q8_0" if is_end else kind.upper())
        # One scale for 32 weights: a step is the largest of them over 127 or 8, and rounding errs by half of one.
        largest = np.abs(expected.reshape(-1, 32)).max(-1, keepdims=True)
        step = largest / (127 if tensor.tensor_type == GGMLQuantizationType.Q8_0 else 8)
        # The other end of four bits' range, 7 steps, is cut off a step earlier; F16 scales round in the fourth digit.
        allowed = step * (0.51 if tensor.tensor_type == GGMLQuantizationType.Q8_0 else 1.01)
        assert (np.abs(found - expected).reshape(-1, 32) <= allowed + 1e-4).all()
    reference = TorchModel(base)
    ids = reference.tokenizer(reference.prompt(), add_special_tokens=False).input_ids
    with CpuEngine(target, log_file=tmp_path / "log", threads=1) as engine:
        found = engine_log_probabilities(post, engine, None, ids, reference)
    assert np.abs(found - reference.log_probabilities(ids)).max() < {"q8_0": 0.05, "q4_0": 0.5}[kind]


def test_a_matrix_whose_rows_do_not_fill_blocks_stays_in_16_bits(tmp_path: Path, tiny: TinyModel) -> None:
    weights = StoredWeights(*weight_files(tiny.folder))
    odd = "model.layers.0.mlp.down_proj.weight"

    class Odd:
        shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({**weights.shapes, odd: (64, 40)})

        def read(self, name: str) -> Any:
            return np.ones((64, 40), np.float32) if name == odd else weights.read(name)

    reader = GGUFReader(export_model(tiny.folder, Odd(), tmp_path / "odd.gguf", kind="q4_0"))
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert (kinds["blk.0.ffn_down.weight"], kinds["blk.1.ffn_down.weight"]) == ("F16", "Q4_0")
    assert reader.fields["general.file_type"].contents() == 2


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (np.nan, "q8_0", "holds numbers that are not finite. The model is damaged."),
        (1e6, "f16", "has weights beyond ±65,504, which 16 bits of this kind cannot hold. Choose q8_0."),
    ],
)
def test_weights_that_do_not_fit_are_told_and_nothing_is_left(
    value: float, kind: GgufType, said: str, tmp_path: Path, tiny: TinyModel
) -> None:
    weights = StoredWeights(*weight_files(tiny.folder))

    class Spoilt:
        shapes = weights.shapes

        def read(self, name: str) -> Any:
            return weights.read(name) + (value if "down_proj" in name else 0)

    with pytest.raises(InputError, match=re.escape(said)):
        export_model(tiny.folder, Spoilt(), tmp_path / "spoilt.gguf", kind=kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("family", "change", "said"),
    [
        ("mistral", {"sliding_window": 7}, "sliding_window is 7, it must be null"),
        ("qwen3", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type 'yarn' cannot be exported; 'default' can."),
        ("gemma3", {"layer_types": ["full_attention"] * 6}, "not just each 6th layer has full attention"),
        ("gemma3", {"query_pre_attn_scalar": 256}, "query_pre_attn_scalar is not head_dim, 32"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping is set"),
        ("llama", {"quantization_config": {"bits": 4}}, "the weights are packed already"),
        ("llama", {"tie_word_embeddings": True, "hidden_size": None}, "lacks 'hidden_size'"),
        ("qwen2", {"architectures": ["Qwen2MoeForCausalLM"]}, "the architecture is 'Qwen2MoeForCausalLM'"),
    ],
)
def test_a_variant_that_llama_cpp_would_compute_otherwise_is_refused(
    family: str, change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    base = make_base(tmp_path / "base", family)
    config = json.loads((base / "config.json").read_text("utf-8")) | change
    kept = {key: value for key, value in config.items() if value is not None or key not in change}
    (base / "config.json").write_text(json.dumps(kept), "utf-8")
    with pytest.raises(InputError, match=re.escape(said)):
        export_base(base, tmp_path / "base.gguf")
    assert not (tmp_path / "base.gguf").exists()


def test_an_output_that_is_neither_there_nor_tied_is_told(tmp_path: Path, tiny: TinyModel) -> None:
    config = json.loads((tiny.folder / "config.json").read_text("utf-8"))
    folder = shutil.copytree(tiny.folder, tmp_path / "base")
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}), "utf-8")
    with pytest.raises(InputError, match=re.escape("lacks lm_head.weight, which its config.json does not tie")):
        export_base(folder, tmp_path / "base.gguf")


def test_pieces_that_could_be_merged_otherwise_are_refused(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "gemma3")
    file = base / "tokenizer.json"
    value = json.loads(file.read_text("utf-8"))
    value["model"]["merges"] = value["model"]["merges"][:-1]
    file.write_text(json.dumps(value), "utf-8")
    with pytest.raises(InputError, match="its merges lack a way to"):
        read_tokenizer(base, VOCABULARY)
