"""What most commands need: the workspace, its settings, its state and its ledger, opened once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.cli.recording import take_in_recorded
from freehold.ledger.store import Ledger
from freehold.state.database import open_state
from freehold.state.settings import Settings, load_settings
from freehold.state.workspace import Workspace, find_workspace
from freehold.tasks.moves import MOVES, follow_moves

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True)
class Session:
    """One command's view of one workspace."""

    workspace: Workspace
    settings: Settings
    state: Engine
    ledger: Ledger


def open_session(folder: Path | None = None) -> Session:
    """Open the workspace of `folder`, or of the current folder. What gateways have recorded is in the ledger then.

    Raises:
        InputError: there is no workspace, its settings are wrong, or its database cannot be opened.
    """
    workspace = find_workspace(folder)
    settings = load_settings(workspace)
    state = open_state(settings.state.url or workspace.default_state_url)
    take_in_recorded(workspace, settings)
    ledger = Ledger(workspace.calls)
    follow_moves(state, ledger, workspace.data / MOVES)  # of a change of tasks that was interrupted
    return Session(workspace, settings, state, ledger)
