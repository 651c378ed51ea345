"""The steps of the demo, in the order in which a company would take them."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from openai import OpenAI, OpenAIError

from freehold.cli.costs import DEFAULT_PLAN, CostQuestion, audit_of, task_costs
from freehold.cli.dataset_command import build_from
from freehold.cli.decide_command import decide_task, write_report
from freehold.cli.evaluate_command import evaluate_task
from freehold.cli.import_command import import_into
from freehold.cli.serve_command import champions, endpoint_of
from freehold.cli.session import Session, open_session
from freehold.cli.tune_command import tune_task
from freehold.core.errors import InputError, UpstreamError
from freehold.datasets.policy import Policy
from freehold.datasets.read import read_dataset, read_examples
from freehold.ledger.logs.engine import Choices
from freehold.report.findings import verdict_sentence
from freehold.state.workspace import DATA_FOLDER, SETTINGS_FILE, create_workspace
from freehold.tuning.bases import fetch_base
from freehold.tuning.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from freehold.core.progress import Progress
    from freehold.evaluation.record import WrittenDecision

Given = ParamSpec("Given")
Result = TypeVar("Result")

TASKS = ("support_intent", "dispute_fields")
_FINISHED = "demo-finished"
# Seconds on two cores. What is announced as left is corrected by how long the steps really take.
_EXPECTED_S = {
    "base model": 20.0,
    "import": 2.0,
    "audit": 1.0,
    "breakeven": 2.0,
    "dataset": 4.0,
    "decide": 5.0,
    "serve": 8.0,
}
_EXPECTED_TASK_S = {"tune": {TASKS[0]: 130.0, TASKS[1]: 180.0}, "evaluate": {TASKS[0]: 40.0, TASKS[1]: 60.0}}
_LONG_S = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step, as it is announced."""

    number: int
    of: int
    what: str


@dataclass(slots=True)
class Demo:
    """One walk through the loop in a workspace of its own."""

    folder: Path
    recipe: str
    base: str | None
    is_quick: bool
    seed: int
    progress: Progress
    announce: Callable[[Step, float], None]
    overrides: Sequence[str] = ()
    """Of the recipe, as KEY=VALUE."""
    sample: Traversable = files("freehold.samples") / "harbour"
    """Folder with log.jsonl, corrections.jsonl, base_answers.jsonl and freehold.toml."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    _left_s: dict[str, float] = field(default_factory=dict)
    """Expected seconds of the steps that are still to come."""
    _long_expected_s: float = 0.0
    _long_taken_s: float = 0.0
    _of: int = 0

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the walk is about: both tasks, or the quicker one."""
        return TASKS[:1] if self.is_quick else TASKS

    def walk(self) -> dict[str, Any]:
        """Take all steps and return the record that `demo --json` prints.

        Raises:
            FreeholdError: a step failed; the same command goes on from there.
        """
        with as_file(self.sample) as sample:
            session = self._open(sample)
            self._plan()
            self._take("base model", "fetching the base model", self._fetch_base)
            self._take("import", "importing the log and the desk's corrections", self._import, session, sample)
            audit = self._take("audit", "auditing the log", audit_of, session).as_record()
            costs = self._take("breakeven", "comparing renting with owning", self._costs, session)
            self._take("dataset", "building datasets", self._datasets, session)
            for task in self.tasks:
                self._take(f"tune {task}", f"fine-tuning a model for {task}", self._tune, session, task)
            for task in self.tasks:
                what = f"asking own, base and baselines the held-out cases of {task}"
                self._take(f"evaluate {task}", what, self._evaluate, session, task, sample)
            written = self._take("decide", "judging, signing", self._decide, session)
            answers = self._take("serve", "serving the own models and asking them", self._serve, session)
        audited = {**audit, "tasks": [one for one in audit["tasks"] if one["task"] in self.tasks]}
        report = write_report(session, written, audit=audited, steps=self.steps)
        (session.workspace.data / _FINISHED).touch()
        verdicts = [
            {
                "task": one.decision.task,
                "verdict": one.decision.verdict,
                "sentence": verdict_sentence(one.record),
                "file": str(one.file),
            }
            for one in written
        ]
        return {
            "schema": "freehold.demo/1",
            "workspace": str(session.workspace.root),
            "verdicts": verdicts,
            "steps": self.steps,
            "report": str(report),
            "answers": answers,
            "audit": audit,
            "breakeven": costs,
        }

    def _open(self, sample: Path) -> Session:
        """A workspace with the sample's settings; one in which a demo was finished is emptied first."""
        settings = self.folder / SETTINGS_FILE
        shipped = (sample / SETTINGS_FILE).read_text(encoding="utf-8")
        if settings.exists() and settings.read_text(encoding="utf-8") != shipped:
            raise InputError(f"{self.folder} is a workspace of yours. Name another folder with --folder.")
        if (self.folder / DATA_FOLDER / _FINISHED).exists():
            shutil.rmtree(self.folder / DATA_FOLDER)
        workspace, is_new = create_workspace(self.folder)
        if is_new:
            settings.write_text(shipped, encoding="utf-8")
        return open_session(workspace.root)

    def _plan(self) -> None:
        self._left_s = dict(_EXPECTED_S)
        for kind, by_task in _EXPECTED_TASK_S.items():
            self._left_s |= {f"{kind} {task}": by_task[task] for task in self.tasks}
        self._of = len(self._left_s)

    def _take(
        self, name: str, what: str, act: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Announce a step, take it, and note how long it took."""
        self.announce(Step(len(self.steps) + 1, self._of, what), sum(self._left_s.values()) * self._pace())
        started = time.monotonic()
        is_done = False
        try:
            result = act(*given, **named)
            is_done = True
        finally:
            seconds = round(time.monotonic() - started, 1)
            self.steps.append({"name": name, "seconds": seconds, "ok": is_done})
        expected = self._left_s.pop(name)
        if expected >= _LONG_S:
            self._long_expected_s += expected
            self._long_taken_s += seconds
        return result

    def _pace(self) -> float:
        """How much longer than expected the long steps took so far; 1 until one was taken."""
        return self._long_taken_s / self._long_expected_s if self._long_expected_s else 1.0

    def _fetch_base(self) -> None:
        fetch_base(self.base or load_recipe(self.recipe, []).base, progress=self.progress)

    def _import(self, session: Session, sample: Path) -> None:
        import_into(session, [sample / "log.jsonl", sample / "corrections.jsonl"], Choices(), progress=self.progress)

    def _question(self) -> CostQuestion:
        return CostQuestion(own=DEFAULT_PLAN, seed=self.seed)

    def _costs(self, session: Session) -> list[dict[str, Any]]:
        return [task_costs(session, task, self._question())[0] for task in self.tasks]

    def _datasets(self, session: Session) -> None:
        for task in self.tasks:
            build_from(session, task, policy=Policy(), progress=self.progress)

    def _tune(self, session: Session, task: str) -> None:
        tune_task(
            session,
            task,
            recipe=self.recipe,
            overrides=self.overrides,
            base=self.base,
            progress=self.progress,
        )

    def _evaluate(self, session: Session, task: str, sample: Path) -> None:
        evaluate_task(
            session,
            task,
            answers=[f"base:{sample / 'base_answers.jsonl'}"],
            seed=self.seed,
            tasks_compared=len(self.tasks),
            progress=self.progress,
        )

    def _decide(self, session: Session) -> list[WrittenDecision]:
        return [decide_task(session, task, self._question()) for task in self.tasks]

    def _serve(self, session: Session) -> list[dict[str, str]]:
        """Ask each champion one held-out question through the official client."""
        answers = []
        with endpoint_of(session, champions(session, self.tasks)) as base_url:
            client = OpenAI(base_url=base_url, api_key="none", max_retries=0)
            for task in self.tasks:
                dataset = read_dataset(session.workspace.datasets, task, engine=session.state)
                question = read_examples(dataset, "test")[0].messages[-1].content
                try:
                    reply = client.chat.completions.create(model=task, messages=[{"role": "user", "content": question}])
                except OpenAIError as error:
                    raise UpstreamError(f"The endpoint did not answer for {task}: {error}") from error
                answer = reply.choices[0].message.content or ""
                answers.append({"task": task, "question": question, "answer": answer, "model": reply.model})
            client.close()
        return answers
