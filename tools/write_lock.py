"""Writes requirements.lock: the installed version of all that Freehold and its tests need, and of nothing else.

.venv/bin/python tools/write_lock.py
"""

from __future__ import annotations

import tomllib
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
BUILD = ("setuptools>=77",)


def closure(wanted: list[Requirement], extras: dict[str, list[str]]) -> dict[str, str]:
    """Name and installed version of the requirements and of everything that they require.

    `extras` are those of pyproject.toml: what is installed of Freehold itself may be older.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name == "freehold":
                wanted += [Requirement(line) for line in extras.get(extra, ())]
                continue
            found[name] = version(name)
            for line in requires(name) or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    wanted.append(needed)
    return found


def main() -> None:
    """Write the lock beside pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*BUILD, *project["dependencies"], *project["optional-dependencies"]["dev"]]
    pins = closure([Requirement(line) for line in lines], project["optional-dependencies"])
    # A wheel for CPUs names itself so after its version; any build of the same version will do.
    text = "".join(f"{name}=={pinned.partition('+')[0]}\n" for name, pinned in sorted(pins.items()))
    (ROOT / "requirements.lock").write_text(text, encoding="utf-8")
    print(f"{len(pins)} packages")


if __name__ == "__main__":
    main()
