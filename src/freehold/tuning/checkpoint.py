"""The state of an unfinished run in safetensors files; no pickle. The one before is kept until the next is whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from freehold.tuning._files import FULL, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from freehold.tuning.place import Place

FILE, PREVIOUS, DAMAGED = "checkpoint.safetensors", "checkpoint.previous.safetensors", "checkpoint.damaged.safetensors"
PATTERN = "checkpoint*.safetensors"


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
    """Tokens that passed through the adapted layers, over all devices."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the leading process."""
    best_epoch: int | None = None
    """Counted from 1."""
    peak_memory_bytes: int = 0
    """Most that one device has held."""
    notes: list[str] = field(default_factory=list)
    """What whoever reads the result should know."""
    preference: list[dict[str, float | None]] = field(default_factory=list)
    """How the validation pairs stood before the first step and after each epoch; `dpo` alone."""


@dataclass(slots=True, kw_only=True)
class State:
    """Everything that a run changes as it goes on."""

    record: Record
    weights: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the best epoch so far; each process has its part of them."""


def save_checkpoint(folder: Path, fingerprint: str, state: State, place: Place, *, sharded: bool) -> None:
    """Put the state of now in the place of the newest checkpoint, and that in the place of the one before.

    All processes call it. Where they hold parts of the weights (`sharded`) each writes a file of its own.
    """
    if not (sharded or place.leads):
        return
    tensors = {f"weight.{name}": weight.detach() for name, weight in state.weights.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    for name, weight in state.weights.items():
        for key, value in state.optimizer.state.get(weight, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value if isinstance(value, torch.Tensor) else torch.tensor(value)
    tensors["random"] = torch.get_rng_state()
    if place.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(place.device)
    flat = _apart({name: _part(tensor).contiguous().cpu() for name, tensor in tensors.items()})
    header = {"fingerprint": fingerprint, "record": json.dumps(asdict(state.record)), "digest": _digest(flat)}
    path = folder / _name(FILE, place, sharded=sharded)
    with whole_file(path, keep=folder / _name(PREVIOUS, place, sharded=sharded)) as draft:
        _save(flat, draft, header)


def load_checkpoint(folder: Path, fingerprint: str, state: State, place: Place, *, sharded: bool) -> None:
    """Put back the newest state that is whole, in all processes; leave `state` as it is when there is none.

    A checkpoint of other data, another recipe or another base model is left alone. A damaged one is set aside, told
    in the notes, and the one before is taken.
    """
    found: dict[int, tuple[Record, dict[str, Tensor]]] = {}
    damaged = []
    for kind in (FILE, PREVIOUS):
        path = folder / _name(kind, place, sharded=sharded)
        if not path.exists():
            continue
        try:
            header, tensors = _read(path)
            if header["digest"] != _digest(tensors):
                raise ValueError("the contents do not have the digest that was written with them")
            record = Record(**json.loads(header["record"]))
        except (ValueError, KeyError, TypeError, SafetensorError):
            damaged.append(path)
            continue
        if header["fingerprint"] == fingerprint:
            found[record.steps] = record, tensors
    usable = set.intersection(*(set(steps) for steps in place.gathered(list(found))))
    steps = max(usable, default=None)
    if steps is not None:
        state.record, tensors = found[steps]
        _put_back(state, tensors, place)
    if any(place.gathered(bool(damaged))):
        went_on = "began anew" if steps is None else f"went on from step {steps}"
        state.record.notes.append(f"A checkpoint was damaged and set aside as {DAMAGED}; the run {went_on}.")
    if sharded or place.leads:
        for path in damaged:
            path.replace(folder / _name(DAMAGED, place, sharded=sharded))


def remove_checkpoints(folder: Path) -> None:
    """Forget the state of a run that is finished."""
    for path in folder.glob(PATTERN):
        path.unlink()


def _put_back(state: State, tensors: dict[str, Tensor], place: Place) -> None:
    state.best = {
        name.removeprefix("best."): tensor.to(place.device)
        for name, tensor in tensors.items()
        if name.startswith("best.")
    }
    with torch.no_grad():
        for name, weight in state.weights.items():
            _part(weight).copy_(tensors[f"weight.{name}"])
    moments: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, key, weight_name = name.split(".", 2)
            moments.setdefault(weight_name, {})[key] = tensor
    for name, values in moments.items():
        weight = state.weights[name]
        state.optimizer.state[weight] = {key: _moment(key, value, weight) for key, value in values.items()}
    torch.set_rng_state(tensors["random"])
    if "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"], place.device)


def _moment(key: str, value: Tensor, weight: nn.Parameter) -> Any:  # Any: an optimizer keeps numbers and tensors
    """One value of an optimizer's state as it was before it was written."""
    if key == "step":
        return value if value.is_floating_point() else int(value)
    if hasattr(weight, "to_local") and value.shape == _part(weight).shape:
        whole = torch.zeros_like(weight, dtype=value.dtype)
        _part(whole).copy_(value)
        return whole
    return value.to(weight.device)


def _part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    held = cast("Any", tensor).to_local() if hasattr(tensor, "to_local") else tensor  # Any: sharded tensors alone
    return cast("Tensor", held).detach()


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each with contents of its own: an optimizer may keep one table for all weights."""
    seen = set[int]()
    found = {}
    for name, tensor in tensors.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


def _name(kind: str, place: Place, *, sharded: bool) -> str:
    if not sharded:
        return kind
    return kind.replace(".safetensors", f".{place.rank + 1:05}-of-{place.world:05}.safetensors")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping


def _save(tensors: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Write the file; safetensors tells of a full disk in words alone."""
    try:
        save_file(tensors, path, header)
    except SafetensorError as error:
        number = next((number for number in FULL if f"os error {number})" in str(error)), None)
        if number is None:
            raise
        raise OSError(number, str(error)) from error


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names and contents."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        found.update(name.encode())
        contents: Any = (
            tensors[name].flatten().view(torch.uint8).numpy()
        )  # Any: numpy does not tell that it is a buffer
        found.update(contents)
    return found.hexdigest()
