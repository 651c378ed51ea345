"""`freehold tune`."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.cli.session import Session
    from freehold.core.progress import Progress
    from freehold.registry.store import ModelVersion

_FIRST = "It is the champion of its task because there is no other: nothing has been evaluated or decided yet."


@click.command("tune")
@click.argument("task")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--recipe", default="smollm2-135m-cpu", show_default=True, help="A shipped recipe, or a YAML file.")
@click.option("--dataset", "dataset_name", help="Dataset id; default: the latest of TASK.")
@json_option
@quiet_option
def command(
    task: str, overrides: tuple[str, ...], recipe: str, dataset_name: str | None, as_json: bool, quiet: bool
) -> None:
    """Fine-tune an open model on the latest dataset of TASK and register the result.

    Interrupted, the same command goes on where it was. Any line of the recipe can be overridden.

    \b
    Examples:
      freehold tune support_intent
      freehold tune support_intent lora.rank=32 training.epochs=4 --json
    """
    from freehold.cli.session import open_session
    from freehold.report.progress import TerminalProgress
    from freehold.report.text import tune_text

    with TerminalProgress(quiet=quiet) as progress:
        model = tune_task(
            open_session(),
            task,
            recipe=recipe,
            overrides=overrides,
            dataset_name=dataset_name,
            progress=progress,
        )
    record = as_record(model)
    show(record, tune_text(record), as_json=as_json, next_step=f"freehold evaluate {quote(str(task))}")


def tune_task(
    session: Session,
    task: str,
    *,
    recipe: str,
    overrides: Sequence[str],
    dataset_name: str | None = None,
    base: str | None = None,
    progress: Progress,
) -> ModelVersion:
    """Train on a dataset of a task and register the adapter; the first one of a task becomes its champion."""
    from freehold.core.errors import InputError
    from freehold.core.identity import content_hash
    from freehold.datasets.read import read_dataset, read_examples
    from freehold.registry.store import add_model, list_models, set_alias
    from freehold.tuning.bases import fetch_base
    from freehold.tuning.recipe import load_recipe

    wanted = load_recipe(recipe, [*overrides, *([] if base is None else [f"base={base}"])])
    dataset = read_dataset(session.workspace.datasets, dataset_name or task, engine=session.state)
    if dataset.task.name != task:
        raise InputError(f"Dataset {dataset.id} is of task {dataset.task.name!r}, not of {task!r}.")
    base_model = fetch_base(wanted.base, progress=progress)

    from freehold.tuning.train import resolve, train  # torch takes seconds: all that was named is there

    plan = resolve(wanted)
    resolved: dict[str, Any] = plan.model_dump(mode="json")
    run_folder = session.workspace.runs / f"{dataset.id}-{content_hash(resolved)[:12]}"
    trained = train(
        task=dataset.task,
        train_rows=read_examples(dataset, "train"),
        validation_rows=read_examples(dataset, "validation"),
        recipe=plan,
        base=base_model,
        run_folder=run_folder,
        progress=progress,
    )
    model = add_model(
        session.state,
        task=task,
        base=plan.base,
        dataset_id=dataset.id,
        folder=trained.folder,
        models_folder=session.workspace.models,
        recipe=resolved,
        run={
            "examples": trained.examples,
            "seconds": trained.seconds,
            "cpu_seconds": trained.cpu_seconds,
            "final_loss": trained.final_loss,
            "left_out": trained.left_out,
            "tokens": trained.tokens,
            "best_epoch": trained.best_epoch,
            "validation_losses": list(trained.validation_losses),
            "losses": list(trained.losses),
        },
    )
    if not any("champion" in one.aliases for one in list_models(session.state, task=task)):
        model = set_alias(session.state, task=task, alias="champion", model_id=model.id, reason="first of its task")
    return model


def as_record(model: ModelVersion) -> dict[str, Any]:
    """The registered result as `tune --json` prints it."""
    return {
        "schema": "freehold.tune/1",
        "model": model.id,
        "task": model.task,
        "base": model.base,
        "dataset": model.dataset_id,
        "sha256": model.sha256,
        **{key: value for key, value in model.run.items() if key != "losses"},
        "warnings": [_FIRST] if "champion" in model.aliases else [],
    }
