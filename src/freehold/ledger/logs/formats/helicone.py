"""Helicone: what its query API and its export tool give, as JSON or CSV.

Without `--include-body` the bodies are a stub that names where they lie; such a call is imported with its facts alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.chat import Usage
from freehold.ledger.logs.format import BadRow, Format, Skipped
from freehold.ledger.logs.formats._alike import Alike, Facts, many_rows
from freehold.ledger.logs.formats._bodies import Kept, body_of, request_of
from freehold.ledger.logs.formats._calls import logged_call, status_of, subject_of
from freehold.ledger.logs.formats._each_row import each_row
from freehold.ledger.logs.formats._fields import Values, count, mapping_of, moment, number, text, word
from freehold.ledger.logs.formats._keys import first_key, of_metadata, of_name, of_prompt
from freehold.ledger.logs.formats._usage import beside, inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.ledger.logs.format import Context, Item
    from freehold.ledger.logs.formats._each_row import Row

_NOT_CACHED = "00000000-0000-0000-0000-000000000000"
_FROM_CACHE = Skipped("answered from Helicone's own cache: no model was called")
_COUNTS_BESIDE = frozenset({"anthropic", "bedrock", "aws"})
"""Providers whose prompt tokens come without the cached ones."""
_OWN_STATUS = {-2: "pending", -3: "cancelled", -4: "threat", -1: "timeout"}


def read_request(row: Row, context: Context) -> Iterator[Item]:
    """One request with its answer."""
    del context
    facts = _facts(row)
    if word(row, "cache_reference_id") not in (None, _NOT_CACHED):
        yield _FROM_CACHE
        return
    request, answer = _body(row, "request_body"), _body(row, "response_body")
    properties = _properties(row)
    own_status, status = _status(row)
    yield logged_call(
        request=request_of(request.body) if request.body else Kept(None),
        answer=answer,
        is_cut=request.is_cut,
        key=first_key(
            of_metadata(properties), of_prompt(row, "prompt_id"), of_name(properties, "Helicone-Session-Name")
        ),
        error_type=own_status,
        status=status,
        endpoint=_path(row),
        provider=_provider(row),
        model_requested=text(row, "request_model", "model_override"),
        model_served=text(row, "response_model", "model", "model_override"),
        **facts.told(),
    )


def _facts(row: Row, context: Context | None = None) -> Facts:
    del context
    source = text(row, "response_id", "request_id")  # the CSV export has the first one alone
    if source is None:
        raise BadRow("a row of Helicone without 'request_id' and 'response_id'")
    return Facts(
        source_id=f"helicone:{source}",
        started_at=moment(row, "request_created_at"),
        duration_ms=number(row, "delay_ms", "latency"),
        ttft_ms=_first_token_ms(row),
        subject=subject_of(text(row, "request_user_id")),
        conversation_id=word(_properties(row), "Helicone-Session-Id"),
        request_id=text(row, "request_id") or source,
        usage=_usage(row),
    )


def _properties(row: Row) -> Values:
    own, asked = mapping_of(row.get("properties")), mapping_of(row.get("request_properties"))
    return {**own, **asked} if own and asked else own or asked


def _body(row: Row, name: str) -> Kept:
    """A body. A stub says where it lies, and an object of a streaming proxy holds the events."""
    kept = body_of(row.get(name))
    body = kept.body or {}
    if "helicone_message" in body or body.keys() == {"signed_url"}:
        return Kept(None)
    streamed = body.get("streamed_data")
    return body_of(streamed) if isinstance(streamed, str) else kept


def _usage(row: Row) -> Usage:
    counts = Usage(
        input_tokens=count(row, "prompt_tokens"),
        output_tokens=count(row, "completion_tokens"),
        cache_read_tokens=count(row, "prompt_cache_read_tokens"),
        cache_write_tokens=count(row, "prompt_cache_write_tokens"),
    )
    return beside(counts) if _provider(row) in _COUNTS_BESIDE else inside(counts)


def _provider(row: Row) -> str | None:
    found = word(row, "provider")
    return None if found is None or found.upper() == "CUSTOM" else found.lower()


def _status(row: Row) -> tuple[str | None, int | None]:
    """Helicone has numbers of its own for calls that no provider answered."""
    written = text(row, "response_status")
    own = None if written is None or not written.startswith("-") else _OWN_STATUS.get(_whole(written), "error")
    return own, None if own else status_of(None if written is None else written.removesuffix(".0"))


def _whole(written: str) -> int:
    try:
        return int(float(written))
    except (ValueError, OverflowError):
        return 0


def _path(row: Row) -> str | None:
    path = word(row, "request_path")
    if path is None:
        return None
    return (
        "/" + path.split("://", 1)[1].partition("/")[2].partition("?")[0] if "://" in path else path.partition("?")[0]
    )


def _first_token_ms(row: Row) -> float | None:
    """Unknown where the answer came in one piece: then it is empty, 0 or -1."""
    found = text(row, "time_to_first_token")
    return None if found is None or found.startswith("-") else number(row, "time_to_first_token") or None


def _is_helicone(values: Values) -> bool:
    return "request_created_at" in values and bool({"response_status", "response_id", "delay_ms"} & values.keys())


_SESSION = frozenset({"Helicone-Session-Id"})
_ALIKE = Alike(
    facts=_facts,
    own=frozenset({
        "response_id", "request_id", "request_created_at", "delay_ms", "latency", "time_to_first_token",
        "request_user_id", "prompt_tokens", "completion_tokens", "prompt_cache_read_tokens",
        "prompt_cache_write_tokens",
    }),
    unread=frozenset({
        "response_created_at", "total_tokens", "cost", "costUSD", "cost_usd", "asset_ids", "request_ip",
        "signed_body_url", "created_at", "size_bytes", "updated_at", "latency_ms",
    }),
    inside={"properties": _SESSION, "request_properties": _SESSION},
    bodies=("request_body", "response_body"),
)  # fmt: skip

FORMATS = (
    Format(
        name="helicone",
        recognises=_is_helicone,
        reader=each_row(read_request),
        many=many_rows(_ALIKE, read_request),
        says="Helicone's exports have 'request_created_at' with 'response_status'",
    ),
)
