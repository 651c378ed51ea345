"""The admin API: on a real socket, with a real database, asked properly and improperly."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from freehold.gateway.admin.api import AdminApi, Life
from freehold.gateway.admin.schema import BASE, openapi
from freehold.gateway.admin.server import MOST_CONNECTIONS, serve
from freehold.gateway.admin.token import AdminToken, admin_token_of
from freehold.state.database import first_broken_entry, open_state
from freehold.state.schema import AUDIT_TRAIL
from freehold.state.settings import AdminSection, Settings
from tests.gateway.test_gateway_command import ask, children_of, process, send, settings_of
from tests.gateway.upstream import ScriptedUpstream, answer, completion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

TOKEN = "an-admin-token-of-this-test-alone"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "admin.openapi.json"


@dataclass
class Steering:
    """What the API did to a gateway that is not there."""

    drained: int = 0
    reloads: list[str | type[Exception] | None] = field(default_factory=list)

    def reload(self) -> str | None:
        fault = self.reloads.pop(0) if self.reloads else None
        if isinstance(fault, type):
            raise fault
        return fault

    def drain(self) -> None:
        self.drained += 1


@dataclass
class Admin:
    """A running admin API."""

    port: int
    engine: Engine
    steering: Steering

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            sent = {**AUTHORIZED, "content-type": "application/json"} if headers is None else headers
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            raw = response.read()
            return response.status, told, json.loads(raw) if "json" in told.get("content-type", "") else raw
        finally:
            connection.close()

    def raw(self, *pieces: bytes) -> bytes:
        """Bytes as they stand; all that comes back until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            for piece in pieces:
                client.sendall(piece)
            got = b""
            try:
                while piece := client.recv(65536):
                    got += piece
            except ConnectionResetError:
                pass
            return got


@contextmanager
def running_admin(state_url: str, folder: Path, *, request_s: float = 10.0) -> Iterator[Admin]:
    engine, steering = open_state(state_url), Steering()
    api = AdminApi(engine, AdminToken(TOKEN), folder, Life(steering.reload, steering.drain))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    loop = asyncio.new_event_loop()
    until = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(serve(listener, api.answer, until=until, request_s=request_s))
    )
    thread.start()
    try:
        yield Admin(port, engine, steering)
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        engine.dispose()


@pytest.fixture
def admin(state_url: str, tmp_path: Path) -> Iterator[Admin]:
    with running_admin(state_url, tmp_path) as found:
        yield found


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Admin]:
    """The same on SQLite alone, for what has nothing to do with the database."""
    with running_admin(f"sqlite:///{tmp_path / 'state.db'}", tmp_path) as found:
        yield found


def trail(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        assert first_broken_entry(connection) is None
        entries = connection.execute(select(AUDIT_TRAIL).order_by(AUDIT_TRAIL.c.sequence)).all()
    return [(entry.actor, entry.action) for entry in entries]


def test_a_key_is_made_shown_changed_rotated_and_revoked_and_the_trail_says_by_whom(admin: Admin) -> None:
    new = {"name": "desk", "models": ["gpt-5*"], "limits": {"requests/minute": 60, "usd/month": 12.5}}
    status, _, made = admin.ask("POST", f"{BASE}/keys", new)
    assert (status, made["secret"][:3], made["models"]) == (201, "fh-", ["gpt-5*"])
    assert [(one["measure"], one["amount"]) for one in made["limits"]] == [("requests", 60), ("usd", 12.5)]
    assert admin.ask("POST", f"{BASE}/keys", new)[0] == 409  # the name is taken

    change = {"limits": {"requests/minute": 90, "usd/month": None, "tokens/day": None}}
    status, _, changed = admin.ask("PATCH", f"{BASE}/keys/{made['id']}", change)
    assert (status, [(one["measure"], one["amount"]) for one in changed["limits"]]) == (200, [("requests", 90)])
    assert admin.ask("PATCH", f"{BASE}/keys/desk", {"limits": {}})[2]["limits"] == changed["limits"]

    status, _, rotated = admin.ask("POST", f"{BASE}/keys/desk/rotate", {"grace_s": 60})
    assert (status, len(rotated["secrets"]), rotated["secret"] != made["secret"]) == (200, 2, True)
    status, _, listed = admin.ask("GET", f"{BASE}/keys")
    assert (status, [one["id"] for one in listed["keys"]]) == (200, [made["id"]])
    assert "secret" not in listed["keys"][0]
    status, _, revoked = admin.ask("POST", f"{BASE}/keys/desk/revoke", {"reason": "left in a notebook"})
    assert (status, revoked["is_usable"]) == (200, False)
    assert admin.ask("GET", f"{BASE}/keys")[2] == {"keys": []}
    assert len(admin.ask("GET", f"{BASE}/keys?all=true")[2]["keys"]) == 1
    assert admin.ask("POST", f"{BASE}/keys/{made['id']}/rotate")[0] == 409

    assert trail(admin.engine) == [
        ("admin-api", f"key.{what}") for what in ("created", "limits_changed", "rotated", "revoked")
    ]


def test_reload_says_what_came_of_it_and_drain_begins_once_it_is_on_record(lone: Admin) -> None:
    lone.steering.reloads = [None, "gateway.workers: 0 is too few", TimeoutError]
    assert lone.ask("POST", f"{BASE}/reload")[::2] == (200, {"status": "reloaded"})
    status, _, refused = lone.ask("POST", f"{BASE}/reload")
    assert (status, "gateway.workers: 0 is too few" in refused["error"]["message"]) == (409, True)
    assert lone.ask("POST", f"{BASE}/reload")[0] == 503
    assert lone.ask("POST", f"{BASE}/drain")[::2] == (202, {"status": "draining"})
    assert lone.steering.drained == 1
    assert [action for _, action in trail(lone.engine)] == ["gateway.reloaded", "gateway.reloaded", "gateway.drained"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"x-api-key": TOKEN},
        {"cookie": f"token={TOKEN}"},
    ],
)
def test_nothing_is_said_or_done_without_the_token(lone: Admin, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/status"), ("POST", "/keys"), ("POST", "/drain"), ("GET", "/nowhere")):
        status, told, body = lone.ask(method, BASE + path, {"name": "x"}, headers=headers)
        assert (status, body["error"]["code"]) == (401, "admin_token_required")
        assert told["www-authenticate"].startswith("Bearer")
    assert lone.steering.drained == 0
    assert trail(lone.engine) == []


def test_a_token_beside_another_one_opens_nothing_and_a_browsers_password_only_the_page(lone: Admin) -> None:
    head = f"GET {BASE}/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    both = f"authorization: Bearer {TOKEN}\r\nauthorization: Bearer other\r\n\r\n"
    assert lone.raw((head + both).encode()).startswith(b"HTTP/1.1 401 ")
    import base64

    password = {"authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}
    assert lone.ask("GET", f"{BASE}/status", headers=password)[0] == 401  # another site could make a browser send it
    assert lone.ask("GET", "/ui", headers=password)[0] == 200
    status, told, _ = lone.ask("GET", "/ui", headers={})
    assert (status, told["www-authenticate"][:5]) == (401, "Basic")


def test_another_site_can_neither_ask_nor_read(lone: Admin) -> None:
    asks = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for path in (f"{BASE}/keys", f"{BASE}/drain", "/ui", "/ui/data"):
        status, told, _ = lone.ask("OPTIONS", path, headers={**asks, **AUTHORIZED})
        assert status == 405
        assert not [name for name in told if name.startswith("access-control-")]
    # A form can be sent without asking first, but not with JSON's content type.
    form = {**AUTHORIZED, "content-type": "text/plain", "origin": "https://evil.example"}
    status, told, _ = lone.ask("POST", f"{BASE}/keys", {"name": "evil"}, headers=form)
    assert (status, "access-control-allow-origin" in told) == (415, False)
    assert lone.ask("GET", "/ui/data", headers={**AUTHORIZED, "sec-fetch-site": "cross-site"})[0] == 403


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: a\nb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx y: z\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 401),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5_000 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"8000\r\n" + b"a" * 32768 + b"\r\n" + b"8001\r\n"
         + b"a" * 32769 + b"\r\n", 413),
    ],
)  # fmt: skip
def test_what_is_no_decent_request_is_refused_and_the_connection_ends(lone: Admin, sent: bytes, status: int) -> None:
    got = lone.raw(sent)
    assert got.startswith(b"HTTP/1.1 %d " % status), got[:100]
    assert got.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in got


def test_a_line_break_in_a_path_or_a_value_stays_where_it_is(lone: Admin) -> None:
    status, told, body = lone.ask("GET", f"{BASE}/keys/a%0d%0ax-injected:%201")
    assert (status, "x-injected" in told, body["error"]["code"]) == (404, False, "unknown_key")
    new = {"name": "a\r\nx-injected: 1"}
    assert lone.ask("POST", f"{BASE}/keys", new)[0] == 400
    assert lone.ask("POST", f"{BASE}/keys", b"[" * 60_000)[0] == 400
    assert lone.ask("POST", f"{BASE}/keys", b"\xff\xfe")[0] == 400


def test_a_slow_client_is_let_go_and_many_of_them_keep_nobody_out(tmp_path: Path) -> None:
    with running_admin(f"sqlite:///{tmp_path / 's.db'}", tmp_path, request_s=0.3) as admin:
        slow = [socket.create_connection(("127.0.0.1", admin.port), timeout=20) for _ in range(MOST_CONNECTIONS)]
        for one in slow:
            one.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n")
        refused = admin.raw(b"")  # there is no place left
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert [one.recv(100) for one in slow] == [b""] * len(slow)
        for one in slow:
            one.close()
        assert admin.ask("GET", f"{BASE}/status")[0] == 200


def test_the_database_away_is_said_and_nothing_else(lone: Admin, tmp_path: Path) -> None:
    for file in tmp_path.glob("state.db*"):
        file.write_bytes(b"not a database any more" * 1000)
    lone.engine.dispose()
    status, _, body = lone.ask("GET", f"{BASE}/keys")
    assert (status, body["error"]["code"]) == (503, "state_unavailable")


def test_the_document_is_served_without_a_token_and_shipped(lone: Admin) -> None:
    status, _, document = lone.ask("GET", f"{BASE}/openapi.json", headers={})
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert document == openapi() == json.loads(DOCUMENT.read_text(encoding="utf-8"))


def test_a_token_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    def token(**values: str) -> AdminToken | None:
        return admin_token_of(AdminSection.model_validate(values), tmp_path, {"SHORT": "abc", "GOOD": TOKEN})

    (tmp_path / "token").write_text(TOKEN + "\n")
    assert token() is None
    shown = [(b"authorization", f"Bearer {TOKEN}".encode())]
    for found in (token(token_env="GOOD"), token(token_file="token")):
        assert found is not None
        assert found.is_shown_in(shown)
        assert not found.is_shown_in([])
    for values, message in (
        ({"token_env": "SHORT"}, "24 characters or more"),
        ({"token_env": "NONE"}, "NONE is not set"),
        ({"token_file": "nowhere"}, "cannot be read"),
        ({"token_env": "GOOD", "token_file": "token"}, "Name one"),
    ):
        with pytest.raises(Exception, match=message) as caught:
            token(**values)
        assert "abc" not in str(caught.value)


def test_every_operation_keeps_what_the_document_says(lone: Admin) -> None:
    """Schemathesis makes requests of the document, right and wrong ones, and compares what comes back with it."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed; it is in the extra dev")
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from schemathesis.specs.openapi.checks import ignored_auth

    schema = schemathesis.openapi.from_dict(openapi())
    tried: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @seed(4)
        @settings(
            max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )  # fmt: skip
        @given(
            case=operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
            if operation.body or operation.query or operation.path_parameters
            else operation.as_strategy()
        )
        def holds(case: Any) -> None:
            response = case.call(base_url=lone.url, headers=AUTHORIZED)
            case.validate_response(response, excluded_checks=[ignored_auth])  # it takes our token for one it made up

        holds()
        tried.add(f"{operation.method.upper()} {operation.path}")
    assert len(tried) == 11


def test_the_command_serves_it_apart_from_the_calls_and_drains(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN", TOKEN)
    upstream.scripts = [answer(completion())]
    settings = settings_of(upstream, '[gateway.admin]\nport = 0\ntoken_env = "ADMIN"\n')
    with process(tmp_path, settings, "--workers", "2") as (child, port):
        assert child.stderr is not None
        told = child.stderr.readline()
        admin = int(told.rpartition(":")[2].partition("/")[0])
        while len(children_of(child.pid)) < 3:
            pass  # the API starts after the workers
        status, body = send(admin, f"{BASE}/keys", b'{"name":"desk"}', content_type="application/json", **AUTHORIZED)
        secret = json.loads(body)["secret"]
        assert status == 201
        # The keys' port knows nothing of it, and the token opens no model.
        assert send(port, f"{BASE}/status", b"", method="GET", **AUTHORIZED)[0] == 404
        while send(port, "/v1/chat/completions", ask(0), **AUTHORIZED)[0] != 401:
            pass  # workers see the first key within two seconds
        assert send(port, "/v1/chat/completions", ask(1), authorization=f"Bearer {secret}")[0] == 200
        assert send(port, "/ui/data", b"", method="GET")[0] == 401
        live = json.loads(send(port, "/ui/data", b"", method="GET", **AUTHORIZED)[1])
        assert {one["name"] for one in live["processes"]} == {"parent", "w0", "w1", "admin"}

        file = tmp_path / "freehold.toml"
        file.write_text(settings + '[providers.second]\nbase_url = "http://127.0.0.1:9"\n')
        assert send(admin, f"{BASE}/reload", b"", **AUTHORIZED)[0] == 200
        file.write_text(settings + "[nonsense]\n")
        status, body = send(admin, f"{BASE}/reload", b"", **AUTHORIZED)
        assert (status, "nonsense" in json.loads(body)["error"]["message"]) == (409, True)
        while len(json.loads(send(admin, f"{BASE}/providers", b"", method="GET", **AUTHORIZED)[1])["providers"]) < 2:
            pass  # both workers have taken over what was read first
        status, body = send(admin, f"{BASE}/status", b"", method="GET", **AUTHORIZED)
        assert (status, json.loads(body)["attempts"]) == (200, 1)
        assert send(admin, f"{BASE}/drain", b"", **AUTHORIZED)[0] == 202
        assert child.wait(30) == 0


def test_settings_of_the_admin_api_are_checked() -> None:
    assert Settings().gateway.admin.token_env is None
    with pytest.raises(ValueError, match="port"):
        Settings.model_validate({"gateway": {"admin": {"port": 70_000}}})
