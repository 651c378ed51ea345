"""`freehold models export`: a model version in a form that others read."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.cli.session import Session
    from freehold.core.dataset import Dataset, Example
    from freehold.registry.store import ModelVersion
    from freehold.serving.artefacts.version import Version
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.card import Card, Metric

_FORMS = ("adapter", "merged", "gguf", "adapter-gguf")
_KINDS = ("f32", "bf16", "f16", "q8_0", "q4_0")


@click.command("export")
@click.argument("model")
@click.option("--to", "form", type=click.Choice(_FORMS), default="adapter", show_default=True, help="The form.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(_KINDS),
    help="How numbers are stored. merged: f32, bf16, f16; default: as the base has them. gguf: f16, q8_0, q4_0; "
    "default: f16. adapter-gguf: those of the base that it is checked on.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make. Default: in the workspace.")
@click.option("--base", "base_name", help="The base model, if it lies elsewhere than when the model was tuned.")
@click.option("--use", type=click.Choice(["commercial", "research"]), default="commercial", show_default=True,
              help="What it is for; the base's licence must allow it.")  # fmt: skip
@click.option("--cases", default=200, show_default=True, type=click.IntRange(min=1), help="Most cases to ask it.")
@click.option("--check/--no-check", default=True, show_default=True, help="Compare it with PyTorch, and ask the cases.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the checks; default: fitting the machine.")
@click.option("--shard-gb", default=5.0, show_default=True, type=click.FloatRange(min=0.001),
              help="Of merged: a file is closed before it grows beyond that.")  # fmt: skip
@json_option
@quiet_option
def export(
    model: str, form: str, kind: str | None, out: Path | None, base_name: str | None, use: str, cases: int,
    check: bool, threads: int | None, shard_gb: float, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write an own model in a form that others read, with its card: MODEL as in `models show`.

    A form other than the adapter itself is compared with PyTorch, token by token, before it is handed over; those for
    the CPU engine are asked validation cases too, and what fewer bits lose is written in the card. Interrupted, the
    same command goes on where it was.

    \b
    Examples:
      freehold models export support_intent
      freehold models export support_intent --to gguf --type q4_0
      freehold models export support_intent --to merged --type bf16 --out my-model
    """
    from freehold.cli.session import open_session
    from freehold.report.artefact_text import artefact_text
    from freehold.report.progress import TerminalProgress

    session = open_session()
    with TerminalProgress(quiet=quiet) as progress:
        record = _exported(
            session,
            model,
            form=form,
            kind=kind,
            out=out,
            base_name=base_name,
            use=use,
            most_cases=cases,
            is_checked=check,
            threads=threads,
            shard_bytes=round(shard_gb * 1e9),
            progress=progress,
        )
    show(record, artefact_text(record), as_json=as_json, next_step=f"freehold models show {quote(record['model'])}")


def _exported(
    session: Session,
    reference: str,
    *,
    form: Any,  # Any: click has checked that it is one of the forms
    kind: str | None,
    out: Path | None,
    base_name: str | None,
    use: Any,  # Any: as above
    most_cases: int,
    is_checked: bool,
    threads: int | None,
    shard_bytes: int,
    progress: Any,  # Any: what shows it
) -> dict[str, Any]:  # Any: JSON
    from freehold.registry.artefacts import record_artefact
    from freehold.registry.store import get_model
    from freehold.serving.artefacts.checks import Checks
    from freehold.serving.artefacts.make import Order, make_artefact
    from freehold.tuning.bases import fetch_base

    model = get_model(session.state, reference)
    base = fetch_base(base_name or model.base, progress=progress)
    dataset, lost = _dataset(session, model)
    version = _version(session, model, base, dataset)
    name = form if kind is None else f"{form}-{kind}"
    order = Order(
        form=form,
        kind=kind,
        target=(out or session.workspace.artefacts / model.id / name).absolute(),
        use=use,
        checks=Checks(
            base_files=session.workspace.serving, log_file=session.workspace.serving / "export.log", threads=threads
        )
        if is_checked
        else None,
        shard_bytes=shard_bytes,
    )
    manifest, is_made = make_artefact(
        order,
        version,
        _cases(dataset, most_cases),
        scores=session.workspace.artefacts / "scores",
        progress=progress,
    )
    root = session.workspace.root  # a workspace may move, and takes along what lies in it
    folder = order.target.relative_to(root) if order.target.is_relative_to(root) else order.target
    record_artefact(
        session.state, model=model.id, form=form, kind=manifest["kind"], folder=str(folder), record=manifest
    )
    return {
        **manifest,
        "folder": str(order.target),
        "made": is_made,
        "warnings": [*manifest["warnings"], *([lost] if lost else [])],
    }


def _version(session: Session, model: ModelVersion, base: BaseModel, dataset: Dataset | None) -> Version:
    from freehold.registry.store import verify_model
    from freehold.serving.artefacts.version import Version

    folder = verify_model(model, session.workspace.models)
    return Version(
        id=model.id, sha256=model.sha256, folder=folder, base=base, card=_card(session, model, base, dataset)
    )


def _card(session: Session, model: ModelVersion, base: BaseModel, dataset: Dataset | None) -> Card:
    """What the workspace knows of a model."""
    from freehold.datasets.read import as_record
    from freehold.tasks.define import load_task
    from freehold.tuning.card import Card
    from freehold.tuning.recipe import Recipe

    metric, metrics = _metrics(session, model)
    return Card(
        model=model.id,
        task=load_task(session.state, model.task),
        base=base,
        recipe=Recipe.model_validate(dict(model.recipe)),
        run=model.run,
        sha256=model.sha256,
        data=None if dataset is None else as_record(dataset),
        metric=metric,
        metrics=metrics,
    )


def _metrics(session: Session, model: ModelVersion) -> tuple[str | None, list[Metric]]:
    from freehold.evaluation.store import evaluation_of
    from freehold.tuning.card import Metric

    evaluation = evaluation_of(session.state, model.id)
    if evaluation is None:
        return None, []
    return evaluation.metric, [
        Metric(name=one.name, kind=one.kind, value=one.value, ci_low=one.ci_low, ci_high=one.ci_high, n=one.n)
        for one in evaluation.contenders
    ]


def _dataset(session: Session, model: ModelVersion) -> tuple[Dataset | None, str | None]:
    """The dataset that a model was tuned on, or why there is none."""
    from freehold.core.errors import InputError
    from freehold.datasets.read import read_dataset

    if model.dataset_id is None:
        return None, "It was not tuned here: the card knows nothing of its data."
    try:
        return read_dataset(session.workspace.datasets, model.dataset_id, engine=session.state), None
    except InputError as error:
        return None, f"The card knows nothing of its data: {error}"


def _cases(dataset: Dataset | None, most: int) -> Sequence[Example]:
    """Validation cases, spread over all of them; test cases where there are none. They choose nothing here."""
    from freehold.datasets.read import read_examples

    if dataset is None:
        return []
    found = read_examples(dataset, "validation") or read_examples(dataset, "test")
    count = min(most, len(found))
    return [found[len(found) * at // count] for at in range(count)]
