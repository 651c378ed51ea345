"""`freehold models`."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.models_export import export
from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from freehold.cli.session import Session
    from freehold.registry.store import ModelVersion


@click.group("models")
def command() -> None:
    """Base models, own models, and which one is champion."""


@command.command("list")
@click.option("--task", help="Of this task alone.")
@json_option
def list_all(task: str | None, as_json: bool) -> None:
    """List base models and own models, newest first."""
    from freehold.cli.session import open_session
    from freehold.registry.store import list_models
    from freehold.report.registry_text import models_text
    from freehold.tuning.bases import cached_bases, known_bases

    models = [_as_record(model) for model in list_models(open_session().state, task=task)]
    record: dict[str, Any] = {
        "schema": "freehold.models/1",
        "bases": [{"name": name, "fetched": name in cached_bases()} for name in known_bases()],
        "models": models,
    }
    wanted = "TASK" if task is None else quote(task)
    step = f"freehold models show {models[0]['id']}" if models else f"freehold tune {wanted}"
    show(record, models_text(record), as_json=as_json, next_step=step)


@command.command("show")
@click.argument("model")
@json_option
def show_one(model: str, as_json: bool) -> None:
    """Show an own model: MODEL is its id, the start of it, TASK (its champion) or TASK@ALIAS."""
    from freehold.cli.session import open_session
    from freehold.registry.store import get_model, verify_model
    from freehold.report.registry_text import model_text

    session = open_session()
    found = get_model(session.state, model)
    folder = verify_model(found, session.workspace.models)
    record = {
        "schema": "freehold.model/1",
        **_as_record(found),
        "folder": str(folder),
        "files_verified": True,
        "artefacts": _artefacts(session, found.id),
    }
    show(record, model_text(record), as_json=as_json, next_step=f"freehold serve {quote(str(found.task))}")


@command.command("add")
@click.argument("name")
@json_option
@quiet_option
def add(name: str, as_json: bool, quiet: bool) -> None:
    """Fetch a base model once: download, check its SHA-256, unpack it into the cache.

    \b
    Example:
      freehold models add smollm2-135m
    """
    from freehold.report.progress import TerminalProgress
    from freehold.tuning.bases import fetch_base

    with TerminalProgress(quiet=quiet) as progress:
        base = fetch_base(name, progress=progress)
    record = {"schema": "freehold.base/1", "name": base.name, "folder": str(base.folder)}
    show(record, f"{base.name} is ready in {base.folder}", as_json=as_json, next_step="freehold tune TASK")


@command.command("promote")
@click.argument("model")
@click.option("--alias", default="champion", show_default=True, type=click.Choice(["champion", "challenger"]))
@click.option("--reason", required=True, help="Why; it is kept in the audit trail.")
@json_option
def promote(model: str, alias: str, reason: str, as_json: bool) -> None:
    """Make an own model the champion or the challenger of its task."""
    from freehold.cli.session import open_session
    from freehold.registry.store import get_model, set_alias, verify_model

    if not reason.strip():
        raise click.UsageError("--reason is empty; say why, for those who read the audit trail.")
    session = open_session()
    found = get_model(session.state, model)
    verify_model(found, session.workspace.models)
    changed = set_alias(session.state, task=found.task, alias=alias, model_id=found.id, reason=reason)
    record = {"schema": "freehold.model/1", **_as_record(changed)}
    text = f"{changed.id} is now {alias} of {changed.task}"
    show(record, text, as_json=as_json, next_step=f"freehold serve {quote(str(changed.task))}")


command.add_command(export)


def _artefacts(session: Session, model: str) -> list[dict[str, Any]]:  # Any: JSON
    """The forms of a version that were made, and whether they are still what they were."""
    from freehold.registry.artefacts import list_artefacts, lost_files

    return [
        {
            "form": each.form,
            "kind": each.kind,
            "folder": str(session.workspace.root / each.folder),
            "intact": not lost_files(session.workspace.root / each.folder, each.record["files"]),
            "agreement": each.record["agreement"],
            "quality": each.record["quality"],
            "created_at": each.created_at,
        }
        for each in list_artefacts(session.state, model)
    ]


def _as_record(model: ModelVersion) -> dict[str, Any]:
    return {
        "id": model.id,
        "task": model.task,
        "base": model.base,
        "dataset": model.dataset_id,
        "sha256": model.sha256,
        "aliases": list(model.aliases),
        "recipe": dict(model.recipe),
        "run": dict(model.run),
        "files": dict(model.files),
        "created_at": model.created_at,
    }
