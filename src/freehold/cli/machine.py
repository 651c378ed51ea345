"""What this machine offers: looked at without importing anything heavy."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from freehold.core.errors import InputError
from freehold.state.workspace import find_workspace

_GIB = 1 << 30
_DISK_NEEDED_GIB = 4
_MEMORY_NEEDED_GIB = 6
_EXTRAS = {
    "torch": ("tune", "fine-tuning"),
    "transformers": ("tune", "fine-tuning"),
    "peft": ("tune", "fine-tuning"),
    "xllamacpp": ("serve", "serving on a CPU"),
    "openai": ("serve", "the demo's client"),
    "psycopg": ("postgres", "state in PostgreSQL"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    is_needed: bool
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Everything worth knowing about this machine before a first run."""
    return [
        _python(),
        _cores(),
        _memory(),
        _disk(),
        *map(_package, _EXTRAS),
        _gpu(),
        _base_models(),
        _workspace(),
    ]


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), True, platform.python_version(), "Use Python 3.11 or newer.")


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("cores", cores >= 2, False, f"{cores}", "Tuning on one core takes twice as long.")


def _memory() -> Finding:
    total_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return Finding(
        "memory",
        total_gib >= _MEMORY_NEEDED_GIB,
        True,
        f"{total_gib:.1f} GiB",
        f"Tuning the small model needs {_MEMORY_NEEDED_GIB} GiB.",
    )


def _disk() -> Finding:
    free_gib = shutil.disk_usage(Path.cwd()).free / _GIB
    return Finding(
        "disk",
        free_gib >= _DISK_NEEDED_GIB,
        True,
        f"{free_gib:.1f} GiB free here",
        f"Free some space: the demo needs {_DISK_NEEDED_GIB} GiB.",
    )


def _package(name: str) -> Finding:
    extra, purpose = _EXTRAS[name]
    found = importlib.util.find_spec(name) is not None
    detail = importlib.metadata.version(name) if found else f"not installed: {purpose} needs it"
    return Finding(name, found, extra != "postgres", detail, f"pip install 'freehold[{extra}]'")


def _gpu() -> Finding:
    found = shutil.which("nvidia-smi") is not None
    return Finding("gpu", found, False, "NVIDIA driver found" if found else "none: small models are tuned on the CPU")


def _base_models() -> Finding:
    from freehold.tuning.bases import cached_bases

    names = cached_bases()
    return Finding(
        "base models",
        bool(names),
        False,
        ", ".join(names) or "none fetched yet",
        "freehold models add smollm2-135m",
    )


def _workspace() -> Finding:
    try:
        return Finding("workspace", True, False, str(find_workspace().root))
    except InputError:
        return Finding("workspace", False, False, "not in one", "freehold init")
