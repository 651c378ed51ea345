from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from freehold.ledger import waiting as waiting_module
from freehold.ledger.frames import HEADER_BYTES, Frame, Kind, frames_in
from freehold.ledger.waiting import MANY_BYTES, GrowingBody, WaitingFrames

SALT = 7
_IDS = [bytes([number]) * 16 for number in range(3)]
_STEPS = st.lists(
    st.tuples(st.sampled_from(["piece", "piece", "piece", "body", "open", "close", "write"]), st.sampled_from(_IDS),
              st.sampled_from([Kind.REQUEST, Kind.RESPONSE]), st.binary(max_size=30)),
    max_size=60,
)  # fmt: skip


def _growing(frames: WaitingFrames, kind: Kind, call_id: bytes) -> GrowingBody:
    return GrowingBody(frames, kind, call_id, lambda: None)


@given(_STEPS, st.sampled_from([16, 64, 1 << 20]))
def test_bodies_come_out_as_they_went_in_however_their_pieces_were_joined(
    steps: list[tuple[str, bytes, Kind, bytes]], longest: int
) -> None:
    import pytest

    frames, written, sequence = WaitingFrames(), bytearray(), 1
    bodies = {(kind, call): _growing(frames, kind, call) for kind in (Kind.REQUEST, Kind.RESPONSE) for call in _IDS}
    expected: dict[tuple[int, bytes], bytes] = defaultdict(bytes)
    order: list[tuple[int, bytes]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(waiting_module, "LONGEST_PAYLOAD", longest)
        for what, call_id, kind, data in [*steps, ("write", _IDS[0], Kind.REQUEST, b"")]:
            match what:
                case "piece":
                    assert bodies[kind, call_id].add(data)
                    expected[kind, call_id] += data
                case "body":
                    frames.add_body(kind, call_id, data)
                    bodies[kind, call_id] = _growing(frames, kind, call_id)
                    expected[kind, call_id] += data
                case "open" | "close":
                    own = Kind.OPEN if what == "open" else Kind.CLOSE
                    frames.add(own, call_id, data)
                    order.append((own, call_id))
                case _:
                    size, count = frames.size, len(frames)
                    pieces = frames.numbered(sequence, SALT)
                    assert (sum(map(len, pieces)), len(pieces)) == (size, 2 * count)
                    written += b"".join(pieces)
                    sequence += count
                    frames.clear()
                    assert (frames.size, len(frames)) == (0, 0)
    found: dict[tuple[int, bytes], bytes] = defaultdict(bytes)
    marks: list[tuple[int, bytes]] = []
    for number, item in enumerate(frames_in(bytes(written), salt=SALT, sequence=1), start=1):
        assert isinstance(item, Frame)
        assert item.sequence == number
        assert item.end - item.payload_start <= max(longest, 30)
        if item.kind in {Kind.OPEN, Kind.CLOSE}:
            marks.append((item.kind, item.call_id))
        else:
            found[item.kind, item.call_id] += written[item.payload_start : item.end]
    assert {key: body for key, body in found.items() if body} == {key: body for key, body in expected.items() if body}
    assert marks == order


def test_the_events_of_a_stream_that_wait_together_share_a_frame() -> None:
    frames = WaitingFrames()
    bodies = [_growing(frames, Kind.RESPONSE, call_id) for call_id in _IDS]
    for _ in range(200):
        for body in bodies:
            body.add(b"data: {}")
    assert len(frames) == 3


def test_much_is_handed_over_at_once_unless_nobody_can_take_it() -> None:
    frames, flushed = WaitingFrames(), []
    body = GrowingBody(frames, Kind.RESPONSE, _IDS[0], lambda: flushed.append(frames.size))
    assert body.add(bytes(MANY_BYTES - HEADER_BYTES))
    assert not flushed
    body.add(b"x")
    assert flushed == [MANY_BYTES + 1]
    frames.has_room = False
    assert not body.add(b"x")
    assert len(flushed) == 1
