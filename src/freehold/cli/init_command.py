"""`freehold init`."""

from __future__ import annotations

from pathlib import Path

import click

from freehold.cli.show import json_option, show


@click.command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Make FOLDER (default: this one) a workspace. What is there stays as it is.

    \b
    Examples:
      freehold init
      freehold init ~/rent-or-own
    """
    from freehold.state.database import open_state
    from freehold.state.settings import load_settings
    from freehold.state.workspace import create_workspace

    workspace, is_new = create_workspace(folder)
    open_state(load_settings(workspace).state.url or workspace.default_state_url)
    record = {"schema": "freehold.init/1", "workspace": str(workspace.root), "created": is_new}
    word = "New workspace" if is_new else "Workspace is there already"
    show(
        record,
        f"{word}: {workspace.root}\nSettings: {workspace.settings_file}",
        as_json=as_json,
        next_step="freehold import logs.jsonl --task TASK",
    )
