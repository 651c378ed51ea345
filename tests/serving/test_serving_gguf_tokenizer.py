from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from freehold.core.errors import InputError
from freehold.serving._gguf_tokenizer import _LLAMA3_PATTERN, _QWEN2_PATTERN, read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freehold.serving.cpu_engine import CpuEngine
    from tests.serving.conftest import TinyModel

VOCABULARY = 448
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def split(pattern: str) -> dict[str, Any]:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, {**BYTE_LEVEL, "use_regex": False}]}


@pytest.fixture
def folder(tiny: TinyModel, tmp_path: Path) -> Path:
    return shutil.copytree(tiny.folder, tmp_path / "base")


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(file.read_text(encoding="utf-8"))
    change(value)
    file.write_text(json.dumps(value), encoding="utf-8")


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_the_engine_cuts_any_text_as_hugging_face_does(
    tiny: TinyModel, engine: CpuEngine, post: Callable[..., Any], text: str
) -> None:
    expected = AutoTokenizer.from_pretrained(tiny.folder)(text, add_special_tokens=False).input_ids
    assert post(engine, "/tokenize", {"content": text, "parse_special": True})["tokens"] == expected


def test_a_smollm_tokenizer_is_recognised(folder: Path) -> None:
    tokenizer = read_tokenizer(folder, VOCABULARY)
    assert tokenizer.cut == "smollm"
    assert tokenizer.tokens[:3] == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert tokenizer.types[:4] == (3, 3, 3, 1)
    assert tokenizer.special_ids == {"bos": 1, "eos": 2, "unk": 0, "pad": 2}
    assert all(merge.count(" ") == 1 for merge in tokenizer.merges)


@pytest.mark.parametrize(
    ("rule", "ignore_merges", "name"),
    [
        (BYTE_LEVEL, False, "gpt-2"),
        (split(_LLAMA3_PATTERN), True, "llama-bpe"),
        (split(_QWEN2_PATTERN), False, "qwen2"),
    ],
)
def test_other_ways_to_cut_text_are_recognised(
    rule: dict[str, Any], ignore_merges: bool, name: str, folder: Path
) -> None:
    def change(value: dict[str, Any]) -> None:
        value["pre_tokenizer"] = rule
        value["model"]["ignore_merges"] = ignore_merges

    edit(folder / "tokenizer.json", change)
    assert read_tokenizer(folder, VOCABULARY).cut == name


@pytest.mark.parametrize(
    ("part", "value", "found"),
    [
        ("pre_tokenizer", None, "it cuts text by a rule that is not known here"),
        ("pre_tokenizer", split(_LLAMA3_PATTERN), "it cuts text by a rule that is not known here"),
        ("pre_tokenizer", split(r"\d"), "it cuts text by a rule that is not known here"),
        ("normalizer", {"type": "NFKC"}, "it normalises text ('NFKC')"),
        ("model", {"type": "Unigram"}, "its model is 'Unigram'"),
        ("model", {"type": "BPE", "byte_fallback": True}, "its model is 'BPE' with byte fallback"),
    ],
)
def test_a_tokenizer_that_llama_cpp_would_misread_is_refused(
    part: str, value: object, found: str, folder: Path
) -> None:
    file = folder / "tokenizer.json"
    edit(file, lambda tokenizer: tokenizer.update({part: value}))
    with pytest.raises(InputError) as caught:
        read_tokenizer(folder, VOCABULARY)
    assert str(caught.value) == (
        f"{file}: {found}. The GGUF export knows byte-level BPE cut as in GPT-2, SmolLM, Llama 3 and Qwen 2, "
        "and pieces as in Gemma; put the base's own GGUF beside it as base.gguf instead."
    )


def test_added_words_and_rows_without_a_token_keep_their_kind(folder: Path) -> None:
    added = {"id": VOCABULARY, "content": "FREEHOLD", "special": False}
    edit(folder / "tokenizer.json", lambda tokenizer: tokenizer["added_tokens"].append(added))
    tokenizer = read_tokenizer(folder, VOCABULARY + 2)
    assert tokenizer.tokens[-2:] == ("FREEHOLD", f"[PAD{VOCABULARY + 1}]")
    assert tokenizer.types[-2:] == (4, 5)


def test_merges_written_as_text_and_tokens_written_as_objects_are_read(folder: Path) -> None:
    expected = read_tokenizer(folder, VOCABULARY)

    def as_text(value: dict[str, Any]) -> None:
        value["model"]["merges"] = [" ".join(merge) for merge in value["model"]["merges"]]

    edit(folder / "tokenizer.json", as_text)
    edit(folder / "tokenizer_config.json", lambda value: value.update(eos_token={"content": "<|im_end|>"}))
    assert read_tokenizer(folder, VOCABULARY) == expected


def test_only_the_token_that_ends_an_answer_is_needed(folder: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    from freehold.serving.gguf_export import export_base

    file = folder / "tokenizer_config.json"
    edit(file, lambda value: [value.pop(f"{name}_token") for name in ("bos", "unk", "pad")])
    fields = GGUFReader(export_base(folder, tmp_path / "base.gguf")).fields
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 2
    assert not {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.padding_token_id"} & fields.keys()
    edit(file, lambda value: value.pop("eos_token"))
    with pytest.raises(InputError) as caught:
        read_tokenizer(folder, VOCABULARY)
    assert str(caught.value) == f"{file}: eos_token is missing, so no answer would ever end."


def test_the_chat_template_may_stand_in_the_settings_and_must_stand_somewhere(folder: Path) -> None:
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    assert read_tokenizer(folder, VOCABULARY).chat_template == template
    (folder / "chat_template.jinja").unlink()
    edit(folder / "tokenizer_config.json", lambda value: value.update(chat_template="{{ messages }}"))
    assert read_tokenizer(folder, VOCABULARY).chat_template == "{{ messages }}"
    edit(folder / "tokenizer_config.json", lambda value: value.pop("chat_template"))
    with pytest.raises(InputError) as caught:
        read_tokenizer(folder, VOCABULARY)
    assert str(caught.value) == (
        f"{folder} has no chat template (chat_template.jinja). Choose an instruction-tuned base."
    )
