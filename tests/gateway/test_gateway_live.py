"""The live page and what stands behind it: boards, prices of all calls, logs."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from freehold.gateway.admin.token import AdminToken
from freehold.gateway.providers.breaker import Breaker
from freehold.gateway.watch.board import ERRORS, LAST, OPEN, Board, read_boards
from freehold.gateway.watch.live import live_record, note_process
from freehold.gateway.watch.live_page import LivePage
from freehold.gateway.watch.metrics import Counters
from freehold.gateway.watch.watched import WatchedWriter
from freehold.ledger.records import CloseRecord, OpenRecord, new_call_id
from freehold.ledger.segments import SegmentWriter
from tests.conftest import IN_CI
from tests.gateway.test_gateway_command import CHAT, ask, process, send, settings_of
from tests.gateway.upstream import ScriptedUpstream, answer, completion

CHROMIUM = Path("/usr/bin/chromium")
TOKEN = "an-admin-token-of-this-test-alone"
EVIL = "<img src=x onerror=alert(1)>"


def head(task: str = "t", model: str | None = "m", at: float = 1e9, **more: Any) -> OpenRecord:
    return OpenRecord(task=task, started_at_us=int(at * 1e6), model_requested=model, provider="p", **more)


def run(board: Board, opened: OpenRecord, tail: CloseRecord) -> None:
    board.closed(board.opened(new_call_id(), opened), opened, tail)


def test_a_board_shows_what_is_under_way_what_ended_and_what_failed(tmp_path: Path) -> None:
    board = Board(tmp_path, "w0")
    shown = board.opened(new_call_id(), head(model="slow", request_id="mine"))
    run(board, head("a" * 100, "ü" * 60, stream=True), CloseRecord(status=200, duration_ms=1500.0, ttft_ms=2.0))
    run(board, head(), CloseRecord(status=500, duration_ms=3.0))
    run(board, head(), CloseRecord(error_type="connect_failed", duration_ms=9000.0, input_tokens=5))

    (seen,) = read_boards(tmp_path)
    assert [(call.model, call.request_id, call.duration_ms) for call in seen.under_way] == [("slow", "mine", None)]
    first, second, third = seen.last
    assert (first.task, first.model, first.is_stream, first.ttft_ms) == ("a" * 48, "ü" * 24, True, 2.0)
    assert (second.status, second.error, second.ttft_ms, second.input_tokens) == (500, None, None, None)
    assert (third.status, third.error, third.input_tokens) == (None, "connect_failed", 5)
    assert [call.id for call in seen.errors] == [second.id, third.id]
    assert [call.id for call in seen.slowest] == [third.id]
    assert seen.seconds == {1_000_000_000: (1, 1), 1_000_000_001: (1, 0), 1_000_000_009: (1, 1)}
    board.closed(shown, head(model="slow"), CloseRecord(status=200, duration_ms=1.0))
    assert read_boards(tmp_path)[0].under_way == []


def test_however_much_happens_a_board_keeps_its_size_and_the_last_calls(tmp_path: Path) -> None:
    board = Board(tmp_path, "w0")
    size = (tmp_path / "w0.board").stat().st_size
    under_way = [(board.opened(new_call_id(), head(f"task-{n}"))) for n in range(OPEN + 10)]
    assert len(read_boards(tmp_path)[0].under_way) == OPEN
    for shown in under_way:
        board.closed(shown, head(), CloseRecord(status=200, duration_ms=1.0))
    for number in range(3 * LAST):
        run(board, head(f"task-{number}", at=1e9 + number), CloseRecord(status=429, duration_ms=1.0))
    (seen,) = read_boards(tmp_path)
    assert seen.under_way == []
    assert (tmp_path / "w0.board").stat().st_size == size
    assert {call.task for call in seen.last} == {f"task-{number}" for number in range(2 * LAST, 3 * LAST)}
    assert len(seen.errors) == ERRORS

    again = Board(tmp_path, "w0")  # a worker that takes a dead one's place goes on with its last calls
    run(again, head("new", at=2e9), CloseRecord(status=200, duration_ms=1.0))
    assert len(read_boards(tmp_path)[0].last) == LAST
    assert max(read_boards(tmp_path)[0].last, key=lambda call: call.started_at).task == "new"


def test_a_call_of_a_worker_that_died_is_not_under_way_for_ever(tmp_path: Path) -> None:
    Board(tmp_path, "w0").opened(new_call_id(), head())
    Board(tmp_path, "w0")
    assert read_boards(tmp_path)[0].under_way == []


def test_breakers_are_shown_with_the_worst_that_any_worker_sees(tmp_path: Path) -> None:
    healthy, failing = Board(tmp_path, "w0"), Board(tmp_path, "w1")
    healthy.health_of("openai")
    breaker = Breaker(note=failing.health_of("openai"))
    for _ in range(5):
        breaker.failed()
    now = time.time()
    (shown,) = live_record(tmp_path, now)["providers"]
    assert (shown["state"], shown["failures"], shown["workers"], shown["resting"]) == ("open", 5, 2, 1)
    assert 0 < shown["rests_s"] <= 2
    assert live_record(tmp_path, now + 60)["providers"][0]["state"] == "half-open"
    breaker.succeeded()
    assert live_record(tmp_path, now)["providers"][0]["state"] == "closed"


def test_the_watched_writer_writes_what_it_is_given_and_shows_only_what_is_on_record(tmp_path: Path) -> None:
    class Full:
        def opened(self, *_: Any) -> None:
            raise OSError

        request_of = response_of = closed = opened

    watched = WatchedWriter(Full(), Board(tmp_path, "w0"))  # type: ignore[arg-type]  # all that is used of one
    with pytest.raises(OSError):  # noqa: PT011 (as it came)
        watched.opened(new_call_id(), head())
    assert read_boards(tmp_path)[0].under_way == []

    writer = SegmentWriter(tmp_path / "segments", worker="w1", min_free_bytes=0)
    told: list[tuple[bytes, OpenRecord, CloseRecord]] = []
    watched = WatchedWriter(writer, Board(tmp_path, "w1"), listener=lambda *facts: told.append(facts))
    call_id, tail = new_call_id(), CloseRecord(status=200, duration_ms=1.0)
    watched.opened(call_id, head(), b"asked")
    watched.closed(call_id, tail, b"answered")
    writer.seal()
    assert told == [(call_id, head(), tail)]


class Page:
    """The live page of a gateway that is not there."""

    def __init__(self, folder: Path, *, has_keys: bool = False, is_loopback: bool = True, token: bool = True) -> None:
        async def keys() -> bool:
            return has_keys

        found = AdminToken(TOKEN) if token else None
        self._page = LivePage(folder, token=found, is_loopback=is_loopback, has_keys=keys)

    def ask(self, path: str = "/ui/data", method: str = "GET", **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
        told = [(b"host", b"127.0.0.1:8400")] if "host" not in headers else []
        told += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        got = asyncio.run(self._page.answer(method, path, told))
        return got.status, dict(got.headers), got.body


def test_who_may_see_the_page(tmp_path: Path) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    password = {"authorization": "Basic " + base64.b64encode(f"x:{TOKEN}".encode()).decode()}
    open_, keyed = Page(tmp_path), Page(tmp_path, has_keys=True)
    assert open_.ask()[0] == 200  # nobody needs a key, and only this machine can ask
    for page in (keyed, Page(tmp_path, is_loopback=False)):
        status, told, body = page.ask()
        assert (status, told[b"www-authenticate"][:5]) == (401, b"Basic")
        assert b"seconds" not in body
        assert page.ask(authorization="Bearer fh-some-key-of-the-gateway")[0] == 401
        assert page.ask(authorization="Basic !!!")[0] == 401
        assert page.ask(**bearer)[0] == page.ask(**password)[0] == page.ask("/ui", **password)[0] == 200
    status, _, body = Page(tmp_path, has_keys=True, token=False).ask()
    assert (status, b"token_env" in body) == (403, True)


def test_another_site_cannot_read_the_page_by_a_name_that_points_here_or_by_asking(tmp_path: Path) -> None:
    page = Page(tmp_path)
    assert [page.ask(host=host)[0] for host in ("localhost:8400", "[::1]:8400", "127.0.0.2", "LOCALHOST")] == [200] * 4
    assert [page.ask(host=host)[0] for host in ("evil.example:8400", "127.0.0.1.evil.example", "", "::1x")] == [403] * 4
    assert page.ask(sec_fetch_site="cross-site", authorization=f"Bearer {TOKEN}")[0] == 403
    for method in ("OPTIONS", "POST", "DELETE"):
        status, told, _ = page.ask(method=method, origin="https://evil.example")
        assert (status, told[b"allow"]) == (405, b"GET")
        assert not [name for name in told if name.startswith(b"access-control")]


def test_the_page_loads_nothing_and_its_policy_lets_it_load_nothing(tmp_path: Path) -> None:
    _, told, body = Page(tmp_path).ask("/ui")
    policy = told[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'none'; connect-src 'self'")
    assert "unsafe" not in policy
    assert not re.search(rb"https?://", body)
    assert told[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_in_a_browser_empty_and_with_calls(width: int, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        (pytest.fail if IN_CI else pytest.skip)("Chromium is not installed")
    upstream.scripts = [answer(completion()), answer({"error": {}}, status=500), answer(completion())]
    with (
        process(tmp_path, settings_of(upstream, "retries = 0\n"), "--workers", "2") as (_, port),
        ThreadPoolExecutor(1) as thread,  # the browser brings an event loop of its own
    ):
        thread.submit(look, port, width).result()


def look(port: int, width: int) -> None:
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark")
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto(f"http://127.0.0.1:{port}/ui")
        page.get_by_text("No call yet.").wait_for()
        assert page.locator("#rate").inner_text() == "0"
        assert page.locator("#spent").inner_text() == "unknown"  # this gateway has no housekeeping

        for task in ("support", "search", "support"):
            send(port, CHAT, json.dumps({"model": EVIL, "messages": []}).encode(), x_freehold_task=task)
        last = page.locator("#last tbody tr")
        last.nth(2).wait_for()
        assert EVIL in last.first.inner_text()  # as text
        assert page.locator("#errors tbody tr").count() == 1
        page.locator("#failed", has_text="1").wait_for()
        assert {"w0", "w1", "parent"} <= set(page.locator("#processes").inner_text().split())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browser.close()
    assert faults == []


def test_all_calls_are_priced_whoever_made_them_and_unknown_prices_are_counted_apart(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.scripts = [lambda seen, writer: answer(completion(model=seen.json["model"]))(seen, writer)]
    with process(tmp_path, settings_of(upstream), housekeeping=True) as (_, port):
        for model, task in (("gpt-5.4", "a"), ("gpt-5.4", "b"), ("nobody-knows", "a")):
            body = json.dumps({"model": model, "messages": []}).encode()
            assert send(port, CHAT, body, x_freehold_task=task)[0] == 200
        send(port, "/v1/models", b"", method="GET")  # asks no model: neither priced nor unpriced
        deadline = time.monotonic() + 60
        while (live := json.loads(send(port, "/ui/data", b"", method="GET")[1])["spending"]) is None or live[
            "unpriced_calls_today"
        ] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # the housekeeping looks every five seconds
        page = send(port, "/metrics", b"", method="GET")[1].decode()
    told = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page.splitlines() if line[0] != "#"}
    each = told['freehold_cost_usd_total{task="a"}']
    assert told['freehold_cost_usd_total{task="b"}'] == each > 0
    assert live["today_usd"] == pytest.approx(2 * each)
    assert live["unpriced_calls_today"] == told['freehold_unpriced_calls_total{model="nobody-knows"}'] == 1
    assert told["freehold_cost_today_usd"] == pytest.approx(2 * each)


def test_a_call_and_a_refusal_are_one_line_each_and_the_clients_id_is_in_both(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.scripts = [answer(completion("an answer that nobody logs"))]
    with process(tmp_path, settings_of(upstream, "[gateway]\nlog_calls = true\n")) as (child, port):
        body = json.dumps(
            {"model": "m", "messages": [{"role": "user", "content": "a prompt that nobody logs"}]}
        ).encode()
        assert send(port, CHAT, body, x_client_request_id="theirs", x_freehold_task="support")[0] == 200
        assert send(port, CHAT, ask(1), x_request_id="first", x_client_request_id="second")[0] == 200
        assert send(port, "/nowhere", b"", x_request_id="refused-one")[0] == 404
        child.terminate()
        assert child.wait(20) == 0
        assert child.stderr is not None
        logged = child.stderr.read()
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    calls = [line for line in lines if line["event"] == "call"]
    assert [line["request_id"] for line in calls] == ["theirs", "first"]
    first = calls[0]
    assert (first["task"], first["model"], first["model_served"], first["provider"], first["status"]) == (
        "support", "m", "served-model", "fake", 200,
    )  # fmt: skip
    assert (first["input_tokens"], first["output_tokens"], first["error_type"]) == (7, 3, None)
    assert first["duration_ms"] > 0
    (refused,) = (line for line in lines if line["event"] == "refused")
    assert (refused["request_id"], refused["status"], refused["endpoint"]) == ("refused-one", 404, "/nowhere")
    assert "nobody logs" not in logged


def test_every_process_of_the_gateway_is_there_with_its_memory(tmp_path: Path) -> None:
    note_process(tmp_path, "w0")
    Counters(tmp_path, "w0").add("freehold_refused_total", (("status", "401"),))
    (tmp_path / "w1.process").write_text("4194305")  # no process has this number
    record = live_record(tmp_path)
    assert [one["name"] for one in record["processes"]] == ["w0", "w1"]
    assert record["processes"][0]["memory_mib"] > 1
    assert record["processes"][1]["memory_mib"] is None
    assert record["refused"] == {"401": 1}
    assert record["spending"] is None
