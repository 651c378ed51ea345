"""What a plan is made from beside the rows: the base's shape, and the device with its price."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.economics.decoder import model_from_config
from freehold.economics.facts import hardware, known_hardware, model_facts
from freehold.economics.rentals import rental
from freehold.economics.tuning_memory import USABLE_MEMORY
from freehold.tuning.forecast import machine_name
from freehold.tuning.plan import Machine

if TYPE_CHECKING:
    from datetime import date

    from freehold.economics.decoder import ModelFacts
    from freehold.economics.scenario import Rental
    from freehold.tuning.recipe import Recipe

PROCESSOR_SHARE = 0.95
"""Of the memory that is free now, what a run may take."""

RENTED_PROCESSOR, RENTED_THREADS = "cpu-2vcpu", 2
"""The machine whose dated price a processor is valued at, by threads."""

SMI_TIMEOUT_S = 10
OTHER_VENDORS = ("mi", "tpu")


def base_facts(base: str) -> ModelFacts:
    """Shape of a base: of a Hugging Face folder, or of a model in the shipped table.

    Raises:
        InputError: neither; what can be given is said.
    """
    config = Path(base) / "config.json"
    if config.is_file():
        try:
            record = json.loads(config.read_text("utf-8"))
        except ValueError as error:
            raise InputError(f"{config}: it is no JSON ({error}).") from error
        if not isinstance(record, dict):
            raise InputError(f"{config}: a model's configuration is a mapping of fields.")
        return model_from_config(record, name=Path(base).resolve().name, source=str(config))
    try:
        return model_facts(base)
    except InputError as error:
        raise InputError(
            f"{error} Or name a folder with the base's config.json, which needs no weights for a plan."
        ) from error


def machine_for(recipe: Recipe, as_of: date | None = None) -> Machine:
    """The device that a recipe names, or what this machine has.

    Raises:
        InputError: no such device.
    """
    name = recipe.devices.hardware
    if name is None and recipe.devices.type in {"auto", "cuda"}:
        name = local_gpu()
    if name is not None and hardware(name).kind == "gpu":
        if recipe.devices.type == "cpu":
            raise InputError(
                f"devices.hardware is {name!r}, a GPU, and devices.type is 'cpu'. Set devices.type=cuda, or "
                "devices.hardware=null."
            )
        return gpu(name, as_of)
    if recipe.devices.type == "cuda" and name is None:
        raise InputError(
            "devices.type is 'cuda', and this machine has no NVIDIA GPU. Name the one to plan for: "
            "devices.hardware=h100, or set devices.type=cpu."
        )
    threads = recipe.threads or (os.cpu_count() or 1)
    return Machine(
        name=machine_name(),
        room_bytes=PROCESSOR_SHARE * free_memory_bytes(),
        hardware=None,
        rental=rental(RENTED_PROCESSOR, as_of),
        price_share=threads / RENTED_THREADS,
    )


def machine_here(recipe: Recipe) -> Machine:
    """The device that a run takes, whatever its recipe was written for: `devices.type` is settled by then.

    Raises:
        InputError: the GPU is in no table, and the recipe names none.
    """
    name = None
    if recipe.devices.type == "cuda":
        name = local_gpu() or recipe.devices.hardware
    devices = recipe.devices.model_copy(update={"hardware": name})
    return machine_for(recipe.model_copy(update={"devices": devices}))


def gpu(name: str, as_of: date | None = None) -> Machine:
    """A GPU of the shipped table, at its dated price if it has one."""
    device = hardware(name)
    return Machine(
        name=device.name,
        room_bytes=USABLE_MEMORY * device.memory_gb * 1e9,
        hardware=device,
        rental=_price(device.name, as_of),
    )


def other_gpus(than: Machine, as_of: date | None = None) -> list[Machine]:
    """NVIDIA GPUs with more memory than this one that can be rented at a dated price; on others nothing was tried."""
    names = [name for name in known_hardware() if not name.startswith(OTHER_VENDORS)]
    found = [gpu(name, as_of) for name in names if hardware(name).kind == "gpu"]
    return [each for each in found if each.room_bytes > than.room_bytes and each.rental is not None]


def free_memory_bytes() -> float:
    """Memory that can be had now: what the system calls available, and no more than the container's limit leaves."""
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    available = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    free = float(available[0] if available else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, float(limit))


def local_gpu() -> str | None:
    """Name of this machine's first NVIDIA GPU as the shipped table has it; None where there is none."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    asked = [smi, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=SMI_TIMEOUT_S, check=False)  # noqa: S603 -- our own arguments
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = [row[0] for row in csv.reader(io.StringIO(done.stdout)) if row] if done.returncode == 0 else []
    return named_in_table(names[0]) if names else None


def named_in_table(name: str) -> str | None:
    """A driver's name of a GPU, such as `NVIDIA H100 80GB HBM3`, as the shipped table has it; None if it has not."""
    words = name.split()
    while words:
        try:
            return hardware(" ".join(words)).name
        except InputError:
            words.pop()
    return None


def _price(name: str, as_of: date | None) -> Rental | None:
    try:
        return rental(name, as_of)
    except InputError:
        return None
