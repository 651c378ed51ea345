"""The state of an unfinished run in one safetensors file; no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from freehold.tuning._files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

FILE = "checkpoint.safetensors"


@dataclass(slots=True)
class Record:
    """What a run has to tell besides its weights."""

    steps: int = 0
    """Finished optimizer steps."""
    losses: list[float] = field(default_factory=list)
    """Mean loss over the answer tokens of each step's batch."""
    validation_losses: list[float] = field(default_factory=list)
    """One per finished epoch."""
    tokens: int = 0
    """Tokens that passed through the adapted layers."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    best_epoch: int | None = None
    """Counted from 1."""


def save_checkpoint(
    folder: Path,
    *,
    fingerprint: str,
    record: Record,
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    best: Mapping[str, Tensor],
) -> None:
    """Replace the run's checkpoint by the state of now."""
    tensors = {f"weight.{name}": weight.detach() for name, weight in weights.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    tensors["random"] = torch.get_rng_state()
    for name, weight in weights.items():
        moments = optimizer.state.get(weight, {})
        tensors |= {f"{kind}.{name}": moments[kind] for kind in ("exp_avg", "exp_avg_sq") if kind in moments}
    header = {"fingerprint": fingerprint, "record": json.dumps(asdict(record))}
    write_whole(folder / FILE, save({name: tensor.contiguous() for name, tensor in tensors.items()}, header))


def load_checkpoint(
    folder: Path, fingerprint: str, weights: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> tuple[Record, dict[str, Tensor]]:
    """Put the run's state back and return its record and best weights; a fresh record when there is none to use.

    A checkpoint of other data, another recipe or another base model is left aside: the run starts anew.
    """
    content = (folder / FILE).read_bytes() if (folder / FILE).exists() else b""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        tensors = load(content)
    except (ValueError, KeyError, SafetensorError):
        return Record(), {}
    if header.get("fingerprint") != fingerprint:
        return Record(), {}
    record = Record(**json.loads(header["record"]))
    for name, weight in weights.items():
        weight.data.copy_(tensors[f"weight.{name}"])
        if f"exp_avg.{name}" in tensors:
            optimizer.state[weight] = {
                "step": torch.tensor(float(record.steps)),
                "exp_avg": tensors[f"exp_avg.{name}"],
                "exp_avg_sq": tensors[f"exp_avg_sq.{name}"],
            }
    torch.set_rng_state(tensors["random"])
    return record, {name.removeprefix("best."): tensor for name, tensor in tensors.items() if name.startswith("best.")}
