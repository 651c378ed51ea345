"""The admin API put together: a process of its own beside the workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import TYPE_CHECKING

from freehold.gateway.admin.api import AdminApi, Life
from freehold.gateway.admin.server import serve
from freehold.state.database import open_state

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from freehold.gateway.admin.token import AdminToken
    from freehold.gateway.workers import Stop

_OUTCOME = "reload.json"
_PATIENCE_S = 20.0
_PAUSE_S = 0.02


def note_reload(folder: Path, fault: str | None) -> None:
    """Leave word of whether the settings that were read last are in use; None: they are."""
    new = folder / f"{_OUTCOME}.new"
    new.write_text(json.dumps({"at": time.monotonic_ns(), "fault": fault}), encoding="utf-8")
    new.rename(folder / _OUTCOME)


def serve_admin(listener: socket.socket, state_url: str, token: AdminToken, folder: Path, stop: Stop) -> None:
    """Answer the admin API until told to stop."""
    engine = open_state(state_url)
    parent = os.getppid()
    life = Life(reload=lambda: _reload(parent, folder), drain=lambda: os.kill(parent, signal.SIGTERM))
    api = AdminApi(engine, token, folder, life)

    async def main() -> None:
        until = asyncio.Event()
        asyncio.get_running_loop().add_reader(stop.fileno(), until.set)
        await serve(listener, api.answer, until=until)

    asyncio.run(main())
    engine.dispose()


def _reload(parent: int, folder: Path) -> str | None:
    """Have the settings read anew; why they are not in use, or None.

    Raises:
        TimeoutError: nobody says.
    """
    before = _outcome(folder)
    os.kill(parent, signal.SIGHUP)
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        now = _outcome(folder)
        if now is not None and now != before:
            return now[1]
        time.sleep(_PAUSE_S)
    raise TimeoutError


def _outcome(folder: Path) -> tuple[int, str | None] | None:
    try:
        told = json.loads((folder / _OUTCOME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return told["at"], told["fault"]
