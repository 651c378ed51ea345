"""`freehold serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from freehold.cli.session import Session
    from freehold.core.call import Call
    from freehold.registry.store import ModelVersion
    from freehold.serving.gguf_export import GgufType


@click.command("serve")
@click.argument("tasks", nargs=-1)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the engine; default: fitting the machine.")
@click.option("--type", "kind", default="f16", show_default=True, type=click.Choice(["f16", "q8_0", "q4_0"]),
              help="How the base's numbers are stored; fewer bits are smaller, and lose something.")  # fmt: skip
def command(tasks: tuple[str, ...], port: int, threads: int | None, kind: GgufType) -> None:
    """Serve the champions of TASKS (default: of all tasks) behind an OpenAI-compatible endpoint.

    The model's name is the task's, or a model id. It listens on 127.0.0.1 alone. Every call that reaches a
    model is recorded in the ledger before its last byte is answered, a failed one with its status and error.
    A request that names no served model or cannot be read is refused and leaves no row. Stop it with Ctrl-C.

    \b
    Examples:
      freehold serve
      freehold serve support_intent --port 9000
      freehold serve support_intent --type q4_0
      curl localhost:8080/v1/chat/completions -H 'content-type: application/json' \\
        -d '{"model": "support_intent", "messages": [{"role": "user", "content": "my card is gone"}]}'
    """
    from freehold.cli.session import open_session
    from freehold.evaluation.store import doubt_about
    from freehold.serving.endpoint import serve

    session = open_session()
    models = champions(session, tasks)
    for model in models:
        doubt = doubt_about(session.state, model.task, model.id)
        if doubt is not None:
            click.echo(f"Warning: {doubt}", err=True)
        if kind != "f16":
            click.echo(_loss(session, model, kind), err=True)
    names = ", ".join(model.task for model in models)
    serve(
        endpoint_of(session, models, port=port, threads=threads, kind=kind),
        on_ready=lambda url: click.echo(
            f"Serving {names} at {url}\nNext: ask it with base_url={url!r} and the task's name as the model",
            err=True,
        ),
    )


def champions(session: Session, tasks: Sequence[str]) -> list[ModelVersion]:
    """The champions of these tasks, or of all tasks that have one.

    Raises:
        InputError: there are none, or they stand on different base models.
    """
    from freehold.core.errors import InputError
    from freehold.registry.store import get_model, list_models

    models = (
        [get_model(session.state, task) for task in tasks]
        if tasks
        else [model for model in list_models(session.state) if "champion" in model.aliases]
    )
    if not models:
        raise InputError("There is no own model to serve yet. Make one with: freehold tune TASK")
    bases = sorted({model.base for model in models})
    if len(bases) > 1:
        raise InputError(
            f"One engine holds one base model, and these stand on {', '.join(bases)}. Serve them one by one: "
            "freehold serve TASK"
        )
    return models


def endpoint_of(
    session: Session,
    models: Sequence[ModelVersion],
    *,
    port: int = 0,
    threads: int | None = None,
    kind: GgufType = "f16",
) -> AbstractContextManager[str]:
    """An endpoint for these models, not started yet: files are checked, adapters written for the engine.

    Each finished call is recorded in the session's ledger.

    Raises:
        InputError: a model whose every weight was trained shall share the engine with others.
    """
    from freehold.core.errors import InputError
    from freehold.core.progress import Silent
    from freehold.registry.store import verify_model
    from freehold.serving.base_files import base_gguf
    from freehold.serving.endpoint import ServedModel, running_endpoint
    from freehold.serving.gguf_export import export_adapter
    from freehold.tasks.define import load_task
    from freehold.text.pii import mask_texts
    from freehold.tuning.bases import fetch_base

    base = fetch_base(models[0].base, progress=Silent())
    folder = session.workspace.serving
    verified = [verify_model(model, session.workspace.models) for model in models]
    whole = [model.id for model, place in zip(models, verified, strict=True) if (place / "config.json").is_file()]
    if whole and len(models) > 1:
        raise InputError(
            f"Every weight of {', '.join(whole)} was trained, so it shares no base with others. Serve the models one "
            "by one: freehold serve TASK"
        )
    if whole:
        gguf = base_gguf(verified[0], models[0].id, folder, kind=kind, is_immutable=True)
    else:
        gguf = base_gguf(base.folder, base.name, folder, kind=kind, is_immutable=base.gguf is not None)
    served = []
    for model, place in zip(models, verified, strict=True):
        adapter = None if whole else export_adapter(place, folder / f"{model.id}.gguf", base_folder=base.folder)
        served.append(ServedModel(model.id, load_task(session.state, model.task), adapter))
    return running_endpoint(
        served,
        base_gguf=gguf,
        recorder=lambda call: _record(session, call),
        log_file=folder / "engine.log",
        port=port,
        threads=threads,
        mask=mask_texts,
    )


def _loss(session: Session, model: ModelVersion, kind: str) -> str:
    """What fewer bits have cost this model, as far as anybody has measured it."""
    from freehold.registry.artefacts import list_artefacts
    from freehold.report.artefact_text import loss_text

    measured = [
        artefact.record["quality"]
        for artefact in list_artefacts(session.state, model.id)
        if artefact.kind == kind and artefact.form in {"adapter-gguf", "gguf"} and artefact.record["quality"]
    ]
    if measured:
        return f"{model.id} in {kind}: {loss_text(measured[0])}"
    return (
        f"Warning: nobody has measured what {kind} costs {model.id}: "
        f"freehold models export {model.id} --to adapter-gguf --type {kind}"
    )


def _record(session: Session, call: Call) -> None:
    session.ledger.append([call])
