"""The live pages `/ui` and `/ui/runs`: who may see them, and their two answers each."""

from __future__ import annotations

import ipaddress
import re
import time
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from freehold.gateway.answer import Answer, error_answer, json_answer, page_answer
from freehold.gateway.http.headers import by_name
from freehold.gateway.watch.live import live_record
from freehold.gateway.watch.runs import runs_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from freehold.gateway.admin.token import AdminToken
    from freehold.gateway.http.headers import Header

PAGE, DATA = "/ui", "/ui/data"
PATHS = frozenset((PAGE, f"{PAGE}/", DATA))
RUNS_PAGE, RUNS_DATA = "/ui/runs", "/ui/runs/data"
ALL_PATHS = PATHS | {RUNS_PAGE, RUNS_DATA}
"""What a worker answers; the admin port has the gateway's own page alone."""
_FRESH_S = 0.5
"""However many pages are open, the boards are read no more often than that by each worker."""
_CHALLENGE = ((b"www-authenticate", b'Basic realm="Freehold", charset="UTF-8"'),)


@dataclass(frozen=True, slots=True)
class Door:
    """What decides who may look."""

    token: AdminToken | None
    is_open: bool
    """Nobody needs a key, and only programs of this machine can reach the gateway."""


def refusal(method: str, path: str, headers: Sequence[Header], door: Door) -> Answer | None:
    """Why a request may not see the page; None if it may."""
    if method not in {"GET", "HEAD"}:
        return error_answer(405, "method_not_allowed", "This can be looked at with GET.", more=((b"allow", b"GET"),))
    if door.token is not None and door.token.is_shown_in(headers, as_password=True):
        # A browser sends a password along with what other sites make it ask for.
        is_foreign = path in {DATA, RUNS_DATA} and by_name(headers).get(b"sec-fetch-site") in {
            b"cross-site",
            b"same-site",
        }
        return error_answer(403, "cross_site", "Another site asks for this.") if is_foreign else None
    if door.is_open:
        # A name that an attacker lets point to this machine makes a browser take their page for ours.
        if _is_local(by_name(headers).get(b"host", b"")):
            return None
        return error_answer(403, "unknown_host", "Without a token the page is shown at localhost and 127.0.0.1 alone.")
    if door.token is None:
        message = (
            "This page needs the admin token, and none is set. Name it in freehold.toml: "
            '[gateway.admin] token_env = "FREEHOLD_ADMIN_TOKEN", and start the gateway again.'
        )
        return error_answer(403, "no_admin_token", message)
    message = "This page needs the admin token: as Authorization: Bearer, or in a browser as the password."
    return error_answer(401, "admin_token_required", message, more=_CHALLENGE)


class LivePage:
    """Answers for the page, whichever worker is asked."""

    def __init__(
        self,
        folder: Path,
        *,
        token: AdminToken | None,
        is_loopback: bool,
        has_keys: Callable[[], Awaitable[bool]],
        runs: Path | None = None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the folder of the run, the admin token, whether others can reach the port, and who knows of keys.

        `runs` is where the workspace keeps tuning runs; None: nothing is told of any.
        """
        self._folder = folder
        self._runs = runs
        self._runs_read_at = float("-inf")
        self._runs_data: Answer | None = None
        self._token = token
        self._is_loopback = is_loopback
        self._has_keys = has_keys
        self._ticks = ticks
        self._read_at = float("-inf")
        self._data: Answer | None = None

    async def answer(self, method: str, path: str, headers: Sequence[Header]) -> Answer:
        """The answer to a request for one of ALL_PATHS."""
        is_open = self._is_loopback and not await self._has_keys()
        refused = refusal(method, path, headers, Door(self._token, is_open))
        if refused is not None:
            return refused
        if path in {RUNS_PAGE, RUNS_DATA}:
            return self._fresh_runs() if path == RUNS_DATA else live_page("runs.html")
        return self._fresh() if path == DATA else live_page()

    def _fresh(self) -> Answer:
        now = self._ticks()
        if self._data is None or now - self._read_at > _FRESH_S:
            self._data, self._read_at = json_answer(live_record(self._folder)), now
        return self._data

    def _fresh_runs(self) -> Answer:
        now = self._ticks()
        if self._runs_data is None or now - self._runs_read_at > _FRESH_S:
            record = runs_record(self._runs) if self._runs else {"schema": "freehold.runs/1", "runs": []}
            self._runs_data, self._runs_read_at = json_answer(record), now
        return self._runs_data


@cache
def live_page(name: str = "live.html") -> Answer:
    """The page itself. It loads nothing from elsewhere, and its policy lets it load nothing."""
    text = (files("freehold.gateway.watch") / name).read_bytes()
    hashes = {kind: _hash(text, kind) for kind in (b"style", b"script")}
    policy = (
        b"default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        b"style-src 'sha256-%s'; script-src 'sha256-%s'" % (hashes[b"style"], hashes[b"script"])
    )
    return page_answer(text, policy=policy)


def _hash(text: bytes, kind: bytes) -> bytes:
    found = re.search(rb"<%s>(.*?)</%s>" % (kind, kind), text, re.DOTALL)
    assert found is not None
    return b64encode(sha256(found[1]).digest())


def _is_local(host: bytes) -> bool:
    name = host.decode("latin-1")
    name = name.rpartition(":")[0] if re.search(r":\d+$", name) else name
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
