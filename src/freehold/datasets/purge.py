"""Takes purged calls out of the datasets that are there: their texts, their ids, and the sides pinned for them.

A version keeps its id and says how many of its rows were purged. File by file: one that a death left between its rows
and its manifest is refused when it is read, until the same purge has been done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from freehold.core.chat import Message
from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.datasets.hygiene import SPLITS
from freehold.datasets.rows import fingerprint_of, fingerprint_of_call
from freehold.datasets.write import EXCLUDED, FILES, MANIFEST
from freehold.state.schema import DATASETS
from freehold.state.schema import SPLITS as SIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from sqlalchemy import Engine

    from freehold.core.call import Call

    Among = Callable[[Collection[str]], set[str]]
    """Which of these call ids have been purged."""
    CallsOf = Callable[[Iterable[str]], Iterable[Call]]

_EXAMPLES = tuple(f"{split}.jsonl" for split in SPLITS)
_COPIES = frozenset({"duplicate", "leak", "contradictory"})
"""Reasons for which a call may be left out of a dataset that holds its text."""


@dataclass(slots=True)
class PurgedDatasets:
    """What was taken out, or would be."""

    rows: Counter[str] = field(default_factory=Counter)
    """Dataset id -> examples."""
    listed: int = 0
    """Calls that stood in a list of rows that were left out."""
    sides: int = 0
    """Texts whose side is pinned no more."""
    leftovers: int = 0
    """Folders of builds that died."""


def ids_in_datasets(folder: Path) -> set[str]:
    """Ids of all calls that some dataset version names."""
    found: set[str] = set()
    for path in folder.glob(f"*/{MANIFEST}") if folder.is_dir() else ():
        found |= _manifest(path).get("source_rows", {}).keys()
        found |= {line["id"] for name in FILES for line in _lines(path.with_name(name))}
    return found


def purge_datasets(
    folder: Path, engine: Engine, among: Among, calls: CallsOf, *, dry_run: bool = False
) -> PurgedDatasets:
    """Take purged calls out of every dataset version, and out of the sides that are pinned.

    Args:
        folder: Where datasets lie.
        engine: The state database.
        among: Tells which calls have been purged.
        calls: Gives calls that are in the ledger by their ids: of copies of a purged text, which keep its side pinned.
        dry_run: Count only.
    """
    done = PurgedDatasets()
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for one in folders:
        if one.name.startswith("."):
            done.leftovers += 1
            if not dry_run:
                shutil.rmtree(one)
        elif (one / MANIFEST).is_file():
            _purge_one(one, engine, among, calls, done, dry_run=dry_run)
    return done


def _purge_one(
    folder: Path,
    engine: Engine,
    among: Among,
    calls: CallsOf,
    done: PurgedDatasets,
    *,
    dry_run: bool,
) -> None:
    manifest = _manifest(folder / MANIFEST)
    lines = {name: _lines(folder / name) for name in FILES if name in manifest["files"]}
    ids = {line["id"] for of_file in lines.values() for line in of_file} | manifest.get("source_rows", {}).keys()
    gone = among(ids)
    if not gone:
        return
    examples = [line for name in _EXAMPLES for line in lines[name] if line["id"] in gone]
    done.rows[folder.name] += len(examples)
    done.listed += sum(line["id"] in gone for line in lines[EXCLUDED])
    unpinned = _without_copies(examples, [line for line in lines[EXCLUDED] if line["id"] not in gone], calls)
    kept = {name: [line for line in of_file if line["id"] not in gone] for name, of_file in lines.items()}
    held = {_fingerprint(line) for name in _EXAMPLES for line in kept[name]}
    unpinned -= held
    if dry_run:
        done.sides += len(unpinned)
        return
    # The sides first: from rows that are gone nobody could tell them after a death.
    done.sides += _unpin(engine, manifest["task"]["name"], unpinned)
    files = {name: _text(of_file) for name, of_file in kept.items()}
    hashes = {}
    for name, content in files.items():
        there = (folder / name).read_bytes() if (folder / name).is_file() else b""
        is_strange = hashlib.sha256(there).hexdigest() != manifest["files"][name] and content != there
        # What somebody else has changed is refused when it is read: it must not become sound by a purge.
        hashes[name] = manifest["files"][name] if is_strange else hashlib.sha256(content).hexdigest()
        if content != there:
            _write(folder / name, content)
    changed = _manifest_without(manifest, hashes, kept, gone)
    _write(folder / MANIFEST, (json.dumps(changed, ensure_ascii=False, indent=1) + "\n").encode())
    record = {key: value for key, value in changed.items() if key != "source_rows"}
    with engine.begin() as connection:
        connection.execute(update(DATASETS).where(DATASETS.c.id == folder.name).values(manifest=record))


def _manifest_without(
    manifest: dict[str, Any], files: dict[str, str], kept: dict[str, list[dict[str, Any]]], gone: set[str]
) -> dict[str, Any]:
    """The manifest of what is left. Its own hash stays the name of the version; `purged` has one of what is there."""
    left = {split: len(kept[f"{split}.jsonl"]) for split in SPLITS}
    rows = manifest["rows"]
    changed = {key: value for key, value in manifest.items() if key != "purged"} | {
        "files": files,
        "contradictions": [[call for call in case if call not in gone] for case in manifest["contradictions"]],
    }
    if "source_rows" in manifest:  # versions that were built before each row had a line of its own
        changed["source_rows"] = {call: row for call, row in manifest["source_rows"].items() if call not in gone}
    purged: dict[str, Any] = {"rows": {split: rows[split] - left[split] for split in SPLITS}}
    purged["sha256"] = content_hash({**changed, "purged": purged})
    return {**changed, "purged": purged}


def _without_copies(
    examples: list[dict[str, Any]],
    excluded: list[dict[str, Any]],
    calls: CallsOf,
) -> set[str]:
    """Fingerprints of purged examples, but for those of which another call has the same text."""
    found = {_fingerprint(line) for line in examples}
    copies = [line["id"] for line in excluded if line["reason"] in _COPIES] if found else []
    return found - {fingerprint_of_call(call) for call in calls(copies)} if copies else found


def _fingerprint(example: dict[str, Any]) -> str:
    return fingerprint_of(Message(turn["role"], turn["content"]) for turn in example["messages"])


def unpin_task(engine: Engine, task: str) -> int:
    """Let go of every side that is pinned for a task; gives how many."""
    with engine.begin() as connection:
        return connection.execute(delete(SIDES).where(SIDES.c.task == task)).rowcount


def _unpin(engine: Engine, task: str, fingerprints: set[str]) -> int:
    with engine.begin() as connection:
        of_task = connection.execute(select(SIDES.c.fingerprint).where(SIDES.c.task == task)).scalars()
        there = sorted(fingerprints & set(of_task))
        for one in there:
            connection.execute(delete(SIDES).where(SIDES.c.task == task, SIDES.c.fingerprint == one))
    return len(there)


def _manifest(path: Path) -> dict[str, Any]:
    """What a version says of itself; one that cannot be read stops a purge before it begins."""
    try:
        manifest = json.loads(path.read_bytes())
        if isinstance(manifest["files"], dict) and isinstance(manifest["rows"], dict):
            return dict(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(_damaged(path)) from error
    raise InputError(_damaged(path))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        if all(isinstance(line["id"], str) for line in found):
            return found
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(_damaged(path)) from error
    raise InputError(_damaged(path))


def _damaged(path: Path) -> str:
    return (
        f"{path}: the dataset's file is damaged, so nobody can tell whose rows it holds. Remove its folder if it is "
        "not needed any more, then purge again."
    )


def _text(lines: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _write(path: Path, content: bytes) -> None:
    """Replace a file; the new one is on the disk before the old one goes."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
