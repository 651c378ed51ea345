"""The folder of a finished adapter: weights and config as PEFT reads them, model card, recipe, the run's numbers."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from safetensors.torch import save

from freehold.tuning._files import whole_folder
from freehold.tuning.card import Card, model_card
from freehold.tuning.curve import FILE as CURVE
from freehold.tuning.curve import loss_curve
from freehold.tuning.place import whole
from freehold.tuning.recipe import resolved_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from peft import LoraConfig
    from torch import Tensor

    from freehold.core.task import Task
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.checkpoint import Record
    from freehold.tuning.decoder import Decoder
    from freehold.tuning.recipe import Recipe

WEIGHTS, CONFIG, RUN = "adapter_model.safetensors", "adapter_config.json", "run.json"
SCHEMA = "freehold.run/1"
TOKENIZER = ("tokenizer", "special_tokens", "added_tokens", "vocab", "merges", "chat_template", "generation_config")
"""How the names of files begin that a whole model takes over from its base."""
Filler = Callable[["Path"], str]
"""Writes weights into a folder and returns their SHA-256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedAdapter:
    """A finished adapter and the numbers of its run."""

    folder: Path
    sha256: str
    """Of the weights' file."""
    examples: int
    """Rows it was trained on."""
    left_out: int
    """Rows that had more tokens than the recipe allows."""
    tokens: int
    """Tokens that passed through the adapted layers, all epochs."""
    seconds: float
    """Wall time from the first row read to the last step, over all sittings."""
    cpu_seconds: float
    final_loss: float
    """Mean loss of the last tenth of the steps."""
    losses: tuple[float, ...]
    """One per step: mean over the answer tokens of its batch."""
    validation_losses: tuple[float, ...]
    """One per epoch; empty without validation rows."""
    best_epoch: int | None
    """Epoch with the lowest validation loss, counted from 1."""
    method: str
    """What was learned and from what: `lora`, `qlora`, `full` or `dpo`."""
    peak_memory_bytes: int
    """Most that one device has held."""
    preference: tuple[dict[str, float | None], ...]
    """How the validation pairs stood before the first step and after each epoch; empty unless pairs were learned."""
    notes: tuple[str, ...]
    """What whoever reads the result should know."""


def adapter_filler(weights: Mapping[str, Tensor], config: LoraConfig) -> Filler:
    """Writes an adapter as PEFT reads it."""

    def fill(folder: Path) -> str:
        content = save({name: tensor.contiguous() for name, tensor in weights.items()}, {"format": "pt"})
        (folder / WEIGHTS).write_bytes(content)
        (folder / CONFIG).write_text(_json(_plain(config.to_dict())))
        return hashlib.sha256(content).hexdigest()

    return fill


def model_filler(weights: Mapping[str, Tensor], decoder: Decoder, base: BaseModel) -> Filler:
    """Writes a whole model as transformers reads it, with the tokenizer and template of its base."""

    def fill(folder: Path) -> str:
        kept = {name: tensor.contiguous() for name, tensor in weights.items()}
        missing = {name: tensor for name, tensor in decoder.model.state_dict().items() if name not in kept}
        tied = {name for name in missing if any(name.startswith(head) for head in decoder.tied)}
        everything = kept | {name: whole(tensor) for name, tensor in missing.items() if name not in tied}
        cast("Any", decoder.model).save_pretrained(folder, state_dict=everything)  # Any: transformers is not typed
        for file in sorted(base.folder.iterdir()):
            if file.name.startswith(TOKENIZER):
                shutil.copyfile(file, folder / file.name)
        hashes = []
        for file in sorted(folder.glob("*.safetensors")):
            with file.open("rb") as stream:
                hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    return fill


def write_result(
    folder: Path,
    fill: Filler,
    *,
    record: Record,
    recipe: Recipe,
    base: BaseModel,
    task: Task,
    examples: int,
    left_out: int,
    fingerprint: str,
) -> TrainedAdapter:
    """Write the folder whole, its weights by `fill`, and return what was written."""
    last = record.losses[-max(1, len(record.losses) // 10) :]
    with whole_folder(folder) as draft:
        adapter = TrainedAdapter(
            folder=folder,
            sha256=fill(draft),
            examples=examples,
            left_out=left_out,
            tokens=record.tokens,
            seconds=record.seconds,
            cpu_seconds=record.cpu_seconds,
            final_loss=sum(last) / len(last),
            losses=tuple(record.losses),
            validation_losses=tuple(record.validation_losses),
            best_epoch=record.best_epoch,
            method=recipe.method,
            peak_memory_bytes=record.peak_memory_bytes,
            preference=tuple(record.preference),
            notes=tuple(record.notes),
        )
        (draft / "recipe.yaml").write_text(resolved_yaml(recipe))
        (draft / CURVE).write_text(loss_curve(adapter.losses, adapter.validation_losses))
        (draft / "README.md").write_text(_model_card(adapter, recipe, base, task))
        (draft / RUN).write_text(_json(_run(adapter, base, task, fingerprint)))
    return adapter


def read_adapter(folder: Path, fingerprint: str) -> TrainedAdapter | None:
    """The finished adapter in a folder, if it was made by the run of this fingerprint."""
    if not (folder / RUN).exists():
        return None
    run = json.loads((folder / RUN).read_text())
    if run["fingerprint"] != fingerprint:
        return None
    names = TrainedAdapter.__dataclass_fields__
    values: dict[str, Any] = {name: run[name] for name in names if name != "folder"}  # Any: JSON
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return TrainedAdapter(folder=folder, **values)


def _run(adapter: TrainedAdapter, base: BaseModel, task: Task, fingerprint: str) -> dict[str, Any]:  # Any: JSON
    """The numbers of the run, without any path."""
    numbers = {name: getattr(adapter, name) for name in TrainedAdapter.__dataclass_fields__ if name != "folder"}
    return {
        "schema": SCHEMA,
        "task": task.name,
        "base": {"name": base.name, "hub_id": base.hub_id, "revision": base.revision},
        "fingerprint": fingerprint,
        **numbers,
    }


def _model_card(adapter: TrainedAdapter, recipe: Recipe, base: BaseModel, task: Task) -> str:
    """What the run itself can tell; `freehold models export` knows data and scores too."""
    numbers = {name: getattr(adapter, name) for name in TrainedAdapter.__dataclass_fields__}
    return model_card(Card(model=None, task=task, base=base, recipe=recipe, run=numbers, sha256=adapter.sha256))


def _plain(value: Any) -> Any:  # Any: PEFT's config holds sets and enumerations
    """The same value in what JSON knows."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, set):
        return sorted(value)
    return getattr(value, "value", value)


def _json(value: Any) -> str:  # Any: JSON
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
