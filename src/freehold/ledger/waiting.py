"""Records that a worker has not handed to the kernel yet. Pieces of one body that wait together become one frame."""

from __future__ import annotations

from freehold.ledger.frames import HEADER_BYTES, LONGEST_PAYLOAD, header_of


class WaitingFrames:
    """In the order in which they are to be written; they are numbered then. Not for several threads at once."""

    __slots__ = ("_frames", "_growing", "size")

    def __init__(self) -> None:
        """Nothing waits."""
        self._frames: list[tuple[int, bytes, bytes | bytearray]] = []
        self._growing: dict[tuple[int, bytes], bytearray] = {}
        """Kind and call id -> the body's last frame, which takes further pieces."""
        self.size = 0
        """Bytes of all frames, headers included; 0: nothing waits."""

    def __len__(self) -> int:
        """How many frames."""
        return len(self._frames)

    def add(self, kind: int, call_id: bytes, payload: bytes | bytearray) -> None:
        """A frame of its own."""
        self._frames.append((kind, call_id, payload))
        self.size += HEADER_BYTES + len(payload)

    def add_body(self, kind: int, call_id: bytes, body: bytes) -> None:
        """A body, or its rest, in as many frames as it takes."""
        growing = self._growing.pop((kind, call_id), None)
        if growing is not None and len(growing) + len(body) <= LONGEST_PAYLOAD:
            growing += body
            self.size += len(body)
            return
        for start in range(0, len(body), LONGEST_PAYLOAD):
            self.add(kind, call_id, bytes(body[start : start + LONGEST_PAYLOAD]))

    def add_piece(self, kind: int, call_id: bytes, piece: bytes) -> None:
        """A piece of a body that goes on: an event of a stream costs less than a header of its own would."""
        growing = self._growing.get((kind, call_id))
        if growing is None or len(growing) + len(piece) > LONGEST_PAYLOAD:
            if len(piece) > LONGEST_PAYLOAD:
                self.add_body(kind, call_id, piece)
                return
            growing = self._growing[kind, call_id] = bytearray()
            self.add(kind, call_id, growing)
        growing += piece
        self.size += len(piece)

    def numbered(self, sequence: int, salt: int) -> list[bytes | bytearray]:
        """Headers and payloads, the first of which bears this number."""
        pieces: list[bytes | bytearray] = []
        for number, (kind, call_id, payload) in enumerate(self._frames, sequence):
            pieces.append(header_of(kind, call_id, payload, number, salt))
            pieces.append(payload)
        return pieces

    def clear(self) -> None:
        """All has been written."""
        self._frames.clear()
        self._growing.clear()
        self.size = 0
