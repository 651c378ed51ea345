"""`freehold evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.cli.session import Session
    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.evaluation.contender import Contender, ContenderKind
    from freehold.evaluation.result import Evaluation

_SPARE_TOKENS = 16
_CHARACTERS_PER_TOKEN_AT_LEAST = 2


@click.command("evaluate")
@click.argument("task")
@click.option("--model", "model_name", help="Model id or TASK@ALIAS; default: the newest model of TASK.")
@click.option(
    "--answers",
    multiple=True,
    metavar="KIND:FILE",
    help="Recorded answers of a further contender: JSON lines with call_id and output. "
    "KIND is base, rent-tuned or hosted-open.",
)
@click.option("--base/--no-base", "with_base", default=True, show_default=True, help="Ask the untuned base too.")
@click.option(
    "--tasks-compared",
    type=click.IntRange(min=1),
    help="Tasks that are judged together: intervals of comparisons widen. Default: the tasks with an own model.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the intervals.")
@json_option
@quiet_option
def command(
    task: str,
    model_name: str | None,
    answers: tuple[str, ...],
    with_base: bool,
    tasks_compared: int | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Own, rented, untuned base and trivial baselines on the same held-out cases, with paired intervals.

    \b
    Examples:
      freehold evaluate support_intent
      freehold evaluate support_intent --answers base:few_shot.jsonl --json
    """
    from freehold.cli.session import open_session
    from freehold.report.progress import TerminalProgress
    from freehold.report.text import evaluation_text

    with TerminalProgress(quiet=quiet) as progress:
        evaluation = evaluate_task(
            open_session(),
            task,
            model_name=model_name,
            answers=answers,
            with_base=with_base,
            seed=seed,
            tasks_compared=tasks_compared,
            progress=progress,
        )
    record = evaluation.as_record() | {"id": evaluation.id}
    show(record, evaluation_text(record), as_json=as_json, next_step=f"freehold decide {quote(str(task))}")


def evaluate_task(
    session: Session,
    task: str,
    *,
    model_name: str | None = None,
    answers: Sequence[str] = (),
    with_base: bool = True,
    seed: int,
    tasks_compared: int | None = None,
    progress: Progress,
) -> Evaluation:
    """Evaluate a model on the test set of the dataset it was trained on, and remember the result."""
    from freehold.core.errors import InputError
    from freehold.datasets.read import read_dataset, read_examples
    from freehold.evaluation.contender import Contender
    from freehold.evaluation.store import save_evaluation
    from freehold.registry.store import get_model, list_models, verify_model
    from freehold.tuning.bases import fetch_base

    known = list_models(session.state, task=task)
    if not known:
        raise InputError(f"Task {task!r} has no own model yet. Make one with: freehold tune {task}")
    model = get_model(session.state, model_name) if model_name else known[0]
    if model.task != task:
        raise InputError(f"Model {model.id} is of task {model.task!r}, not of {task!r}.")
    dataset = read_dataset(session.workspace.datasets, model.dataset_id or task, engine=session.state)
    test, validation = read_examples(dataset, "test"), read_examples(dataset, "validation")
    recorded = [_recorded(session, one, test) for one in answers]
    base = fetch_base(model.base, progress=progress)
    adapter = verify_model(model, session.workspace.models)

    from freehold.evaluation.evaluate import evaluate
    from freehold.tuning.predict import LocalModel  # torch takes seconds: all that was named is there

    contenders = [
        Contender(
            name=model.id,
            kind="own",
            model=LocalModel(base, adapter=adapter, name=model.id),
            version=model.id,
        )
    ]
    contenders += recorded
    if with_base and not any(one.kind == "base" for one in recorded):
        name = f"{base.name} (untuned)"
        contenders.append(Contender(name=name, kind="base", model=LocalModel(base, name=name)))
    evaluation = evaluate(
        dataset=dataset,
        examples=test,
        train=read_examples(dataset, "train"),
        validation=validation,
        contenders=contenders,
        margin_points=session.settings.decide.margin_points,
        confidence=session.settings.decide.confidence,
        seed=seed,
        tasks_compared=tasks_compared or len({one.task for one in list_models(session.state)}),
        max_output_tokens=_longest_answer(test),
        progress=progress,
    )
    save_evaluation(session.state, evaluation)
    return evaluation


def _longest_answer(examples: Sequence[Example]) -> int:
    """Output tokens that are enough for the longest right answer, with room to be wrong in."""
    longest = max((len(example.target) for example in examples), default=0)
    return longest // _CHARACTERS_PER_TOKEN_AT_LEAST + _SPARE_TOKENS


def _recorded(session: Session, option: str, examples: Sequence[Example]) -> Contender:
    """A contender whose answers stand in a file, under the ids that the log or the ledger gave the calls."""
    from freehold.core.chat import Answer
    from freehold.core.errors import InputError
    from freehold.evaluation.contender import Contender
    from freehold.ledger.logs.files import read_log
    from freehold.ledger.logs.raw_rows import Blank, RawRow

    kind, colon, path = option.partition(":")
    kinds: dict[str, ContenderKind] = {
        "base": "base",
        "rent-tuned": "rent-tuned",
        "hosted-open": "hosted-open",
    }
    if not colon or kind not in kinds:
        raise InputError(f"--answers {option!r} must read KIND:FILE with KIND one of {', '.join(kinds)}.")
    if not Path(path).is_file():
        raise InputError(f"--answers: there is no file {path!r}.")
    rows: dict[str, Any] = {}
    name = kind
    for row in read_log(Path(path)):
        if isinstance(row, Blank):
            continue
        if not isinstance(row, RawRow):
            raise InputError(f"{row.file}, line {row.line}: {row.reason}.")
        if "call_id" not in row.values or "output" not in row.values:
            raise InputError(f"{path}, line {row.line}: an answer has 'call_id' and 'output'.")
        rows[str(row.values["call_id"])] = row.values["output"]
        name = str(row.values.get("model", name))
    ids = {example.id for example in examples}
    found = {call.id: rows[reference] for reference, call in session.ledger.find(rows).items() if call.id in ids}
    if not found:
        raise InputError(f"{path}: none of its {len(rows)} answers belongs to a case of the test set.")
    answers = {
        key: Answer(text=value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in found.items()
    }
    return Contender(name=name, kind=kinds[kind], answers=answers)
