from __future__ import annotations

import base64
import gzip
import json
import zlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.ledger import bodies
from freehold.ledger.bodies import is_event_stream, json_text, mask_bodies, read_answer, read_request, unpack
from freehold.ledger.policy import KEEP_ALL, Policy, TaskPolicy
from freehold.ledger.records import CloseRecord, OpenRecord, new_call_id
from freehold.ledger.rows import Attempt, row_of
from tests.ledger.traffic import head, tail

PLAIN = b'{"a": "\xc3\xa4", "n": 12345678901234567890123}' * 1


def _stream(codec: str, data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (None, PLAIN),
        ("identity", PLAIN),
        ("gzip", gzip.compress(PLAIN)),
        ("deflate", zlib.compress(PLAIN)),
        ("deflate", zlib.compress(PLAIN, wbits=-15)),
        ("br", _stream("brotli", PLAIN)),
        ("zstd", _stream("zstd", PLAIN)),
        ("gzip, br", _stream("brotli", gzip.compress(PLAIN))),
        ("X-GZIP", gzip.compress(PLAIN)),
        ("unheard-of", PLAIN),
        ("gzip", PLAIN),
        ("br", PLAIN),
    ],
)
def test_a_body_is_unpacked(encoding: str | None, packed: bytes) -> None:
    assert unpack(packed, encoding) == PLAIN


def test_a_packed_body_that_broke_off_gives_what_can_be_read() -> None:
    long = bytes(range(256)) * 4_000
    assert long.startswith(unpack(gzip.compress(long)[:-9], "gzip"))
    assert len(unpack(gzip.compress(long)[:-9], "gzip")) > 1_000


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_a_bomb_is_cut(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_UNPACKED_BYTES", 1 << 20)
    bomb = bytes(20 << 20)
    packed = gzip.compress(bomb) if encoding == "gzip" else _stream({"br": "brotli"}.get(encoding, encoding), bomb)
    assert len(unpack(packed, encoding)) == 1 << 20


def test_bodies_that_are_no_objects_are_kept() -> None:
    assert read_request(b"plain words") == {"unparsed_text": "plain words"}
    assert read_request(b"[1, 2]") == {"unparsed_value": [1, 2]}
    assert read_request(b"\xff\x00") == {"unparsed_base64": base64.b64encode(b"\xff\x00").decode()}
    assert read_request(b"[" * 100_000) == {"unparsed_text": "[" * 100_000}
    assert read_answer(b"upstream connect error", "text/event-stream", "openai-chat") == {
        "unparsed_text": "upstream connect error"
    }


def test_a_stream_is_known_by_its_type_and_without_one_by_its_looks() -> None:
    assert is_event_stream("Text/Event-Stream; charset=utf-8", b"")
    assert not is_event_stream("application/json", b"data: {}")
    assert is_event_stream(None, b"data: {}")
    assert not is_event_stream(None, b"{}")


def test_a_body_is_kept_to_the_letter_where_its_text_can_be_kept() -> None:
    raw = b'{"n": 1.00, "b":\n2}'
    assert json_text(read_request(raw), raw) == raw.decode()
    lone = b'{"a": "\\ud800"}'
    assert json_text(read_request(lone), lone) == '{"a": "?"}'
    assert json.loads(json_text({"n": 10**30, "nan": [float("inf")]}))["n"] == 10**30


_BODIES = st.dictionaries(
    st.text(max_size=6),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(_BODIES)
def test_the_text_of_a_body_says_what_the_body_said(body: dict[str, object]) -> None:
    raw = json.dumps(body).encode()
    assert json.loads(json_text(read_request(raw), raw)) == body


def test_personal_data_is_masked_alike_in_request_and_answer_and_media_go() -> None:
    request = {
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "I am ada@example.org"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}},
            {"type": "input_audio", "input_audio": {"data": "QUJD" * 200, "format": "wav"}},
        ]}],
        "ada@example.org": 1,
    }  # fmt: skip
    masked, answer, none = mask_bodies([request, {"text": "Dear ada@example.org"}, None])
    assert masked is not None
    parts = masked["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "input_audio"]
    assert parts[0]["text"] == "I am [EMAIL_1]"
    assert parts[1]["image_url"]["url"] == parts[2]["input_audio"]["data"] == "[media removed]"
    assert "[EMAIL_1]" in masked
    assert (answer, none) == ({"text": "Dear [EMAIL_1]"}, None)


def _row(request: bytes, *, mask: bool, policy: Policy = KEEP_ALL, **closed: object) -> dict[str, object]:
    opened: OpenRecord = head(0, masks_bodies=mask)
    return row_of(Attempt(new_call_id(), opened, tail(**closed), request, b""), policy)


def test_a_call_that_began_under_masking_is_masked_whatever_the_settings_say_now() -> None:
    assert _row(b'{"a": "ada@example.org"}', mask=True)["request"] == '{"a":"[EMAIL_1]"}'
    assert _row(b'{"a": "ada@example.org"}', mask=False)["request"] == '{"a": "ada@example.org"}'
    now = Policy(TaskPolicy(bodies="mask"))
    assert _row(b"ada@example.org", mask=False, policy=now)["request"] == '{"unparsed_text":"[EMAIL_1]"}'


def test_a_body_that_is_nested_too_deeply_to_be_searched_is_dropped_under_masking() -> None:
    deep = b'{"a":' * 700 + b"1" + b"}" * 700
    row = _row(deep, mask=True)
    assert row["request"] is None or "ada" not in str(row["request"])
    assert _row(deep, mask=False)["request"] == deep.decode()


def test_what_the_gateway_counted_goes_before_what_the_answer_says() -> None:
    answer = b'{"id": "c", "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}'
    closed = CloseRecord(status=200, input_tokens=9, response_content_type="application/json")
    row = row_of(Attempt(new_call_id(), head(0, service_tier="auto"), closed, b"", answer), KEEP_ALL)
    assert (row["input_tokens"], row["output_tokens"], row["model_served"], row["service_tier"]) == (9, 2, "m", "auto")


def test_an_error_that_only_the_answer_names_is_the_calls_error() -> None:
    closed = CloseRecord(status=429, response_content_type="application/json")
    answer = b'{"error": {"message": "slow down", "type": "rate_limit_error", "code": null}}'
    row = row_of(Attempt(new_call_id(), head(0), closed, b"", answer), KEEP_ALL)
    assert (row["error_type"], row["input_tokens"]) == ("rate_limit_error", None)


def test_a_clock_that_stands_nowhere_near_the_truth_gives_no_date() -> None:
    opened = OpenRecord(task="t", started_at_us=-5)
    assert row_of(Attempt(new_call_id(), opened, None, b"", b""), KEEP_ALL)["started_at"] is None
