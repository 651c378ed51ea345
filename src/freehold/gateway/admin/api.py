"""The admin API: keys, state and life of a gateway, for whoever has the admin token.

A plain function of a request. Every change leaves an entry in the audit trail, in the name of the API.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from freehold.core.errors import InputError
from freehold.gateway.admin.schema import BASE, LimitsChange, NewKey, NewLimits, Revocation, Rotation, openapi
from freehold.gateway.answer import error_answer, json_answer
from freehold.gateway.http.headers import by_name
from freehold.gateway.watch.live import live_record
from freehold.gateway.watch.live_page import DATA, PATHS, Door, live_page, refusal
from freehold.state.database import acting_as, record_action
from freehold.state.key_records import key_record, key_records
from freehold.state.keys import change_limits, create_key, get_key, list_keys, revoke_key, rotate_key
from freehold.state.limits import UNITS_PER_USD, limit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sqlalchemy import Engine

    from freehold.gateway.admin.server import Asked
    from freehold.gateway.admin.token import AdminToken
    from freehold.gateway.answer import Answer
    from freehold.state.keys import Key
    from freehold.state.limits import Limit

ACTOR = "admin-api"
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="Freehold"'),)
_KEY = re.compile(r"/keys/(?P<key>[^/]+)(?P<rest>|/rotate|/revoke)")
_OPENAPI = f"{BASE}/openapi.json"
_T = TypeVar("_T")


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


_DECODER = msgspec.json.Decoder(float_hook=_number)
"""JSON Schema takes 60.0 for a whole number, as programs write it that know no others."""


class Wrong(Exception):
    """Ends a request with an answer."""

    def __init__(self, answer: Answer) -> None:
        """Take the answer."""
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Life:
    """What the API can do to the gateway's processes."""

    reload: Callable[[], str | None]
    """Have the settings read anew; None when they are in use, or why they are not.

    Raises:
        TimeoutError: nobody answers.
    """
    drain: Callable[[], None]
    """Have the gateway stop when its calls are over."""


class AdminApi:
    """Answers requests of the admin API, and of the live page on its port."""

    def __init__(self, engine: Engine, token: AdminToken, folder: Path, life: Life) -> None:
        """Take the state database, the token, the folder of the gateway's run, and what it can do to it."""
        self._engine = engine
        self._token = token
        self._folder = folder
        self._life = life
        self._routes: Mapping[str, Mapping[str, Callable[[Asked], Answer]]] = {
            "/status": {"GET": self._status},
            "/providers": {"GET": self._providers},
            "/reload": {"POST": self._reload},
            "/drain": {"POST": self._drain},
            "/keys": {"GET": self._list, "POST": self._create},
        }
        self._key_routes: Mapping[str, Mapping[str, Callable[[Asked, Key], Answer]]] = {
            "": {"GET": self._show, "PATCH": self._change},
            "/rotate": {"POST": self._rotate},
            "/revoke": {"POST": self._revoke},
        }

    def answer(self, asked: Asked) -> Answer:
        """The answer, whatever was asked."""
        try:
            with acting_as(ACTOR):
                return self._page(asked) if asked.path in PATHS else self._api(asked)
        except Wrong as wrong:
            return wrong.answer
        except InputError as error:
            return error_answer(409, "conflict", str(error))
        except SQLAlchemyError:
            return error_answer(503, "state_unavailable", "The state database does not answer. Try again.")

    def _api(self, asked: Asked) -> Answer:
        if asked.path == _OPENAPI:
            return _method({"GET": lambda _: json_answer(openapi())}, asked.method)(asked)
        if not self._token.is_shown_in(asked.headers):
            message = "Send the admin token as 'Authorization: Bearer …'; keys of the gateway open nothing here."
            return error_answer(401, "admin_token_required", message, more=_CHALLENGE)
        return self._route(asked)

    def _route(self, asked: Asked) -> Answer:
        path = asked.path.removeprefix(BASE) if asked.path.startswith(BASE) else ""
        if asked.query and path != "/keys":
            return error_answer(400, "bad_request", "This path takes no query.")
        if path in self._routes:
            return _method(self._routes[path], asked.method)(asked)
        found = _KEY.fullmatch(path)
        if found is None:
            return error_answer(404, "unknown_path", f"There is no such path; see {_OPENAPI}.")
        act = _method(self._key_routes[found["rest"]], asked.method)
        try:
            key = get_key(self._engine, found["key"])
        except InputError as error:
            return error_answer(404, "unknown_key", str(error))
        return act(asked, key)

    def _page(self, asked: Asked) -> Answer:
        refused = refusal(asked.method, asked.path, asked.headers, Door(self._token, is_open=False))
        if refused is not None:
            return refused
        return json_answer(live_record(self._folder)) if asked.path == DATA else live_page()

    def _status(self, asked: Asked) -> Answer:
        del asked
        record = live_record(self._folder)
        names = ("version", "at", "attempts", "requests_in_progress", "refused", "providers", "processes")
        return json_answer({name: record[name] for name in names})

    def _providers(self, asked: Asked) -> Answer:
        del asked
        return json_answer({"providers": live_record(self._folder)["providers"]})

    def _reload(self, asked: Asked) -> Answer:
        _body(asked, dict[str, Any])
        try:
            fault = self._life.reload()
        except TimeoutError:
            return error_answer(503, "no_answer", "The gateway does not say whether it has read its settings.")
        self._record("gateway.reloaded", {"fault": fault})
        if fault is not None:
            return error_answer(409, "wrong_settings", f"The settings are wrong, the old ones stay: {fault}")
        return json_answer({"status": "reloaded"})

    def _drain(self, asked: Asked) -> Answer:
        _body(asked, dict[str, Any])
        self._record("gateway.drained", {})
        self._life.drain()
        return json_answer({"status": "draining"}, 202)

    def _record(self, action: str, details: Mapping[str, Any]) -> None:
        with self._engine.begin() as connection:
            record_action(connection, action, "gateway", details)

    def _list(self, asked: Asked) -> Answer:
        if asked.query not in {"", "all=true", "all=false"}:
            return error_answer(400, "bad_request", "The query may be all=true or all=false, and nothing else.")
        keys = list_keys(self._engine, with_revoked=asked.query == "all=true")
        return json_answer({"keys": key_records(self._engine, keys)})

    def _create(self, asked: Asked) -> Answer:
        new = _body(asked, NewKey, is_needed=True)
        ends = None if new.expires_in_s is None else datetime.now(UTC) + timedelta(seconds=new.expires_in_s)
        limits, _ = _limits(new.limits)
        key, secret = create_key(
            self._engine, new.name, task=new.task, tasks=new.tasks, models=new.models, limits=limits, expires_at=ends
        )
        return json_answer(key_record(self._engine, key, secret=secret), 201)

    def _show(self, asked: Asked, key: Key) -> Answer:
        del asked
        return json_answer(key_record(self._engine, key))

    def _change(self, asked: Asked, key: Key) -> Answer:
        set_to, drop = _limits(_body(asked, LimitsChange, is_needed=True).limits)
        drop = [name for name in drop if name in {limit.name for limit in key.limits}]
        if set_to or drop:
            key = change_limits(self._engine, key.id, set_to=set_to, drop=drop)
        return json_answer(key_record(self._engine, key))

    def _rotate(self, asked: Asked, key: Key) -> Answer:
        grace = timedelta(seconds=_body(asked, Rotation).grace_s)
        key, secret = rotate_key(self._engine, key.id, grace=grace)
        return json_answer(key_record(self._engine, key, secret=secret))

    def _revoke(self, asked: Asked, key: Key) -> Answer:
        reason = _body(asked, Revocation).reason
        return json_answer(key_record(self._engine, revoke_key(self._engine, key.id, reason=reason)))


def _method(methods: Mapping[str, _T], method: str) -> _T:
    found = methods.get(method)
    if found is None:
        allowed = ", ".join(methods)
        more = ((b"allow", allowed.encode()),)
        raise Wrong(error_answer(405, "method_not_allowed", f"Here there is {allowed}.", more=more))
    return found


def _body(asked: Asked, kind: type[_T], *, is_needed: bool = False) -> _T:
    """The body as its type has it; an empty one is an empty object where none is needed."""
    if not asked.body and not is_needed:
        return msgspec.convert({}, kind)
    said = by_name(asked.headers).get(b"content-type", b"")
    if said.partition(b";")[0].strip().lower() != b"application/json":
        raise Wrong(error_answer(415, "not_json", "Send JSON, and call it that: content-type: application/json."))
    try:
        return msgspec.convert(_DECODER.decode(asked.body), kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = str(error) if isinstance(error, msgspec.DecodeError) else "no UTF-8, or nested too deeply"
        raise Wrong(error_answer(400, "bad_request", f"The body cannot be used: {fault[:300]}.")) from error


def _limits(limits: NewLimits) -> tuple[list[Limit], list[str]]:
    """Limits to set, and names of those to drop."""
    set_to: list[Limit] = []
    drop: list[str] = []
    for measure in ("requests", "tokens", "usd"):
        for period in ("minute", "day", "month"):
            amount = getattr(limits, f"{measure}_{period}")
            if amount is None:
                drop.append(f"{measure}/{period}")
            elif amount is not msgspec.UNSET:
                units = Decimal(repr(amount))
                whole = units.quantize(Decimal(1) / UNITS_PER_USD) if measure == "usd" else units
                set_to.append(limit_of(measure, period, whole))
    return set_to, drop
