"""`freehold tune`."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from pathlib import Path

    from freehold.cli.session import Session
    from freehold.core.dataset import Dataset
    from freehold.core.progress import Progress
    from freehold.registry.store import ModelVersion
    from freehold.tuning.adapter import TrainedAdapter
    from freehold.tuning.recipe import Recipe

_FIRST = "It is the champion of its task because there is no other: nothing has been evaluated or decided yet."


@click.command("tune")
@click.argument("task")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--recipe", default="smollm2-135m-cpu", show_default=True, help="A shipped recipe, or a YAML file.")
@click.option("--dataset", "dataset_name", help="Dataset id; default: the latest of TASK.")
@click.option("--dry-run", is_flag=True, help="Say what the run would take, and do not run.")
@click.option("--rows", type=click.IntRange(min=1), help="With --dry-run: so many rows in place of a dataset.")
@click.option("--row-tokens", type=click.IntRange(min=1), help="With --rows: tokens of each, answer included.")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="With --dry-run: prices of that day.")
@click.option("--anyway", is_flag=True, help="Run even if the device is foreseen to be too small.")
@json_option
@quiet_option
def command(
    task: str, overrides: tuple[str, ...], recipe: str, dataset_name: str | None, dry_run: bool, rows: int | None,
    row_tokens: int | None, as_of: datetime | None, anyway: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Fine-tune an open model on the latest dataset of TASK and register the result.

    Interrupted, the same command goes on where it was. Any line of the recipe can be overridden.

    \b
    Examples:
      freehold tune support_intent
      freehold tune support_intent lora.rank=32 training.epochs=4 --json
      freehold tune support_intent --recipe llama-3.1-8b-qlora-1xh100 --dry-run
      freehold tune any --recipe qwen3-8b --dry-run --rows 20000 --row-tokens 1000
    """
    from freehold.core.errors import InputError
    from freehold.report.progress import TerminalProgress

    if not dry_run and (rows, row_tokens, as_of) != (None, None, None):
        raise InputError("--rows, --row-tokens and --as-of describe a plan. Add --dry-run, or leave them out.")
    if (rows is None) != (row_tokens is None) or (rows is not None and dataset_name is not None):
        raise InputError("--rows and --row-tokens stand together, in place of --dataset.")
    with TerminalProgress(quiet=quiet) as progress:
        if dry_run:
            day = None if as_of is None else as_of.date()
            _show_plan(task, recipe, overrides, dataset_name, rows, row_tokens, day, as_json, progress)
            return
        from freehold.cli.session import open_session

        model = tune_task(
            open_session(),
            task,
            recipe=recipe,
            overrides=overrides,
            dataset_name=dataset_name,
            anyway=anyway,
            progress=progress,
        )
    from freehold.report.tuning_text import tune_text

    record = as_record(model)
    show(record, tune_text(record), as_json=as_json, next_step=f"freehold evaluate {quote(str(task))}")


def _show_plan(
    task: str,
    recipe: str,
    overrides: Sequence[str],
    dataset_name: str | None,
    rows: int | None,
    row_tokens: int | None,
    as_of: date | None,
    as_json: bool,
    progress: Progress,
) -> None:
    """Plan the run, and say what it would take."""
    from freehold.cli import tune_plan
    from freehold.report.tuning_text import plan_text
    from freehold.tuning.recipe import load_recipe

    wanted = load_recipe(recipe, overrides)
    if rows is not None and row_tokens is not None:
        dataset_id = None
        plan = tune_plan.plan_stated(wanted, rows=rows, row_tokens=row_tokens, as_of=as_of)
    else:
        from freehold.cli.session import open_session

        session = open_session()
        dataset = _dataset(session, task, dataset_name)
        dataset_id = dataset.id
        plan = tune_plan.plan_dataset(session, task, wanted, dataset=dataset, as_of=as_of, progress=progress)
    record = tune_plan.as_record(plan, task=task, dataset=dataset_id)
    again = " ".join(quote(word) for word in (task, "--recipe", recipe, *overrides))
    show(record, plan_text(record), as_json=as_json, next_step=f"freehold tune {again}")


def tune_task(
    session: Session,
    task: str,
    *,
    recipe: str,
    overrides: Sequence[str],
    dataset_name: str | None = None,
    base: str | None = None,
    anyway: bool = False,
    progress: Progress,
) -> ModelVersion:
    """Train on a dataset of a task and register the adapter; the first one of a task becomes its champion.

    What the run will take is said before it, or after its first steps, and compared with what it took.
    """
    from freehold.core.identity import content_hash
    from freehold.datasets.read import read_examples
    from freehold.registry.store import add_model, list_models, set_alias
    from freehold.tuning.bases import fetch_base
    from freehold.tuning.recipe import load_recipe

    wanted = load_recipe(recipe, [*overrides, *([] if base is None else [f"base={base}"])])
    dataset = _dataset(session, task, dataset_name)
    base_model = fetch_base(wanted.base, revision=wanted.revision, progress=progress)
    is_of_hub = "/" in base_model.name and base_model.revision is not None
    if is_of_hub:
        wanted = wanted.model_copy(update={"revision": base_model.revision})

    from freehold.cli.tune_plan import Foresight
    from freehold.tuning.train import resolve, train  # torch takes seconds: all that was named is there

    plan = resolve(wanted)
    resolved: dict[str, Any] = plan.model_dump(mode="json")
    run_folder = session.workspace.runs / f"{dataset.id}-{content_hash(resolved)[:12]}"
    train_rows, validation_rows = read_examples(dataset, "train"), read_examples(dataset, "validation")
    foresight = Foresight(session, task, plan, base=base_model, train=train_rows, validation=validation_rows)
    foresight.before(run_folder, anyway=anyway)
    watch = foresight.watch(run_folder, progress)
    trained = train(
        task=dataset.task,
        train_rows=train_rows,
        validation_rows=validation_rows,
        recipe=plan,
        base=base_model,
        run_folder=run_folder,
        progress=watch,
        start=_start(session, plan),
    )
    model = add_model(
        session.state,
        task=task,
        base=f"{plan.base}@{base_model.revision}" if is_of_hub else plan.base,
        dataset_id=dataset.id,
        folder=trained.folder,
        models_folder=session.workspace.models,
        recipe=resolved,
        run={**_numbers(trained), **foresight.after(run_folder, trained, watch)},
    )
    if not any("champion" in one.aliases for one in list_models(session.state, task=task)):
        model = set_alias(session.state, task=task, alias="champion", model_id=model.id, reason="first of its task")
    return model


def _start(session: Session, recipe: Recipe) -> Path | None:
    """Folder of the own model that preferences are learned on; None: the base itself."""
    from freehold.registry.store import get_model, verify_model

    if recipe.method != "dpo" or recipe.dpo.start is None:
        return None
    return verify_model(get_model(session.state, recipe.dpo.start), session.workspace.models)


def _numbers(trained: TrainedAdapter) -> dict[str, Any]:  # Any: JSON
    """What the registry keeps of a run."""
    return {
        "examples": trained.examples,
        "seconds": trained.seconds,
        "cpu_seconds": trained.cpu_seconds,
        "final_loss": trained.final_loss,
        "left_out": trained.left_out,
        "tokens": trained.tokens,
        "best_epoch": trained.best_epoch,
        "validation_losses": list(trained.validation_losses),
        "losses": list(trained.losses),
        "method": trained.method,
        "preference": list(trained.preference),
        "notes": list(trained.notes),
    }


def _dataset(session: Session, task: str, name: str | None) -> Dataset:
    """The dataset of that id, or the latest of the task.

    Raises:
        InputError: there is none, or it is of another task.
    """
    from freehold.core.errors import InputError
    from freehold.datasets.read import read_dataset

    dataset = read_dataset(session.workspace.datasets, name or task, engine=session.state)
    if dataset.task.name != task:
        raise InputError(f"Dataset {dataset.id} is of task {dataset.task.name!r}, not of {task!r}.")
    return dataset


def as_record(model: ModelVersion) -> dict[str, Any]:
    """The registered result as `tune --json` prints it."""
    return {
        "schema": "freehold.tune/1",
        "model": model.id,
        "task": model.task,
        "base": model.base,
        "dataset": model.dataset_id,
        "sha256": model.sha256,
        "forecast": None,
        "actual": None,
        **{key: value for key, value in model.run.items() if key not in {"losses", "notes"}},
        "warnings": [*model.run.get("notes", ()), *([_FIRST] if "champion" in model.aliases else [])],
    }
