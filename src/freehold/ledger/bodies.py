"""Bodies as they passed, made into the JSON text of a row: unpacked, assembled, masked.

A body that is no JSON object is kept too: `{"unparsed_text": …}`, or `{"unparsed_base64": …}` if it is no text.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from freehold.ledger.assemble import assemble, parse_json
from freehold.text.pii import mask_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from freehold.ledger.records import Dialect

MOST_UNPACKED_BYTES = 256 << 20
"""A body that unpacks to more is cut: it may be a bomb."""
_MEDIA = re.compile(r"data:[\w.+-]+/.*|[A-Za-z0-9+/_-]{512,}={0,2}", re.DOTALL)
_UNPARSED = frozenset({"unparsed_text", "unparsed_base64", "unparsed_value"})
_MASKED_MEDIA = "[media removed]"


def unpack(body: bytes, encoding: str | None) -> bytes:
    """Undo a Content-Encoding. A body that broke off gives what can be read; an unknown encoding, the body itself."""
    for name in reversed([part.strip().lower() for part in (encoding or "").split(",")]):
        if name in {"gzip", "x-gzip", "deflate"}:
            body = _inflate(body, 31 if "gzip" in name else 15)
        elif name in {"br", "zstd"}:
            body = _decode(body, "brotli" if name == "br" else "zstd")
    return body


def _inflate(body: bytes, window: int) -> bytes:
    for bits in (window, -15):  # some servers send "deflate" without zlib's header
        unpacker = zlib.decompressobj(bits)
        try:
            return unpacker.decompress(body, MOST_UNPACKED_BYTES)
        except zlib.error:
            continue
    return body


def _decode(body: bytes, codec: str) -> bytes:
    pieces: list[bytes] = []
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
            while sum(map(len, pieces)) < MOST_UNPACKED_BYTES and (piece := stream.read(1 << 20)):
                pieces.append(piece)
    except (OSError, pa.ArrowException):
        return b"".join(pieces) or body
    return b"".join(pieces)


def is_event_stream(content_type: str | None, body: bytes) -> bool:
    """Server-sent events, by their type or, where there is none, by their looks."""
    if content_type is not None:
        return content_type.lower().startswith("text/event-stream")
    return body.startswith((b"data:", b"event:"))


def read_request(body: bytes) -> dict[str, Any]:  # Any: JSON
    """A request as an object."""
    return _object(body)


def read_answer(body: bytes, content_type: str | None, dialect: Dialect | None) -> dict[str, Any]:  # Any: JSON
    """An answer as an object; a stream is assembled."""
    if is_event_stream(content_type, body):
        found = assemble(dialect, body)
        if found is not None:
            return found
    return _object(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = parse_json(body)
    except ValueError:
        try:
            return {"unparsed_text": body.decode()}
        except UnicodeDecodeError:
            return {"unparsed_base64": base64.b64encode(body).decode()}
    return value if isinstance(value, dict) else {"unparsed_value": value}


def json_text(value: dict[str, Any], raw: bytes | None = None) -> str:  # Any: JSON
    """The object as a row keeps it: UTF-8 without halves of characters.

    `raw` is what it was read from, if that is a JSON object as it stands: then it is kept to the letter.
    """
    if raw is not None and b"\\u" not in raw and not value.keys() & _UNPARSED:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, ValueError, TypeError):
        return json.dumps(_clean(value), ensure_ascii=False)


def _clean(value: Any) -> Any:  # Any: JSON
    return _mapped(value, lambda text: text.encode("utf-8", "replace").decode())


def mask_bodies(bodies: list[dict[str, Any] | None]) -> list[dict[str, Any] | None]:  # Any: JSON
    """Replace personal data in all texts of a call's bodies, with one mapping for all of them; media are removed."""
    texts = list(dict.fromkeys(text for body in bodies for text in _texts(body)))
    masked, _ = mask_texts([_MASKED_MEDIA if _MEDIA.fullmatch(text) else text for text in texts])
    by_text = dict(zip(texts, masked, strict=True))
    return [_mapped(body, by_text.__getitem__) for body in bodies]


def _texts(value: Any) -> Iterator[str]:  # Any: JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:  # Any: JSON
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _mapped(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in value]
    return value
