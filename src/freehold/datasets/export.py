"""Writes examples in the formats in which other tools take training data."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.chat import Message
from freehold.core.errors import InputError
from freehold.datasets.hygiene import SPLITS
from freehold.datasets.read import stream_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from freehold.core.dataset import Dataset, Example
    from freehold.core.task import Split

Format = Literal["openai", "openai-dpo", "sharegpt", "alpaca", "trl", "csv", "parquet", "hf"]
FORMATS: tuple[Format, ...] = get_args(Format)
_CSV = ("id", "input", "output", "model_output", "split", "provenance", "group", "started_at", "weight")
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("split", pa.string()),
        ("provenance", pa.string()),
        ("group", pa.string()),
        ("started_at", pa.string()),
        ("rejected", pa.string()),
        ("weight", pa.float64()),
    ]
)
_BATCH_ROWS = 2_000
_FROM = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def export_examples(
    dataset: Dataset,
    split: Split,
    path: Path,
    *,
    form: Format = "openai",
    change: Callable[[Iterable[Example]], Iterable[Example]] = iter,
) -> int:
    """Write one side, or all of them into a folder (`hf`); what was there before stays if it fails.

    Args:
        dataset: Of which.
        split: Which side; `hf` writes all.
        path: The file, or for `hf` the folder.
        form: `openai`: `{"messages": [...]}` a line, the target as the assistant's last turn. `openai-dpo`: corrected
            answers alone, with the original as the one not preferred. `sharegpt`, `alpaca`, `trl` (prompt, completion),
            `csv`, `parquet`, `hf`: a folder that Hugging Face's `load_dataset` reads.
        change: What to do with the examples on the way, such as putting personal data back.

    Returns:
        The rows that were written.

    Raises:
        InputError: the dataset was changed, nothing fits the format, or the file cannot be written.

    Source: the fine-tuning guide of the OpenAI API; LLaMA-Factory's description of ShareGPT and Alpaca rows.
    """
    if form == "hf":
        return _write_folder(dataset, path, change)
    examples = change(stream_examples(dataset, split))
    with _replacing(path) as part:
        match form:
            case "csv":
                rows = _write_csv(examples, part)
            case "parquet":
                rows = _write_parquet(examples, part)
            case _:
                rows = _write_lines(examples, part, _LINES[form])
        if not rows and form == "openai-dpo":
            raise InputError(
                f"{dataset.id} has no corrected answer in its {split} split, so there is no pair to prefer. Collect "
                "corrections (freehold import of 'call_id' with 'output'), build again, or export as openai."
            )
    return rows


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write that takes the path's place once it is whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Name one in a folder that exists and has space."
        ) from error
    finally:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def _write_lines(examples: Iterable[Example], path: Path, line_of: Callable[[Example], dict[str, Any] | None]) -> int:
    rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            line = line_of(example)
            if line is not None:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                rows += 1
    return rows


def _openai(example: Example) -> dict[str, Any]:
    """Earlier turns of the assistant are shown and not learnt, which is what `weight: 0` says."""
    earlier = [turn.as_dict() | ({"weight": 0} if turn.role == "assistant" else {}) for turn in example.messages]
    return {"messages": [*earlier, {"role": "assistant", "content": example.target}]}


def _openai_dpo(example: Example) -> dict[str, Any] | None:
    if example.rejected is None:
        return None
    return {
        "input": {"messages": [turn.as_dict() for turn in example.messages]},
        "preferred_output": [{"role": "assistant", "content": example.target}],
        "non_preferred_output": [{"role": "assistant", "content": example.rejected}],
    }


def _sharegpt(example: Example) -> dict[str, Any]:
    return {
        "conversations": [
            {"from": _FROM[turn.role], "value": turn.content} for turn in _whole(example) if turn.role != "system"
        ],
        "system": example.messages[0].content,
    }


def _alpaca(example: Example) -> dict[str, Any]:
    """Earlier pairs of turns are the history; the last turn of the user is the input."""
    turns = example.messages[1:]
    said = [turn.content for turn in turns]
    is_paired = len(turns) % 2 == 1 and all(
        turn.role == ("user", "assistant")[place % 2] for place, turn in enumerate(turns)
    )
    history = [list(pair) for pair in zip(said[:-1:2], said[1::2], strict=True)] if is_paired else []
    asked = said[-1] if is_paired else "\n".join(f"{turn.role}: {turn.content}" for turn in turns)
    line = {"instruction": asked, "input": "", "output": example.target, "system": example.messages[0].content}
    return line | ({"history": history} if history else {})


def _trl(example: Example) -> dict[str, Any]:
    return {
        "prompt": [turn.as_dict() for turn in example.messages],
        "completion": [{"role": "assistant", "content": example.target}],
    }


_LINES: dict[str, Callable[[Example], dict[str, Any] | None]] = {
    "openai": _openai,
    "openai-dpo": _openai_dpo,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "trl": _trl,
}


def _whole(example: Example) -> tuple[Message, ...]:
    return (*example.messages, Message("assistant", example.target))


def _write_csv(examples: Iterable[Example], path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _CSV)
        writer.writeheader()
        for example in examples:
            turns = example.messages[1:]
            is_plain = len(turns) == 1 and not turns[0].content.lstrip().startswith(("[", "{"))
            asked = turns[0].content if is_plain else json.dumps([turn.as_dict() for turn in turns], ensure_ascii=False)
            writer.writerow(
                {
                    "id": example.id,
                    "input": asked,
                    "output": example.target,
                    "model_output": example.rejected or "",
                    "split": example.split,
                    "provenance": example.provenance,
                    "group": example.group,
                    "started_at": "" if example.started_at is None else example.started_at.isoformat(),
                    "weight": example.weight,
                }
            )
            rows += 1
    return rows


def _write_parquet(examples: Iterable[Example], path: Path) -> int:
    rows = 0
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []
        for example in examples:
            batch.append(_record(example))
            rows += 1
            if len(batch) == _BATCH_ROWS:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, _SCHEMA))
                batch.clear()
        writer.write_batch(pa.RecordBatch.from_pylist(batch, _SCHEMA))
    return rows


def _record(example: Example) -> dict[str, Any]:
    return {
        "id": example.id,
        "messages": [turn.as_dict() for turn in _whole(example)],
        "split": example.split,
        "provenance": example.provenance,
        "group": example.group,
        "started_at": None if example.started_at is None else example.started_at.isoformat(),
        "rejected": example.rejected,
        "weight": example.weight,
    }


def _write_folder(dataset: Dataset, path: Path, change: Callable[[Iterable[Example]], Iterable[Example]]) -> int:
    """Parquet by side and a page with front matter, as the Hugging Face hub keeps datasets."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: is there already. Name a folder that is not there yet, or an empty one.")
    rows = 0
    with _replacing(path) as part:
        (part / "data").mkdir(parents=True)
        page = io.StringIO()
        page.write("---\nconfigs:\n- config_name: default\n  data_files:\n")
        for split in SPLITS:
            name = f"data/{split}-00000-of-00001.parquet"
            rows += _write_parquet(change(stream_examples(dataset, split)), part / name)
            page.write(f"  - split: {split}\n    path: {name}\n")
        page.write(f"---\n\n# {dataset.id}\n\nTask `{dataset.task.name}`, SHA-256 `{dataset.sha256}`.\n")
        (part / "README.md").write_text(page.getvalue(), encoding="utf-8")
        if path.exists():
            path.rmdir()
    return rows
