"""Who calls: the key in a request's headers, known from memory, and what that key may be used for.

A worker asks the database about a key once. From then on it asks at most once a second whether any key changed, so
that revoking a key, ending a secret or changing a scope is seen by every worker within VISIBLE_S seconds.
"""

from __future__ import annotations

import asyncio
import fnmatch
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from hmac import compare_digest
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from freehold.state.keys import known_secrets, last_change
from freehold.state.secrets import PREFIX, has_form, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Engine

    from freehold.state.keys import KnownSecret
    from freehold.state.limits import Limit

    Header = tuple[bytes, bytes]

FRESH_S = 1.0
"""Seconds for which nobody asks again whether keys have changed."""
VISIBLE_S = 2.0
"""Seconds after which a change of a key is seen by every worker that can reach the database."""
STALE_S = 60.0
"""Seconds for which known keys are still let in when the database cannot be reached."""

_PATIENCE_S = 1.0
_MOST_KNOWN = 10_000
_MOST_UNKNOWN = 4_096
_BATCH = 500
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a call goes no further, for the caller's eyes."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None
    """None: to try again is of no use."""
    headers: tuple[Header, ...] = ()
    """What the answer says of the key's limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, and what they may do."""

    key_id: str | None
    """None: nobody, where the gateway is open without keys."""
    name: str | None = None
    task: str | None = None
    """Of calls that name none."""
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()

    def may_use_task(self, task: str) -> bool:
        """The key's scope holds this task."""
        return not self.tasks or _pattern(self.tasks).match(task) is not None

    def may_use_model(self, model: str | None) -> bool:
        """The key's scope holds this model. A key of some models alone needs a request that names one."""
        return not self.models or (model is not None and self.sees_model(model))

    def sees_model(self, model: str) -> bool:
        """The key's scope holds this model, so that a list of models shows it."""
        return not self.models or _pattern(self.models).match(model) is not None


NOBODY = Principal(key_id=None)


@lru_cache(maxsize=4_096)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    """All globs as one pattern; it takes time in proportion to the text, as fnmatch's groups do not backtrack."""
    return re.compile("|".join(map(fnmatch.translate, globs)))


def refusal_of_scope(principal: Principal, task: str, model: str | None, *, needs_model: bool = True) -> Refusal | None:
    """403 for a task or a model that the key is not for; None if it may be used.

    Args:
        principal: Who calls.
        task: What for.
        model: As the request names it.
        needs_model: False where a request asks no model for anything, such as the list of models.
    """
    if not principal.may_use_task(task):
        return _forbidden("task_not_allowed", principal, f"the task {task!r}", principal.tasks)
    if (needs_model or model is not None) and not principal.may_use_model(model):
        what = "a request that names no model" if model is None else f"the model {model[:200]!r}"
        return _forbidden("model_not_allowed", principal, what, principal.models)
    return None


def _forbidden(code: str, principal: Principal, what: str, globs: tuple[str, ...]) -> Refusal:
    message = f"The key {principal.name!r} may not be used for {what}. It is for: {', '.join(globs)}."
    return Refusal(status=403, code=code, message=message)


@dataclass(frozen=True, slots=True)
class _Known:
    sha256: bytes
    principal: Principal
    is_revoked: bool
    ends: float


class KeyRing:
    """The keys that this worker knows."""

    def __init__(
        self,
        engine: Engine,
        *,
        is_open_without_keys: bool,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `engine` about keys; `clock` and `ticks` tell the time of day and the time that passes, in seconds.

        Args:
            engine: The state database.
            is_open_without_keys: Let everybody in as long as no key was ever made.
            clock: For the ends of keys.
            ticks: For the age of what is known.
        """
        self._engine = engine
        self._is_open_without_keys = is_open_without_keys
        self._clock = clock
        self._ticks = ticks
        self._known: dict[str, _Known] = {}
        self._unknown: set[str] = set()
        self._last_change = -1
        self._has_keys = True
        self._checked = float("-inf")
        self._ask_again = float("-inf")
        self._is_away = False
        self._checking: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")

    async def authenticate(self, headers: Iterable[Header]) -> Principal | Refusal:
        """Whoever the headers show, or 401; 503 while the database cannot be asked. Known keys need no waiting."""
        age = self._ticks() - self._checked
        if age > FRESH_S:
            await self._check(age)
            if self._ticks() - self._checked > STALE_S:
                return _UNREACHABLE
        if self._is_open_without_keys and not self._has_keys:
            return NOBODY
        secrets = _secrets_in(headers)
        ours = {secret for secret in secrets if secret.startswith(PREFIX)}
        if len(ours) > 1:
            return _unauthorised("two_keys", "The request shows two different Freehold keys. Send one.")
        if not ours:
            return _NO_KEY if not secrets else _WRONG_KEY
        secret = ours.pop()
        return await self._principal_of(secret) if has_form(secret) else _WRONG_KEY

    async def has_keys(self) -> bool:
        """Some key was made, so that not everybody may look; also where that cannot be asked at the moment."""
        age = self._ticks() - self._checked
        if age > FRESH_S:
            await self._check(age)
        return self._has_keys

    async def _principal_of(self, secret: str) -> Principal | Refusal:
        sha256 = sha256_of(secret)
        known = self._known.get(sha256)
        if known is None:
            if sha256 in self._unknown:
                return _WRONG_KEY
            try:
                known = await asyncio.wait_for(self._look_up(sha256), _PATIENCE_S)
            except (SQLAlchemyError, TimeoutError):
                return _UNREACHABLE
        if known is None or not compare_digest(known.sha256, sha256.encode()):
            return _WRONG_KEY
        if known.is_revoked:
            return _unauthorised("key_revoked", "This key was revoked. Ask whoever gave it to you for another one.")
        if known.ends <= self._clock():
            message = "This key has expired or was replaced by another one. Ask whoever gave it to you for a new one."
            return _unauthorised("key_expired", message)
        return known.principal

    async def _look_up(self, sha256: str) -> _Known | None:
        # One question at a time: what was read before a key changed cannot be remembered after the change was seen.
        async with self._lock:
            if sha256 in self._known or sha256 in self._unknown:
                return self._known.get(sha256)
            found = await self._ask(lambda: known_secrets(self._engine, [sha256]))
            if not found:
                if len(self._unknown) >= _MOST_UNKNOWN:
                    self._unknown.clear()
                self._unknown.add(sha256)
                return None
            if len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[sha256] = known = _known(found[0])
            return known

    async def _check(self, age: float) -> None:
        """See whether keys have changed: beside the calls at first, before them once what is known is too old."""
        if self._checking is None and self._ticks() >= self._ask_again:
            self._checking = asyncio.create_task(self._see_changes())
        if self._checking is not None and age > VISIBLE_S and not self._is_away:
            await asyncio.wait({self._checking}, timeout=_PATIENCE_S)

    async def _see_changes(self) -> None:
        asked = self._ticks()
        try:
            async with self._lock:
                last, has_keys = await self._ask(lambda: last_change(self._engine))
                if last != self._last_change:
                    self._known = await self._ask(self._read_again)
                    self._unknown.clear()
            self._last_change, self._has_keys = last, has_keys
            self._checked = asked
            self._is_away = False
        except SQLAlchemyError:
            self._is_away = True
            self._ask_again = self._ticks() + FRESH_S / 2
        finally:
            self._checking = None

    def _read_again(self) -> dict[str, _Known]:
        hashes = list(self._known)
        batches = (hashes[start : start + _BATCH] for start in range(0, len(hashes), _BATCH))
        return {each.sha256: _known(each) for batch in batches for each in known_secrets(self._engine, batch)}

    async def _ask(self, question: Callable[[], _T]) -> _T:
        """The answer of the database; asked twice, as the first may go to a connection that was cut meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, question)
        except SQLAlchemyError:
            return await loop.run_in_executor(self._thread, question)

    def close(self) -> None:
        """Ask no more."""
        if self._checking is not None:
            self._checking.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _known(found: KnownSecret) -> _Known:
    key = found.key
    principal = Principal(
        key_id=key.id, name=key.name, task=key.task, tasks=key.tasks, models=key.models, limits=key.limits
    )
    ends = float("inf") if found.expires_at is None else found.expires_at.timestamp()
    return _Known(found.sha256.encode(), principal, key.revoked_at is not None, ends)


def _secrets_in(headers: Iterable[Header]) -> set[str]:
    """Whatever stands where the OpenAI, Anthropic and Azure clients put a key."""
    found = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, secret = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                found.add(secret.strip().decode("latin-1"))
        elif name in {b"x-api-key", b"api-key"}:
            found.add(value.strip().decode("latin-1"))
    return found


def _unauthorised(code: str, message: str) -> Refusal:
    return Refusal(status=401, code=code, message=message)


_HOW = (
    "Send one as 'Authorization: Bearer fh-…' (or as x-api-key). Whoever runs this gateway makes keys with: "
    "freehold keys create NAME"
)
_NO_KEY = _unauthorised("missing_api_key", f"This gateway needs a key of its own. {_HOW}")
_WRONG_KEY = _unauthorised("invalid_api_key", f"This is no key of this gateway; its keys begin with 'fh-'. {_HOW}")
_UNREACHABLE = Refusal(
    status=503, code="keys_unavailable", message="Keys cannot be checked at the moment. Try again.", retry_after_s=1.0
)
