from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from freehold.cli.main import COMMANDS, cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Desk, Terminal

HEAVY = "torch transformers peft numpy pydantic httpx openai sqlalchemy duckdb pyarrow"


REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
HEAD = """# Commands

The help page of every command, as `--help` prints it. What `--json` prints is told in [json.md](json.md).
"""


def _pages() -> Iterator[tuple[str, ...]]:
    yield ()
    context = click.Context(cli)
    for name in COMMANDS:
        yield (name,)
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)


PAGES = tuple(_pages())
"""The words after `freehold` of every help page."""


def _block(words: tuple[str, ...], page: str) -> str:
    return f"## {' '.join(('freehold', *words))}\n\n```text\n{page.rstrip()}\n```\n"


def test_the_reference_of_commands_is_what_the_help_pages_say(nowhere: Terminal, desk: type[Desk]) -> None:
    blocks = [_block(words, nowhere.run(*words, "--help").out) for words in PAGES]

    desk.check_golden(str(REFERENCE), "\n".join([HEAD, *blocks]))


@pytest.mark.parametrize("words", PAGES, ids=lambda words: " ".join(words) or "freehold")
def test_a_help_page_goes_to_stdout_and_its_prose_has_80_columns(nowhere: Terminal, words: tuple[str, ...]) -> None:
    shown = nowhere.run(*words, "--help")

    assert (shown.code, shown.err) == (0, "")
    assert "\\b" not in shown.out  # click's mark before a paragraph that keeps its lines
    assert _block(words, shown.out) in REFERENCE.read_text(encoding="utf-8")
    assert all(len(line) <= 110 for line in shown.out.splitlines())
    prose, _, options = shown.out.partition("Options:\n")
    wrapped = re.split("Example|Start with", prose)[0] + options
    assert all(len(line) <= 80 for line in wrapped.splitlines())


def test_short_help_and_version_are_there(nowhere: Terminal) -> None:
    from freehold import __version__

    assert nowhere.run("-h").out == nowhere.run("--help").out
    assert nowhere.run("--version").out == f"freehold {__version__}\n"


def modules_after(arguments: list[str], folder: Path, *, code: int = 0) -> set[str]:
    """Top-level modules that a fresh process has loaded after one command."""
    program = (
        "import json, sys\n"
        "from freehold.cli.main import run\n"
        f"assert run({arguments!r}) == {code}\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    assert modules_after(["--help"], tmp_path).isdisjoint(HEAVY.split())


def test_importing_and_auditing_load_no_torch(terminal: Terminal, desk: type[Desk]) -> None:
    desk.write(terminal.folder / "log.jsonl", desk.rows(12, seed=3))

    for arguments in (["import", "log.jsonl", "--task", "desk"], ["audit"]):
        assert modules_after(arguments, terminal.folder).isdisjoint({"torch", "transformers", "peft", "openai"})


def test_a_log_whose_rows_name_their_task_is_imported_without_what_discovery_needs(terminal: Terminal) -> None:
    rows = ({"input": f"Case {number}", "model_output": "yes", "task": "desk"} for number in range(3))
    (terminal.folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    assert modules_after(["import", "log.jsonl"], terminal.folder).isdisjoint({"sklearn", "scipy"})


@pytest.mark.parametrize(
    "words",
    [
        "tune nosuch",
        "tune desk --recipe nosuch",
        "tune desk nosuch.rank=3",
        "tune desk base=nosuch",
        "tune desk --dataset nosuch",
        "evaluate nosuch",
        "evaluate desk --model nosuch",
        "decide nosuch",
        "serve nosuch",
        "dataset show nosuch",
        "models show nosuch",
        "models add nosuch",
    ],
)
def test_what_is_not_there_is_refused_before_torch_is_loaded(imported: Terminal, words: str) -> None:
    assert modules_after(words.split(), imported.folder, code=2).isdisjoint(
        {"torch", "transformers", "peft", "sklearn"}
    )


@pytest.mark.parametrize(
    "words", ["nosuch", "ledger nosuch", "tune desk --nosuch", "serve --nosuch", "import --nosuch"]
)
def test_wrong_usage_is_refused_before_anything_is_loaded(tmp_path: Path, words: str) -> None:
    assert modules_after(words.split(), tmp_path, code=2).isdisjoint(HEAVY.split())


@pytest.mark.parametrize("option", ["--model=nosuch", "--answers=nosuch", "--answers=base:nosuch.jsonl"])
def test_a_slip_in_what_is_evaluated_is_refused_before_torch_is_loaded(tuned: Terminal, option: str) -> None:
    assert "torch" not in modules_after(["evaluate", "desk", option], tuned.folder, code=2)


@pytest.mark.parametrize("module", ["freehold", "freehold.cli.main"])
def test_python_runs_the_package_as_it_runs_the_script(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:9]) == (0, "freehold ")
    wrong = subprocess.run([sys.executable, "-m", module, "nothing"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "No such command 'nothing'" in wrong.stderr
