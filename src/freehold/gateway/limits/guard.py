"""Keys, limits and rules at the door: who calls, for which task, and whether they may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from freehold.core.errors import InputError
from freehold.gateway.limits.keys import KeyRing, Principal, Refusal, refusal_of_scope
from freehold.gateway.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.core.chat import Usage
    from freehold.gateway.body.body import Body
    from freehold.gateway.http.headers import Header
    from freehold.tasks.rules import TaskRules

_MODELS = "/v1/models"
_ONE_MODEL = "/v1/models/"


class Hold(Protocol):
    """What is reserved for one call of a key that has limits."""

    def headers(self) -> tuple[Header, ...]:
        """As `Admitted.limit_headers`."""
        ...

    def settle(self, usage: Usage | None, *, is_sent: bool, may_cost: bool) -> None:
        """Reconcile, once. As `Admitted.settle`."""
        ...


class Limits(Protocol):
    """Reserves what a call may use."""

    async def hold(
        self, principal: Principal, task: str, model: str | None, *, body_bytes: int, most_output_tokens: int | None
    ) -> Hold | Refusal:
        """Room for one call within the limits of the key, or why there is none."""
        ...


class Guard:
    """Checks each request against keys, scopes and limits, and finds its task."""

    def __init__(self, keys: KeyRing, rules: TaskRules, limits: Limits) -> None:
        """Take who knows the keys, who knows the tasks, and who counts."""
        self.keys = keys
        self.rules = rules
        self.limits = limits

    def with_rules(self, rules: TaskRules) -> Guard:
        """The same keys and limits under other rules."""
        return Guard(self.keys, rules, self.limits)

    async def admit(
        self, headers: Sequence[Header], body: Body, *, method: str, model: str | None, path: str
    ) -> Caller:
        """As `Admission` says."""
        principal = await self.keys.authenticate(headers)
        if isinstance(principal, Refusal):
            raise _refused(principal)
        head = body.head
        try:
            task = self.rules.task_of(headers, model, body.data, principal, path=path, body_task=head.task)
        except InputError as error:
            raise Refused(400, str(error), code="bad_task") from error
        if method == "GET" and path.startswith(_ONE_MODEL):
            model = unquote(path.removeprefix(_ONE_MODEL))
        is_list = method == "GET" and path == _MODELS
        refusal = refusal_of_scope(principal, task, model, needs_model=not is_list)
        if refusal is not None:
            raise _refused(refusal)
        if not principal.limits:
            return Caller(task, principal, None)
        most = 0 if path == "/v1/embeddings" else head.most_output_tokens
        held = await self.limits.hold(principal, task, model, body_bytes=body.size, most_output_tokens=most)
        if isinstance(held, Refusal):
            raise _refused(held)
        return Caller(task, principal, held)


class Caller:
    """Somebody who may call."""

    __slots__ = ("_hold", "_principal", "key_id", "task")

    def __init__(self, task: str, principal: Principal, hold: Hold | None) -> None:
        """`hold`: what is reserved; None where there are no limits."""
        self.task = task
        self.key_id = principal.key_id
        self._principal = principal
        self._hold = hold

    @property
    def is_limited(self) -> bool:
        """As `Admitted` says."""
        return self._hold is not None

    def sees_model(self, model: str) -> bool:
        """As `Admitted` says."""
        return self._principal.sees_model(model)

    def limit_headers(self) -> tuple[Header, ...]:
        """As `Admitted` says."""
        return () if self._hold is None else self._hold.headers()

    def settle(self, usage: Usage | None, *, is_sent: bool, may_cost: bool) -> None:
        """As `Admitted` says."""
        if self._hold is not None:
            self._hold.settle(usage, is_sent=is_sent, may_cost=may_cost)


def _refused(refusal: Refusal) -> Refused:
    return Refused(
        refusal.status,
        refusal.message,
        code=refusal.code,
        retry_after_s=refusal.retry_after_s,
        headers=refusal.headers,
    )
