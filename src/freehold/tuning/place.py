"""Where one process of a run stands: its device, its number among several, and how they share the work."""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import distributed
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from freehold.core.errors import InputError
from freehold.tuning.metrics import peak_memory_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from freehold.tuning.answers import AnswerLosses
    from freehold.tuning.decoder import Decoder
    from freehold.tuning.recipe import Devices, Recipe


@dataclass(frozen=True, slots=True)
class Place:
    """One process of a run."""

    device: torch.device
    rank: int = 0
    """Counted from 0."""
    world: int = 1
    """Processes of the run."""

    @property
    def leads(self) -> bool:
        """Whether this process writes what all of them have in common."""
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each number, added up over all processes."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total)
        return cast("list[float]", total.tolist())

    def gathered(self, value: object) -> list[Any]:  # Any: whatever was given
        """The value of each process, in the order of their numbers."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.world > 1:
            distributed.barrier()

    def peak_memory_bytes(self) -> int:
        """Most memory that this process has held so far: of its accelerator, or of the host."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return peak_memory_bytes()


@contextmanager
def taken_place(recipe: Recipe) -> Iterator[Place]:
    """This process' place: as torchrun says, or alone on the device of the recipe.

    Raises:
        InputError: the device of the recipe is not there.
    """
    kind = device_type(recipe.devices)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if world == 1:
        yield Place(torch.device(kind))
        return
    if kind == "cuda":
        torch.cuda.set_device(local)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo")
    try:
        yield Place(torch.device(kind, local) if kind == "cuda" else torch.device(kind), rank, world)
    finally:
        distributed.destroy_process_group()


def device_type(devices: Devices) -> str:
    """`cpu`, `cuda` or `mps`, found out where the recipe leaves it open.

    Raises:
        InputError: this machine has none, or too few, of what the recipe names.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = devices.type
    if kind == "auto":
        kind = "cuda" if there["cuda"] else "mps" if there["mps"] and devices.count == 1 else "cpu"
    if not there[kind]:
        found = ", ".join(name for name in there if there[name])
        raise InputError(
            f"devices.type is {kind!r}; this machine has {found}. Set devices.type={found.split(', ')[-1]}."
        )
    if kind == "mps" and devices.count > 1:
        raise InputError(f"devices.count is {devices.count}; mps is one device. Set devices.count=1.")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", devices.count))
    if kind == "cuda" and here > torch.cuda.device_count():
        raise InputError(
            f"devices.count is {devices.count}; this machine has {torch.cuda.device_count()} GPUs. Set devices.count "
            "to that, or start one process per GPU on several machines with torchrun."
        )
    return kind


def weights_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """What frozen weights are kept in: bfloat16 on an accelerator that computes so, float32 elsewhere."""
    reduced = recipe.precision == "bfloat16" and device.type != "cpu" and recipe.weights != "full"
    return torch.bfloat16 if reduced else torch.float32


def computing(recipe: Recipe, place: Place) -> AbstractContextManager[object]:
    """Products in bfloat16 over float32 weights that learn, where the device has them and nobody else casts."""
    if place.device.type == "cpu" or recipe.precision != "bfloat16" or recipe.weights != "full":
        return nullcontext()
    if place.world > 1 and recipe.devices.parallel == "fsdp":
        return nullcontext()
    return torch.autocast(place.device.type, dtype=torch.bfloat16)


def shared(losses: AnswerLosses, decoder: Decoder, recipe: Recipe, place: Place) -> nn.Module:
    """The pass as all processes make it together."""
    if place.world == 1:
        return losses
    if recipe.devices.parallel == "ddp":
        return DistributedDataParallel(losses, broadcast_buffers=False, find_unused_parameters=False)
    reduced = recipe.precision == "bfloat16" and place.device.type != "cpu"
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if reduced else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    offload: OffloadPolicy = CPUOffloadPolicy() if recipe.devices.cpu_offload else OffloadPolicy()
    for layer in decoder.layers:
        fully_shard(layer, mp_policy=policy, offload_policy=offload)
    fully_shard(losses, mp_policy=policy, offload_policy=offload)
    return losses


@contextmanager
def held_back(module: nn.Module, *, until_next: bool) -> Iterator[None]:
    """Let gradients add up in this process alone while the block runs, if more of the same step comes after it."""
    if isinstance(module, DistributedDataParallel):
        with module.no_sync() if until_next else nullcontext():
            yield
        return
    if hasattr(module, "set_requires_gradient_sync"):
        cast("Any", module).set_requires_gradient_sync(not until_next)  # Any: FSDP adds it to the class at run time
    yield


def whole(tensor: Tensor) -> Tensor:
    """A weight of which each process may hold a part, whole and in the host's memory. All processes must ask."""
    if hasattr(tensor, "full_tensor"):
        tensor = cast("Any", tensor).full_tensor()  # Any: only sharded tensors have it
    return tensor.detach().cpu()
