"""What a gateway needs at its start alone, done in processes of their own: reading settings, migrating the state.

What does that is as large as half a worker, and is not needed while calls pass. So it lives for a moment beside the
start, and hands over plain values.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freehold.state.settings import Settings
    from freehold.state.workspace import Workspace


class Errand:
    """Something that another process does. Begin it before threads are started: it forks."""

    def __init__(self, work: Callable[[], object]) -> None:
        """Begin `work`."""
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reader)
            _run(work, writer)
        os.close(writer)

    def result(self) -> object:
        """Wait for what `work` gives.

        Raises:
            InputError: it raised one. OSError likewise.
        """
        with os.fdopen(self._reader, "rb") as pipe:
            told = pipe.read()
        os.waitpid(self._pid, 0)
        if not told:
            raise RuntimeError("the gateway could not be started; see above")
        value = _unpacked(told)
        if isinstance(value, InputError | OSError):
            raise value
        return value


class Reading:
    """The settings on their way from their file."""

    def __init__(self, workspace: Workspace, file: Path) -> None:
        """Begin to read `file`."""
        self._errand = Errand(lambda: _settings(workspace, file))

    def result(self) -> Settings:
        """The settings; their values have the names that `Settings` has, and are plain objects.

        Raises:
            InputError: they are wrong.
        """
        return cast("Settings", self._errand.result())


def bring_state_up(workspace: Workspace, url: str) -> None:
    """Migrate the state database if it is older than this program.

    Raises:
        InputError: it cannot be opened, or is newer.
        OSError: the workspace cannot be written.
    """
    workspace.data.mkdir(parents=True, exist_ok=True)
    Errand(lambda: _migrate(url)).result()


def unpacked(told: bytes) -> Settings:
    """Settings that `packed` packed."""
    return cast("Settings", _unpacked(told))


def packed(settings: Settings) -> bytes:
    """Settings for another process of this gateway."""
    return pickle.dumps(settings)


def _unpacked(told: bytes) -> object:
    value: object = pickle.loads(told)  # noqa: S301 (from our own processes alone)
    return value


def plain(value: Any) -> Any:  # Any: settings of any depth
    """Settings without the library that reads them."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return SimpleNamespace(**{name: plain(getattr(value, name)) for name in type(value).model_fields})
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def _run(work: Callable[[], object], writer: int) -> None:
    code = 1
    try:
        try:
            told = work()
        except (InputError, OSError) as error:
            told = error
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(pickle.dumps(told))
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _settings(workspace: Workspace, file: Path) -> object:
    from freehold.state.settings import load_settings

    return plain(load_settings(workspace, file))


def _migrate(url: str) -> None:
    from freehold.state.database import open_state

    open_state(url).dispose()
