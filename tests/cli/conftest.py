"""A desk's log, a tiny model tuned on it, and a way to run commands as a person would."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from freehold.cli.main import run
from freehold.core.chat import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from freehold.core.chat import Constraint, Message
    from freehold.core.progress import Progress

GOLDEN = Path(__file__).parent / "golden"
TOPICS = {
    "card": "card bank plastic chip contactless wallet machine swallowed stolen lost blocked pin",
    "refund": "refund shop returned shoes money back merchant charged twice cancelled coffee invoice",
    "transfer": "transfer sent sister rent euros arrived pending account iban wire missing landlord",
}
CHATTER = (
    "please the my yesterday today is was not yet still again when how morning week they you can someone "
    "help monday street it nobody since answer call wait"
)
TINY = (
    "base=tiny",
    "threads=1",
    "precision=float32",
    "lora.rank=4",
    "lora.upper_layers=2",
    "training.epochs=2",
    "training.batch_size=16",
    "training.max_tokens=256",
    "training.checkpoint_steps=1",
)
"""Options of `tune` for the tiny model; it lies in the workspace under this name."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def record(self) -> dict[str, Any]:  # Any: JSON
        """The one JSON object on stdout, after which stderr tells what to do next."""
        assert self.out.count("\n") == 1, f"stdout is not one line: {self.out[:200]!r}; stderr: {self.err!r}"
        record = json.loads(self.out)
        assert isinstance(record, dict)
        assert re.fullmatch(r"freehold\.[a-z]+/1", record["schema"])
        assert self.last_line.startswith("Next: ")
        return record

    @property
    def last_line(self) -> str:
        return self.err.splitlines()[-1]

    @property
    def error(self) -> str:
        """The one line that says what is wrong; nothing stands on stdout."""
        assert self.out == ""
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1
        assert lines[0] == self.last_line
        assert "Traceback" not in self.err
        return lines[0].removeprefix("Error: ")


def desk_rows(count: int, *, seed: int, rented_errs_every: int = 10) -> list[dict[str, Any]]:  # Any: JSON
    """Dated calls of a rented model with what the desk says the topic is; no two are near-duplicates."""
    choice = random.Random(seed)
    names = sorted(TOPICS)
    rows = []
    for number in range(count):
        topic = names[number % 3]
        words = choice.sample(TOPICS[topic].split(), 4) + choice.sample(CHATTER.split(), 8)
        choice.shuffle(words)
        is_wrong = number % rented_errs_every == 0
        rows.append(
            {
                "id": f"{seed}-{number}",
                "input": " ".join(words),
                "output": topic,
                "model_output": names[(number + 1) % 3] if is_wrong else topic,
                "model": "gpt-5.4",
                "provider": "openai",
                "input_tokens": 280 + number % 40,
                "output_tokens": 4,
                "duration_ms": 400 + 10 * (number % 25),
                "started_at": f"2026-06-{1 + number % 14:02d}T{8 + number % 9:02d}:{number % 60:02d}:00Z",
            }
        )
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, Any]], *, without: Sequence[str] = ()) -> Path:  # Any: JSON
    """Rows as JSON Lines, some fields left out."""
    lines = (json.dumps({key: value for key, value in row.items() if key not in without}) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


class Oracle:
    """An own model that is always right."""

    name = "oracle"

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        constraint: Constraint,
        max_output_tokens: int,
        progress: Progress,
    ) -> list[Answer]:
        return [Answer(text=self.topic(turns[-1].content), confidence=0.9) for turns in conversations]

    @staticmethod
    def topic(text: str) -> str:
        return max(TOPICS, key=lambda topic: len(set(TOPICS[topic].split()) & set(text.split())))


def masked(text: str, folder: Path) -> str:
    """A command's output without what differs from run to run or from machine to machine."""
    text = text.replace(str(folder), "<workspace>")
    text = re.sub(r"rejected/[0-9TZ-]+-[0-9a-f]{6}\.jsonl", "rejected/<import>.jsonl", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "<sha256>", text)
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<call>", text)
    text = re.sub(r"(?<=[a-z]-)[0-9a-f]{12}\b", "x" * 12, text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", "<moment>", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(?!:)", "<moment>       ", text)
    text = re.sub(r"[\d.]+ (bytes|kB)\b", "<size>", text)
    text = re.sub(r"(?m)^(Time|CPU time|Final loss|Foreseen|Actual)( +)\S.*$", r"\1\2…", text)
    text = re.sub(r"(?m)^((?:Time|CPU time|Final loss) ) *…$", r"\1…", text)
    return re.sub(r"(?m)(champion +\d+  )\d{4}-\d\d-\d\d$", r"\1<day>", text)


def fields_of(value: Any, path: str = "") -> set[str]:  # Any: JSON
    """Every field of a JSON value with the type that it has: `contenders[].name: string`."""
    if isinstance(value, dict):
        inner = (fields_of(item, f"{path}.{key}".lstrip(".")) for key, item in value.items())
        return set().union({f"{path}: object"} if not value else set(), *inner)
    if isinstance(value, list):
        inner = (fields_of(item, f"{path}[]") for item in value)
        return set().union({f"{path}: array"} if not value else set(), *inner)
    kinds = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return {f"{path}: {kinds[type(value)]}"}


def check_golden(name: str, text: str) -> None:
    """Compare with the file in `golden/`; FREEHOLD_REGENERATE=1 writes it instead."""
    file = GOLDEN / name
    if os.environ.get("FREEHOLD_REGENERATE"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"after a wanted change: FREEHOLD_REGENERATE=1 ({name})"


def run_quietly(*arguments: str) -> None:
    """Run a command that must succeed, outside of any test."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(arguments)
    assert code == 0, f"{arguments}: {out.getvalue()}{err.getvalue()}"


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs commands in one workspace and compares what they show."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str | Path) -> Shown:
        self.capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        return Shown(code, captured.out, captured.err)

    def golden(self, name: str, *arguments: str | Path, code: int = 0) -> Shown:
        """Run a command and compare its stdout, whole, with its golden file."""
        shown = self.run(*arguments)
        assert shown.code == code, shown.err
        assert shown.last_line.startswith("Next: ")
        check_golden(f"{name}.txt", masked(shown.out, self.folder))
        return shown

    def json(self, name: str, *arguments: str | Path, code: int = 0) -> dict[str, Any]:  # Any: JSON
        """Run a command with `--json` and compare the fields of its record with its golden file."""
        shown = self.run(*arguments, "--json")
        assert shown.code == code, shown.err
        fields = "".join(f"{line}\n" for line in sorted(fields_of(shown.record)))
        check_golden(f"{name}.fields", masked(fields, self.folder))
        return shown.record


class Desk:
    """What tests of the commands are built from."""

    rows = staticmethod(desk_rows)
    write = staticmethod(write_rows)
    masked = staticmethod(masked)
    check_golden = staticmethod(check_golden)
    Oracle = Oracle
    tiny = TINY
    golden_folder = GOLDEN
    program = (sys.executable, "-c", "from freehold.cli.main import main; main()")


@pytest.fixture(scope="session")
def desk() -> type[Desk]:
    return Desk


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests reaches a command; a line has 80 columns."""
    for name in list(os.environ):
        if name.startswith("FREEHOLD_") and name != "FREEHOLD_REGENERATE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("FREEHOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A folder that is in no workspace."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(folder, capsys)


@pytest.fixture
def terminal(nowhere: Terminal) -> Terminal:
    """An empty workspace."""
    run_quietly("init")
    return nowhere


@pytest.fixture(scope="session")
def imported_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a log, a declared test set and a dataset of task `desk`; copy it before use."""
    folder = tmp_path_factory.mktemp("imported") / "work"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_quietly("init")
        write_rows(folder / "log.jsonl", desk_rows(150, seed=1))
        write_rows(folder / "held_out.jsonl", desk_rows(60, seed=2))
        run_quietly("import", "log.jsonl", "--task", "desk")
        run_quietly("import", "held_out.jsonl", "--task", "desk", "--split", "test")
        run_quietly("dataset", "build", "desk")
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a tiny random model."""
    import torch

    from tests.tiny_model import make_tiny_model

    torch.set_num_threads(1)
    return make_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def tuned_folder(imported_folder: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same workspace with a tuned and evaluated tiny model; copy it before use."""
    folder = shutil.copytree(imported_folder, tmp_path_factory.mktemp("tuned") / "work")
    (folder / "tiny").symlink_to(tiny_folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_quietly("tune", "desk", *TINY, "--quiet")
        run_quietly("evaluate", "desk", "--quiet")
    return folder


def _copy(source: Path, terminal: Terminal) -> Terminal:
    shutil.copytree(source, terminal.folder, dirs_exist_ok=True, symlinks=True)
    return terminal


@pytest.fixture
def imported(imported_folder: Path, nowhere: Terminal) -> Terminal:
    """A copy of the imported workspace, of this test alone."""
    return _copy(imported_folder, nowhere)


@pytest.fixture
def tuned(tuned_folder: Path, nowhere: Terminal) -> Terminal:
    """A copy of the tuned workspace, of this test alone."""
    return _copy(tuned_folder, nowhere)


@pytest.fixture
def evaluated_as_perfect(imported: Terminal) -> Callable[..., Terminal]:
    """The imported workspace with a stored evaluation in which the own model is always right."""
    from freehold.cli.session import open_session
    from freehold.core.progress import Silent
    from freehold.datasets.read import read_dataset, read_examples
    from freehold.evaluation.contender import Contender
    from freehold.evaluation.evaluate import evaluate
    from freehold.evaluation.store import save_evaluation

    def store(task: str = "desk") -> Terminal:
        session = open_session()
        dataset = read_dataset(session.workspace.datasets, task, engine=session.state)
        evaluation = evaluate(
            dataset=dataset,
            examples=read_examples(dataset, "test"),
            train=read_examples(dataset, "train"),
            contenders=[Contender(name="oracle", kind="own", model=Oracle())],
            margin_points=2.0,
            confidence=0.95,
            seed=0,
            progress=Silent(),
        )
        save_evaluation(session.state, evaluation)
        return imported

    return store
