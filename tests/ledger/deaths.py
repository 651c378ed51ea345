"""Lets the process die at its n-th change of the disk: from then on nothing more of it reaches the disk."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from freehold.ledger import publish

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Died(BaseException):
    """No handler of ordinary errors sees it."""


class Mortal:
    """Counts changes of the disk; dies before or after one of them by calling `die`."""

    def __init__(self, at: int, die: Callable[[], None] | None = None) -> None:
        self._at = at
        self._die = die
        self._changes = 0
        self.is_dead = False

    def step(self) -> None:
        if self.is_dead:
            raise Died
        self._changes += 1
        if self._changes == self._at:
            self.is_dead = True
            if self._die is not None:
                self._die()
            raise Died

    def mortal(self, original: Callable[..., Any]) -> Callable[..., Any]:  # Any: whatever the original takes
        def changed(*arguments: Any, **options: Any) -> Any:  # Any: as above
            self.step()
            result = original(*arguments, **options)
            self.step()
            return result

        return changed

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mortal = self

        class Connection(sqlite3.Connection):
            def execute(self, query: str, *arguments: Any) -> sqlite3.Cursor:  # Any: values of a query
                writes = query.startswith(("commit", "insert into changes", "delete from changes"))
                if writes:
                    mortal.step()
                result = super().execute(query, *arguments)
                if writes:
                    mortal.step()
                return result

        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, **o, factory=Connection))
        monkeypatch.setattr(pq, "write_table", self.mortal(pq.write_table))
        monkeypatch.setattr(publish, "_sync", self.mortal(publish._sync))
        monkeypatch.setattr(shutil, "rmtree", self.mortal(shutil.rmtree))
        for name in ("replace", "rename", "unlink"):
            monkeypatch.setattr(Path, name, self.mortal(getattr(Path, name)))
