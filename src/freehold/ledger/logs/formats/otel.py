"""OpenTelemetry spans of calls of models: OTLP's JSON (also as the collector's file exporter writes it) and flat dumps.

Spans by the conventions of 1.41, by `semantic-conventions-genai` 0.1.0, by what came before, by OpenLLMetry and by
OpenInference. A span of anything else is passed over, and so is one of an agent: it sums up the calls inside of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.core import genai_names as names
from freehold.core.chat import Usage, with_reasoning
from freehold.ledger.logs.format import BadRow, Format, Skipped, TaskKey, Unusable
from freehold.ledger.logs.formats import _span_messages
from freehold.ledger.logs.formats._calls import EARLIER_ATTEMPT, error_name, logged_call, status_of, subject_of
from freehold.ledger.logs.formats._each_row import check_split
from freehold.ledger.logs.formats._fields import (
    Values,
    count,
    flag,
    list_of,
    mapping_of,
    milliseconds,
    number,
    parsed,
    present,
    text,
    word,
)
from freehold.ledger.logs.formats._keys import first_key, of_metadata, of_name, of_prompt, of_sole_tag, of_tags
from freehold.ledger.logs.formats._spans import Span, is_span, otlp_spans, span_of
from freehold.ledger.logs.formats._usage import inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from freehold.ledger.logs.format import Context, Item

_SEEN = "otel-responses"
_ENDPOINTS = {
    "chat": "/v1/chat/completions",
    "generate_content": "/v1/chat/completions",
    "llm": "/v1/chat/completions",
    "text_completion": "/v1/completions",
    "completion": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "embedding": "/v1/embeddings",
}
"""Operations that are calls of a model, by their names in all conventions."""
_PARAMETERS = ("temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty", "seed")
_OTHER = Skipped("span of something else than a call of a model")
_NO_SPANS = Skipped("OpenTelemetry: logs or metrics, which are no spans")
_TWICE = Skipped("span of a call that another span of its trace tells of too")
_FIRST_TOKEN_EVENTS = frozenset(
    {"first token stream event", "llm.content.completion.chunk", "gen_ai.content.completion.chunk"}
)
_TOTALS = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total")
_RESENT = "http.request.resend_count"
_SECOND_MS = 1000
_TRACELOOP = "traceloop.association.properties."


class SpanReader:
    """Reads spans, bare or inside of OTLP's envelopes."""

    def __init__(self, context: Context) -> None:
        """Take the shelf, on which lies what other spans have told of."""
        self._context = context

    def read(self, values: dict[str, Any], line: int) -> Iterable[Item]:
        """The calls of one row: of a span, or of all spans in an envelope, each of which stands for itself."""
        if is_span(values):
            return self._calls(values)
        if not _is_envelope(values):
            raise BadRow("neither a span nor OTLP's 'resourceSpans'")
        return [item for span in otlp_spans(values) for item in self._calls_or_fault(span, line)] or [_NO_SPANS]

    def finish(self) -> Iterable[Item]:
        """Nothing waits."""
        return ()

    def _calls_or_fault(self, values: Values, line: int) -> list[Item]:
        try:
            return self._calls(values)
        except BadRow as fault:
            return [Unusable(line, str(fault))]

    def _calls(self, values: Values) -> list[Item]:
        try:
            items = list(self._read_span(span_of(values)))
        except RecursionError as error:
            raise BadRow("a span is nested too deep") from error
        check_split(items, self._context)
        return items

    def _read_span(self, span: Span) -> Iterator[Item]:
        operation = _operation(span.attributes)
        if operation not in _ENDPOINTS:
            yield _OTHER
        elif self._is_told_already(span):
            yield _TWICE
        else:
            yield _call(span, operation)

    def _is_told_already(self, span: Span) -> bool:
        """A framework and the SDK below it may both be instrumented: two spans, one answer, one bill."""
        answer = word(span.attributes, *names.names_of(names.RESPONSE_ID))
        if answer is None:
            return False
        key = f"{span.trace_id}:{answer}"
        first = self._context.shelf.look(_SEEN, key)
        if first is None:
            self._context.shelf.put(_SEEN, key, span.span_id.encode())
        return first is not None and first != span.span_id.encode()


def _call(span: Span, operation: str) -> Item:
    told = present(span.attributes)
    reasons = _texts(told, names.FINISH_REASONS)
    request, answer = _span_messages.bodies_of(span, reasons)
    is_failed, error = _failure(span, told)
    return logged_call(
        source_id=f"otel:{span.trace_id}:{span.span_id}",
        request=request,
        answer=answer,
        usage=_usage(told, is_embedding=_ENDPOINTS[operation] == "/v1/embeddings"),
        parameters=_parameters(told),
        key=_key(span, told),
        is_failed=is_failed,
        error_type=error,
        status=status_of(told.get(_standing(told, names.STATUS))) or (None if is_failed else 200),
        endpoint=_ENDPOINTS[operation],
        provider=_provider(told),
        route=word(told, names.ROUTE),
        key_id=word(told, names.KEY),
        model_requested=word(told, *names.names_of(names.REQUEST_MODEL)),
        model_served=word(told, *names.names_of(names.RESPONSE_MODEL)),
        completion_id=word(told, *names.names_of(names.RESPONSE_ID)),
        finish_reason=reasons[0] if reasons else None,
        stream=flag(told, *names.names_of(names.REQUEST_STREAM)),
        started_at=span.start,
        duration_ms=milliseconds(span.start, span.end),
        ttft_ms=_first_token_ms(span, told),
        service_tier=word(told, "openai.response.service_tier", "gen_ai.openai.response.service_tier"),
        conversation_id=text(told, *names.names_of(names.CONVERSATION)),
        subject=subject_of(text(told, "enduser.id", "user.id", f"{_TRACELOOP}user_id", "gen_ai.user", "llm.user")),
        request_id=f"{span.trace_id}:{span.span_id}",
        parent_id=word(told, names.PARENT) or (EARLIER_ATTEMPT if _is_resent(told) else None),
    )


def _is_resent(told: Values) -> bool:
    """The convention counts how often a request was sent again, from the second attempt on."""
    try:
        return (number(told, _RESENT) or 0) > 0
    except BadRow:
        return False


def _operation(attributes: Values) -> str | None:
    """What was done, as one of the words above; None: no model was called."""
    kind = word(attributes, "openinference.span.kind")
    if kind is not None:
        return kind.lower()
    named = word(attributes, *names.names_of(names.OPERATION))
    if named is not None:
        return named.lower()
    has_tokens = any(name in attributes for name in names.names_of(names.INPUT_TOKENS))
    has_model = any(name in attributes for name in names.names_of(names.REQUEST_MODEL))
    # the conventions before 1.27 did not name the operation; agents and workflows of OpenLLMetry name themselves
    return "chat" if has_model and has_tokens and "traceloop.span.kind" not in attributes else None


def _provider(told: Values) -> str | None:
    """Earlier instrumentations write the name as people do (`OpenAI`)."""
    own = word(told, names.OWN_PROVIDER)
    found = word(told, *names.names_of(names.PROVIDER))
    return own or (None if found is None else found.lower())


def _usage(told: Values, *, is_embedding: bool) -> Usage:
    read = {
        name: count(told, *names.names_of(attribute))
        for name, attribute in (
            ("input_tokens", names.INPUT_TOKENS),
            ("output_tokens", names.OUTPUT_TOKENS),
            ("cache_read_tokens", names.CACHE_READ_TOKENS),
            ("cache_write_tokens", names.CACHE_WRITE_TOKENS),
            ("reasoning_tokens", names.REASONING_TOKENS),
        )
    }
    if is_embedding and read["output_tokens"] is None:
        read["output_tokens"] = 0  # it writes nothing
    read["output_tokens"] = with_reasoning(
        read["input_tokens"], read["output_tokens"], read["reasoning_tokens"], count(told, *_TOTALS)
    )
    return inside(Usage(**read))


def _parameters(told: Values) -> dict[str, Any]:  # Any: JSON
    found = {name: told[each] for name in _PARAMETERS if (each := f"gen_ai.request.{name}") in told}
    tools = list_of(told.get(_standing(told, names.TOOL_DEFINITIONS)))
    given = mapping_of(told.get("llm.invocation_parameters"))
    others = {name: each for name, each in given.items() if name not in ("messages", "input", "prompt")}
    return {**others, **found, **({"tools": tools} if tools else {})}


def _standing(told: Values, attribute: str) -> str:
    """The name under which an attribute stands here."""
    return next((name for name in names.names_of(attribute) if name in told), attribute)


def _texts(told: Values, attribute: str) -> list[str]:
    """A list of texts, which some write as JSON text and some as one text."""
    value = parsed(told.get(_standing(told, attribute)))
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def _failure(span: Span, told: Values) -> tuple[bool, str | None]:
    kind = word(told, names.ERROR)
    thrown = [attributes for name, _, attributes in span.events if name == "exception"]
    is_failed = span.is_error or kind is not None
    if kind is None and is_failed and thrown:
        kind = error_name(word(thrown[-1], "exception.type"))
    return is_failed, kind


def _key(span: Span, told: Values) -> TaskKey | None:
    properties = {name.removeprefix(_TRACELOOP): told[name] for name in told if name.startswith(_TRACELOOP)}
    own = word(told, names.TASK)
    return first_key(
        None if own is None else TaskKey("metadata", own),
        of_metadata(properties, told.get("metadata"), told),
        of_prompt(told, names.PROMPT_NAME, "prompt.id", "traceloop.prompt.key", "langfuse.observation.prompt.name"),
        of_tags(told.get("tag.tags")),
        of_name(told, "gen_ai.agent.name", "traceloop.entity.name", "traceloop.workflow.name"),
        of_sole_tag(told.get("tag.tags")),
    )


def _first_token_ms(span: Span, told: Values) -> float | None:
    waited_s = number(told, *names.names_of(names.FIRST_CHUNK_S))
    if waited_s is not None:
        return round(waited_s * _SECOND_MS, 3)
    first = [at for name, at, _ in span.events if name.lower() in _FIRST_TOKEN_EVENTS and at is not None]
    return milliseconds(span.start, min(first)) if first else None


def _is_envelope(values: Values) -> bool:
    marks = ("resourceSpans", "resource_spans", "resourceLogs", "resourceMetrics", "resource_logs", "resource_metrics")
    inner = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans")
    others = ("scopeLogs", "scopeMetrics", "scope_logs", "scope_metrics")
    return any(isinstance(values.get(name), list) for name in (*marks, *inner, *others))


FORMATS = (
    Format(
        name="otlp",
        recognises=_is_envelope,
        reader=SpanReader,
        says="OTLP has 'resourceSpans'",
    ),
    Format(
        name="otel-spans",
        recognises=is_span,
        reader=SpanReader,
        says="spans have the ids of a trace and of a span, 'start_time' and 'attributes'",
    ),
)
