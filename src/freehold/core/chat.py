"""A conversation, an answer to it, and the protocol of whatever answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.core.progress import Progress


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`system`, `user`, `assistant` or `tool`, as in the OpenAI API."""
    content: str

    def as_dict(self) -> dict[str, str]:
        """The message as the OpenAI API spells it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. None means that nobody counted; it never means zero."""

    input_tokens: int | None = None
    """All input tokens, cached ones included."""
    output_tokens: int | None = None
    """All output tokens, reasoning ones included."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


def with_reasoning(inside: int | None, output: int | None, reasoning: int | None, total: int | None) -> int | None:
    """All output of a body, of whose counts some leave reasoning beside the rest, as xAI's do.

    It stands beside where it is more than the output is, or where the total counts it once more; else it is inside.
    """
    if output is None or not reasoning:
        return output
    is_beside = reasoning > output or (inside is not None and total == inside + output + reasoning)
    return output + reasoning if is_beside else output


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one conversation."""

    text: str
    confidence: float | None = None
    """Probability that the model gives its own answer, in [0, 1]; None if it cannot tell."""
    usage: Usage = Usage()
    latency_ms: float | None = None
    """Wall time of this answer alone; None when answers were computed in a batch."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer may look like. At most one of the two is given."""

    labels: tuple[str, ...] | None = None
    """The answer is exactly one of these."""
    json_schema: Mapping[str, Any] | None = None  # Any: JSON Schema is open by nature
    """The answer is a JSON object of this schema."""


class ChatModel(Protocol):
    """Anything that answers conversations: a local model, an endpoint, a recording."""

    @property
    def name(self) -> str:
        """Name under which results are shown."""
        ...

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        constraint: Constraint,
        max_output_tokens: int,
        progress: Progress,
    ) -> list[Answer]:
        """Answer each conversation, in order.

        Raises:
            UpstreamError: the model cannot be reached or died.
        """
        ...
