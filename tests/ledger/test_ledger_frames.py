from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from freehold.ledger.frames import HEADER_BYTES, LONGEST_PAYLOAD, MAGIC, Frame, Gap, Kind, frames_in, header_of

SALT = 0xC0FFEE11
_ID = bytes(range(16))
_PAYLOADS = st.lists(st.binary(max_size=60) | st.just(MAGIC * 3), max_size=12)


def _segment(payloads: list[bytes], salt: int = SALT) -> bytes:
    return b"".join(
        header_of(Kind.REQUEST, _ID, payload, number, salt) + payload
        for number, payload in enumerate(payloads, start=1)
    )


def _read(data: bytes, sequence: int | None = 1) -> tuple[list[tuple[int, bytes]], list[Gap]]:
    items = list(frames_in(data, salt=SALT, sequence=sequence))
    frames = [item for item in items if isinstance(item, Frame)]
    return [(frame.sequence, data[frame.payload_start : frame.end]) for frame in frames], [
        item for item in items if isinstance(item, Gap)
    ]


@given(_PAYLOADS)
def test_what_was_written_is_read_back(payloads: list[bytes]) -> None:
    assert _read(_segment(payloads)) == (list(enumerate(payloads, start=1)), [])


@given(_PAYLOADS, st.integers(0, 2000))
def test_a_torn_tail_costs_the_torn_record_alone(payloads: list[bytes], cut: int) -> None:
    data = _segment(payloads)[:cut]
    whole, size = [], 0
    for number, payload in enumerate(payloads, start=1):
        size += HEADER_BYTES + len(payload)
        if size <= len(data):
            whole.append((number, payload))

    frames, gaps = _read(data)

    assert frames == whole
    kept = sum(HEADER_BYTES + len(payload) for _, payload in whole)
    assert gaps == ([] if kept == len(data) else [Gap(kept, len(data), 0)])


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=12), st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_costs_one_record_and_says_so(payloads: list[bytes], place: int, bit: int) -> None:
    data = bytearray(_segment(payloads))
    place %= len(data)
    data[place] ^= 1 << bit
    starts = [0]
    for payload in payloads:
        starts.append(starts[-1] + HEADER_BYTES + len(payload))
    hit = max(number for number, start in enumerate(starts[:-1]) if start <= place)

    frames, gaps = _read(bytes(data))

    assert frames == [(number + 1, payload) for number, payload in enumerate(payloads) if number != hit]
    assert [(gap.start, gap.end) for gap in gaps] == [(starts[hit], starts[hit + 1])]
    assert gaps[0].lost == (0 if hit == len(payloads) - 1 else 1)


@settings(max_examples=300)
@given(_PAYLOADS, st.lists(st.tuples(st.integers(0), st.binary(max_size=80), st.integers(0, 200)), max_size=4))
def test_whatever_happens_to_a_segment_only_records_that_were_written_come_out_in_order_and_losses_add_up(
    payloads: list[bytes], wounds: list[tuple[int, bytes, int]]
) -> None:
    data = _segment(payloads)
    for place, foreign, cut in wounds:
        at = place % (len(data) + 1)
        data = data[:at] + foreign + data[at + cut :]

    frames, gaps = _read(data)

    written = dict(enumerate(payloads, start=1))
    assert all(written[number] == payload for number, payload in frames)
    numbers = [number for number, _ in frames]
    assert numbers == sorted(set(numbers))
    if numbers:
        assert sum(gap.lost for gap in gaps) == numbers[-1] - len(numbers)
    assert all(first.end <= second.start for first, second in pairwise(gaps))


@given(st.binary(max_size=400))
@example(MAGIC * 200)
def test_bytes_that_nobody_wrote_hold_no_record(data: bytes) -> None:
    frames, gaps = _read(data, sequence=None)
    assert frames == []
    assert gaps == ([Gap(0, len(data), 0)] if data else [])


def test_a_record_that_a_client_wrote_into_its_body_is_none_even_after_damage() -> None:
    forged = header_of(Kind.CLOSE, _ID, b"forged", 2, 0) + b"forged"
    data = bytearray(_segment([b"first" + forged + b"rest", b"second"]))
    data[3] ^= 1  # the reader must look for the next record, and passes the forged one

    frames, gaps = _read(bytes(data))

    assert frames == [(2, b"second")]
    assert [gap.lost for gap in gaps] == [1]


def test_a_region_that_stands_twice_is_read_once() -> None:
    data = _segment([b"a", b"b", b"c"])
    block = data[: HEADER_BYTES + 1]

    frames, gaps = _read(data[: 2 * len(block)] + block + data[2 * len(block) :])

    assert frames == [(1, b"a"), (2, b"b"), (3, b"c")]
    assert gaps == [Gap(2 * len(block), 3 * len(block), 0)]


def test_a_segment_full_of_beginnings_is_read_in_linear_time() -> None:
    data = MAGIC * (LONGEST_PAYLOAD // 2)
    assert _read(data) == ([], [Gap(0, len(data), 0)])
