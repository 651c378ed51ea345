"""The folder of a finished adapter: weights and config as PEFT reads them, model card, recipe, the run's numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from safetensors.torch import save

from freehold.tuning._files import whole_folder
from freehold.tuning.recipe import resolved_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from peft import LoraConfig
    from torch import Tensor

    from freehold.core.task import Task
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.checkpoint import Record
    from freehold.tuning.recipe import Recipe

WEIGHTS, CONFIG, RUN = "adapter_model.safetensors", "adapter_config.json", "run.json"
SCHEMA = "freehold.run/1"


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


def write_adapter(
    folder: Path,
    *,
    weights: Mapping[str, Tensor],
    config: LoraConfig,
    record: Record,
    recipe: Recipe,
    base: BaseModel,
    task: Task,
    examples: int,
    left_out: int,
    fingerprint: str,
) -> TrainedAdapter:
    """Write the folder whole, and return what was written."""
    content = save({name: tensor.contiguous() for name, tensor in weights.items()}, {"format": "pt"})
    last = record.losses[-max(1, len(record.losses) // 10) :]
    adapter = TrainedAdapter(
        folder=folder,
        sha256=hashlib.sha256(content).hexdigest(),
        examples=examples,
        left_out=left_out,
        tokens=record.tokens,
        seconds=record.seconds,
        cpu_seconds=record.cpu_seconds,
        final_loss=sum(last) / len(last),
        losses=tuple(record.losses),
        validation_losses=tuple(record.validation_losses),
        best_epoch=record.best_epoch,
    )
    with whole_folder(folder) as draft:
        (draft / WEIGHTS).write_bytes(content)
        (draft / CONFIG).write_text(_json(_plain(config.to_dict())))
        (draft / "recipe.yaml").write_text(resolved_yaml(recipe))
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
    """A model card with the front matter that model hubs read."""
    front = {
        "base_model": base.hub_id,
        "library_name": "peft",
        "license": base.licence,
        "pipeline_tag": "text-generation",
        "tags": ["lora", "freehold", task.kind],
    }
    lora, training = recipe.lora, recipe.training
    layers = "all layers" if lora.upper_layers is None else f"the upper {lora.upper_layers} layers"
    validation = "none" if adapter.best_epoch is None else f"{min(adapter.validation_losses):.4f}"
    return f"""---
{yaml.safe_dump(front, sort_keys=True).strip()}
---

# {task.name}

A LoRA adapter for `{base.hub_id}` (revision `{base.revision or "unknown"}`) that does one task: {task.kind}.

It expects this system message, and the case as the user's turn:

> {task.own_prompt}

| training | |
| --- | --- |
| rows | {adapter.examples} (left out as too long: {adapter.left_out}) |
| epochs, batch, rate | {training.epochs}, {training.batch_size}, {training.learning_rate} |
| adapter | rank {lora.rank}, alpha {lora.alpha}, {layers} |
| final loss | {adapter.final_loss:.4f} |
| lowest validation loss | {validation} |
| weights, SHA-256 | `{adapter.sha256}` |

It was trained on answers only, in {recipe.precision}. `recipe.yaml` repeats the run on the same rows; `run.json` holds
its numbers. How good the answers are stands in the evaluation, not here.
"""


def _plain(value: Any) -> Any:  # Any: PEFT's config holds sets and enumerations
    """The same value in what JSON knows."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, set):
        return sorted(value)
    return getattr(value, "value", value)


def _json(value: Any) -> str:  # Any: JSON
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
