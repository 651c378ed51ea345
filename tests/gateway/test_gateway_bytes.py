from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.gateway.body.body import Body
from freehold.gateway.body.head import MEMBERS, NO_HEAD, read_head
from freehold.gateway.body.scanner import MemberScanner, find_members, with_values
from freehold.gateway.http.sse import EventTee, data_of
from freehold.gateway.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.ledger.records import Dialect

NAMES = ("model", "stream", "stream_options")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner),
    max_leaves=12,
)
MEMBER_LISTS = st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=6), VALUES), max_size=6)
BLANKS = st.sampled_from(["", " ", "\n", "\t \r\n"])


def escaped(text: str) -> str:
    """A JSON string with every character escaped."""
    return '"' + "".join(f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H")) + '"'


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, Any]]]:
    """The text of a JSON object, and its members in order, duplicates included."""
    members = draw(MEMBER_LISTS)
    ascii_only = draw(st.booleans())
    parts = []
    for name, value in members:
        key = escaped(name) if draw(st.booleans()) else json.dumps(name, ensure_ascii=ascii_only)
        blank = draw(BLANKS)
        parts.append(f"{blank}{key}{blank}:{blank}{json.dumps(value, ensure_ascii=ascii_only)}{blank}")
    text = draw(BLANKS) + "{" + (",".join(parts) or draw(BLANKS)) + "}" + draw(BLANKS)
    return text.encode("utf-8", "surrogatepass"), members


def pieces_of(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    return [*pieces, data[position:]]


@settings(deadline=None, max_examples=400)
@given(objects(), st.lists(st.integers(1, 7), max_size=30))
def test_members_are_found_wherever_they_stand_and_however_the_body_is_cut(
    drawn: tuple[bytes, list[tuple[str, Any]]], sizes: list[int]
) -> None:
    body, members = drawn
    scanner = MemberScanner(NAMES)
    for piece in pieces_of(body, sizes):
        scanner.feed(piece)

    assert scanner.is_object
    found = {name: [json.loads(body[a:b]) for a, b in spans] for name, spans in scanner.spans.items()}
    expected: dict[str, list[Any]] = {}
    for name, value in members:
        if name in NAMES:
            expected.setdefault(name, []).append(value)
    assert found == expected


@settings(deadline=None, max_examples=400)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ mode"l1', max_size=60).map(str.encode))
def test_any_bytes_are_scanned_without_an_error_and_what_json_reads_is_an_object(body: bytes) -> None:
    spans = find_members(body, NAMES)
    try:
        value = json.loads(body.decode())
    except (ValueError, RecursionError):
        return
    assert (spans is not None) == isinstance(value, dict)


@settings(deadline=None, max_examples=300)
@given(objects())
def test_the_head_is_what_a_json_decoder_reads(drawn: tuple[bytes, list[tuple[str, Any]]]) -> None:
    body, members = drawn
    models = [value for name, value in members if name == "model"]
    try:
        head = read_head(body)
    except Refused:
        different = {json.dumps(model) for model in models}
        assert len(different) > 1
        return
    known = {name: value for name, value in members if name in NAMES}

    assert head.model == (known.get("model") if isinstance(known.get("model"), str) else None)
    assert head.is_stream == (known.get("stream") is True)
    options = known.get("stream_options")
    assert head.asks_usage == (isinstance(options, dict) and options.get("include_usage") is True)


def same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@settings(deadline=None, max_examples=300)
@given(objects(), st.none() | st.text(max_size=9), st.booleans())
def test_edits_change_the_model_and_the_usage_option_and_not_a_byte_besides(
    drawn: tuple[bytes, list[tuple[str, Any]]], model: str | None, adds_usage: bool
) -> None:
    body, members = drawn
    if not members:
        return  # an empty object names neither a model nor a stream: there is nothing to edit
    try:
        held = Body(body, read_head(body))
    except Refused:
        return
    edits = held.edits(model=model, adds_usage=adds_usage)
    edited = held.edited(edits)

    expected = dict(members)
    if model is not None:
        expected["model"] = model
    options = expected.get("stream_options")
    if adds_usage and (options is None or isinstance(options, dict)):
        expected["stream_options"] = {**(options or {}), "include_usage": True}
    assert same(json.loads(edited), expected)
    assert held.edited_size(edits) == len(edited)
    assert b"".join(piece for _, piece in held.pieces(edits)) == edited
    assert b"".join(piece for piece, _ in held.pieces(edits)) == body
    if model is None and not adds_usage:
        assert edited == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","mod\\u0065l":"b"}',
        b'{"\\u006dodel":"a","x":{"model":"c"},"model":"b"}',
    ],
)
def test_a_body_that_names_two_models_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="two models"):
        read_head(body)


def test_a_model_deeper_in_the_body_is_not_the_model() -> None:
    head = read_head(b'{"a":{"model":"x"},"b":["model",{"model":1}],"model":"right","c":"\\"model\\":\\"y\\""}')

    assert head.model == "right"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"text"', b"{", b'{"model":"a"', b'{"model":"a"}}', b'{"a":"\\', b"\xff\xfe", b'{"a" "b"}x']
)
def test_what_is_no_object_has_no_head_and_is_never_edited(body: bytes) -> None:
    assert read_head(body) == NO_HEAD
    assert Body(body, NO_HEAD).edits(model="x", adds_usage=True) == {}


@pytest.mark.parametrize("inside", ["NaN", '"\\ud800"', "[" * 5000 + "]" * 5000, '"\x01"'])
def test_what_strict_decoders_refuse_still_has_its_model_found(inside: str) -> None:
    body = b'{"x":' + inside.encode() + b',"model":"m","stream":true}'
    head = read_head(body)

    assert (head.model, head.is_stream) == ("m", True)


def test_a_body_of_quotes_takes_linear_time() -> None:
    body = b'{"x":"' + b'\\"' * 500_000 + b'","model":"m\\u006d"}'

    assert find_members(body, MEMBERS) == {"model": [(len(body) - 10, len(body) - 1)]}
    assert find_members(body[:-20], MEMBERS) is None


def test_replacing_keeps_what_stands_around() -> None:
    assert with_values(b"0123456789", {(2, 4): b"AB", (7, 7): b"-"}) == b"01AB456-789"


LINES = st.sampled_from([b"data: {}", b"event: x", b": note", b'data: {"choices":[{"a":1}],"usage":null}'])
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1}}'
ENDS = st.sampled_from([b"\n", b"\r\n"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Events, each with its empty line, and a rest that is none."""
    end = draw(ENDS)
    events = [
        end.join([*draw(st.lists(LINES, min_size=1, max_size=3)), b"", b""])
        if not draw(st.booleans())
        else USAGE + end * 2
        for _ in range(draw(st.integers(0, 6)))
    ]
    return events, draw(st.sampled_from([b"", b"data: {", b"data: x" + end]))


@settings(deadline=None, max_examples=300)
@given(streams(), st.lists(st.integers(1, 40), max_size=40), st.booleans())
def test_a_stream_passes_unchanged_but_for_the_usage_that_was_not_asked_for(
    drawn: tuple[list[bytes], bytes], sizes: list[int], drops: bool
) -> None:
    events, rest = drawn
    tee = EventTee(drops_usage=drops)
    passed = [tee.feed(piece) for piece in pieces_of(b"".join(events) + rest, sizes)]
    passed.append(tee.rest())

    kept = [event for event in events if not (drops and event.startswith(USAGE))]
    assert b"".join(passed) == b"".join(kept) + rest
    assert bool(tee.usage_events) == any(event.startswith(USAGE) for event in events)
    assert not tee.has_ended


@pytest.mark.parametrize(
    ("dialect", "last"),
    [
        ("openai-chat", b"data: [DONE]\n\n"),
        ("openai-completions", b"data:[DONE]\r\n\r\n"),
        ("openai-chat", b"event: error\ndata: {}\n\n"),
        ("anthropic", b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
        ("anthropic", b"event: error\ndata: {}\n\n"),
        ("openai-responses", b'event: response.completed\ndata: {"type":"response.completed"}\n\n'),
        ("other", b'data: {"type":"response.incomplete","response":{}}\n\n'),
    ],
)
def test_the_last_event_is_known_wherever_it_is_cut_and_text_that_looks_like_it_is_not(
    dialect: Dialect, last: bytes
) -> None:
    text = b'data: {"choices":[{"delta":{"content":"data: [DONE] event: message_stop"}}]}\n\n'
    for cut in range(len(last)):
        tee = EventTee(drops_usage=False, dialect=dialect)
        assert tee.feed(text + last[:cut]) == text
        assert not tee.has_ended
        assert tee.feed(last[cut:]) == last
        assert tee.has_ended


def test_a_partial_event_beyond_a_megabyte_is_not_held_back() -> None:
    tee = EventTee(drops_usage=True)
    large = b"data: " + b"x" * (1 << 20)

    assert tee.feed(large) == large
    assert tee.rest() == b""


def test_data_lines_are_joined() -> None:
    assert data_of(b"event: x\r\ndata: a\r\ndata:b\r\n\r\n") == b"a\nb"
