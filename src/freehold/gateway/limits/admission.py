"""Who may call, and for which task: the protocol that the gateway asks, and its answer where nobody needs a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from freehold.core.task import fault_of_name
from freehold.gateway.http.headers import by_name
from freehold.gateway.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.core.chat import Usage
    from freehold.gateway.body.body import Body
    from freehold.gateway.http.headers import Header

TASK_HEADER = b"x-freehold-task"
NO_TASK = "default"
"""Task of a call that names none and that no rule places."""


class Admitted(Protocol):
    """A request that may pass."""

    @property
    def task(self) -> str:
        """What it is for."""
        ...

    @property
    def key_id(self) -> str | None:
        """Whose it is; None where no keys are needed."""
        ...

    @property
    def is_limited(self) -> bool:
        """Something is reserved for it, so that what it used must be told."""
        ...

    def sees_model(self, model: str) -> bool:
        """A list of models shows this one."""
        ...

    def limit_headers(self) -> tuple[Header, ...]:
        """What the answer says of the key's limits; nothing where there are none."""
        ...

    def settle(self, usage: Usage | None, *, is_sent: bool, may_cost: bool) -> None:
        """The call is over: what was reserved for it is reconciled with what it used.

        Args:
            usage: Tokens as the provider counted them; None if it told none.
            is_sent: A provider may have got it, so it counts as a request.
            may_cost: The provider has, or may have, done work for it.
        """
        ...


class Admission(Protocol):
    """Decides on requests before they are forwarded."""

    async def admit(
        self, headers: Sequence[Header], body: Body, *, method: str, model: str | None, path: str
    ) -> Admitted:
        """Let a request pass.

        Args:
            headers: Of the request.
            body: Of the request.
            method: Of the request.
            model: As the client names it, in the body or in the path.
            path: Of the endpoint, such as `/v1/chat/completions`.

        Raises:
            Refused: 400, 401, 403, 429 or 503, as OpenAI's API has them.
        """
        ...


class OpenDoor:
    """Everybody may call, and the client names the task."""

    async def admit(
        self, headers: Sequence[Header], body: Body, *, method: str, model: str | None, path: str
    ) -> Admitted:
        """As the protocol says."""
        del method, model, path
        return _Guest(_named_task(headers, body) or NO_TASK)


class _Guest:
    __slots__ = ("task",)

    key_id = None
    is_limited = False

    def __init__(self, task: str) -> None:
        self.task = task

    def sees_model(self, model: str) -> bool:
        """Every one."""
        del model
        return True

    def limit_headers(self) -> tuple[Header, ...]:
        """There are none."""
        return ()

    def settle(self, usage: Usage | None, *, is_sent: bool, may_cost: bool) -> None:
        """Nothing was reserved."""
        del usage, is_sent, may_cost


def _named_task(headers: Sequence[Header], body: Body) -> str | None:
    header = by_name(headers).get(TASK_HEADER)
    if header is None:
        task = body.head.task
        return task if task is not None and fault_of_name(task) is None else None
    task = header.decode("utf-8", "replace")
    fault = fault_of_name(task)
    if fault is not None:
        raise Refused(400, f"The task in x-freehold-task {fault}.", code="bad_task")
    return task
