"""Writes examples in the format in which hosted services take training data."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from freehold.core.chat import Message
from freehold.core.errors import InputError
from freehold.datasets.read import read_examples

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.dataset import Dataset
    from freehold.core.task import Split


def export_examples(dataset: Dataset, split: Split, path: Path) -> int:
    """Write one side as chat JSONL, `{"messages": [...]}` a line; the target is the assistant's last turn.

    Returns:
        The rows that were written.

    Raises:
        InputError: the dataset was changed, or the file cannot be written; what was there before stays then.

    Source: the fine-tuning guide of the OpenAI API, which other services follow.
    """
    lines = [
        json.dumps(
            {"messages": [turn.as_dict() for turn in (*example.messages, Message("assistant", example.target))]},
            ensure_ascii=False,
        )
        for example in read_examples(dataset, split)
    ]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Name one in a folder that exists and has space."
        ) from error
    return len(lines)
