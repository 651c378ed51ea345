"""The guide in docs/guides is walked as it stands: each command, each snippet, in their order."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.upstream import ScriptedUpstream, answer, completion

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Desk, Terminal
    from tests.gateway.upstream import Seen

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "from-traffic-to-a-model.md"
BLOCKS = re.findall(r"^```(bash|toml|python)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines()]
MESSAGES = 90


def _provider(desk: type[Desk]) -> Callable[[Seen, asyncio.StreamWriter], Any]:
    """A rented model that names the topic and errs on every tenth message."""
    asked = 0

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        topic = "card" if asked % 10 == 0 else desk.Oracle.topic(seen.json["messages"][-1]["content"])
        await answer(completion(topic, model="gpt-5.4"))(seen, writer)

    return script


@contextmanager
def _running(command: str, begins: str, desk: type[Desk]) -> Iterator[str]:
    """A command that stays, until the test is over; the URL that it tells on a line that begins so."""
    words = ["0" if word in {"8400", "8080"} else word for word in command.split()[1:]]
    with subprocess.Popen([*desk.program, *words], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        try:
            line = child.stderr.readline()
            while line and not line.startswith(begins):
                line = child.stderr.readline()
            found = re.search(r"http://[\d.:]+", line)
            assert found, f"{command} did not start"
            yield found[0]
        finally:
            child.terminate()
            child.stderr.read()
        assert child.wait(30) == 0


def _define(snippet: str, replacements: dict[str, str]) -> dict[str, Any]:  # Any: whatever the snippet defines
    for old, new in replacements.items():
        snippet = snippet.replace(old, new)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(GUIDE), "exec"), names)
    return names


class _Walk:
    """The reader of the guide: runs commands, writes settings, pastes snippets."""

    def __init__(self, terminal: Terminal, desk: type[Desk], upstream: ScriptedUpstream, stack: ExitStack) -> None:
        self.terminal, self.desk, self.upstream, self.stack = terminal, desk, upstream, stack
        self.urls = {"https://api.openai.com/v1": upstream.base_url}
        self.messages = {row["input"]: row["output"] for row in desk.rows(MESSAGES, seed=11)}
        self.asked: list[str] = []

    def step(self, kind: str, block: str) -> None:
        match kind:
            case "bash":
                for line in block.splitlines():
                    self._command(line)
            case "toml":
                settings = self.terminal.folder / "freehold.toml"
                settings.write_text(settings.read_text() + block.replace(*next(iter(self.urls.items()))))
            case _:
                names = _define(block, self.urls)
                if "triage" in names:
                    self._use(names["triage"])
                elif (self.terminal.folder / "review.csv").exists():
                    self._review()

    def _command(self, line: str) -> None:
        if line.startswith("freehold gateway"):
            url = self.stack.enter_context(_running(line, "Gateway at", self.desk))
            self.urls["http://127.0.0.1:8400"] = url
        elif line.startswith("freehold serve"):
            url = self.stack.enter_context(_running(line, "Serving", self.desk))
            self.urls["http://127.0.0.1:8080"] = url
        else:
            words = line.split()[1:] + (list(self.desk.tiny) if line.startswith("freehold tune") else [])
            shown = self.terminal.run(*words)
            assert shown.code in ({0, 3, 4} if words[0] == "decide" else {0}), (line, shown.err)
            assert shown.last_line.startswith("Next: ")

    def _use(self, triage: Callable[[str], str]) -> None:
        if not self.asked:
            self.asked = [triage(message) for message in self.messages]
        else:
            assert triage(next(iter(self.messages))) in set(self.messages.values())

    def _review(self) -> None:
        """Put the right answer where the rented model erred."""
        file = self.terminal.folder / "review.csv"
        head, *lines = file.read_text().splitlines()
        assert (head, len(lines)) == ("call_id,question,output", MESSAGES)
        reviewed = (line.rpartition(",")[0] + "," + self.desk.Oracle.topic(line.split(",")[1]) for line in lines)
        file.write_text("\n".join([head, *reviewed]) + "\n")


def test_the_guide_leads_from_traffic_to_a_served_model(
    nowhere: Terminal, desk: type[Desk], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-upstream")
    (nowhere.folder / "tiny").symlink_to(tiny_folder)
    with ScriptedUpstream() as upstream, ExitStack() as stack:
        upstream.scripts = [_provider(desk)]
        walk = _Walk(nowhere, desk, upstream, stack)
        for kind, block in BLOCKS:
            walk.step(kind, block)

        assert len(upstream.seen) == MESSAGES
        assert upstream.seen[0].header("authorization") == "Bearer sk-upstream"
        assert upstream.seen[0].header("x-freehold-task") is None
        (task,) = nowhere.run("audit", "--json").record["tasks"]
        assert (task["task"], task["calls"], task["own_calls"]) == ("triage", MESSAGES, 1)
        assert task["corrected_share"] == pytest.approx(6 / MESSAGES)  # of nine errors three were right by chance
        dataset = nowhere.run("dataset", "show", "triage", "--json").record
        assert sum(dataset["rows"].values()) == MESSAGES


def test_the_guide_names_every_command_that_it_walks_by_its_full_name() -> None:
    assert [line for line in COMMANDS if not line.startswith("freehold ")] == []
    assert {line.split()[1] for line in COMMANDS} >= {
        "init", "gateway", "ledger", "audit", "import", "dataset", "tune", "evaluate", "decide", "serve",
    }  # fmt: skip
