"""A GGUF file made into a Hugging Face folder: weights as float32, tokenizer, chat template."""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

if TYPE_CHECKING:
    from pathlib import Path

logging.disable_progress_bar()


def convert(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF file into a folder in Hugging Face's form."""
    with redirect_stderr(StringIO()):  # transformers draws a bar here that cannot be switched off
        tokenizer, model = _read(gguf)
    tokenizer.save_pretrained(folder)
    model.config.__dict__.pop("_model_name_or_path", None)  # the file's title, which is no hub id
    model.save_pretrained(folder, safe_serialization=True)


def _read(gguf: Path) -> tuple[Any, Any]:  # Any: transformers is not typed here
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    _cut_digits(tokenizer, gguf)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        local_files_only=True,
    )
    return tokenizer, model


def _cut_digits(tokenizer: Any, gguf: Path) -> None:  # Any: transformers is not typed here
    """Split numbers into single digits where the model was trained so; the conversion forgets it.

    Source: the rule `smollm` among llama.cpp's pre-tokenizers, which the file names in `tokenizer.ggml.pre`.
    """
    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
