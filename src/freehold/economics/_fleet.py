"""What the event loop of `simulation` works on: tables of whole numbers, one row a call, a replica, a window of time.

One table with named columns is ten times faster in machine code than an array for each column: what one event
touches lies together. Time is counted in ticks.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]

NEVER = 1 << 62
"""End of a segment that has not begun; half of it is the last tick that may be reached."""
NOBODY = -1
DONE, STOPPED, OVERFLOWED = 0, 1, 2

CALL_COLUMNS = 11
ARRIVAL: Literal[0] = 0
ASKED: Literal[1] = 1
"""Answer tokens."""
PROMPT: Literal[2] = 2
"""Tokens to read; grows by what was written when a call is put back into the queue."""
ANSWER: Literal[3] = 3
"""Tokens to write; shrinks likewise."""
ADMITTED: Literal[4] = 4
FIRST: Literal[5] = 5
"""First token."""
FINISHED: Literal[6] = 6
ENDS_AT: Literal[7] = 7
"""Count of the replica's decode steps at which the last token is written."""
AFTER: Literal[8] = 8
"""The next call in the same queue, or the one that the same replica admitted next."""
BEFORE: Literal[9] = 9
"""The one that the same replica admitted before."""
CACHED: Literal[10] = 10
"""Tokens at the head of the prompt that a cache holds: they take memory, and are not read."""

REPLICA_COLUMNS = 18
BEGIN: Literal[0] = 0
END: Literal[1] = 1
"""Of the present segment; NEVER: the replica is idle."""
STEPS: Literal[2] = 2
STEP_TICKS: Literal[3] = 3
"""First step of the segment."""
RISE_TICKS: Literal[4] = 4
"""How much longer each step of the segment is than the one before."""
DECODING: Literal[5] = 5
RUNNING: Literal[6] = 6
"""Decoding, or reading their prompts."""
OUTSTANDING: Literal[7] = 7
"""Running or waiting."""
CONTEXT: Literal[8] = 8
"""Tokens whose keys and values the calls that decode need in the coming step."""
HELD: Literal[9] = 9
"""The same of prompts that are being read."""
DECODED: Literal[10] = 10
"""Decode steps since the start."""
READING: Literal[11] = 11
"""The earliest of the calls whose prompts the present segment reads."""
PARTIAL: Literal[12] = 12
"""The one of them that is not read to its end."""
PARTIAL_TOKENS: Literal[13] = 13
QUEUE_HEAD: Literal[14] = 14
QUEUE_TAIL: Literal[15] = 15
NEWEST: Literal[16] = 16
"""The call that was admitted last of those that run."""
PREEMPTIONS: Literal[17] = 17

BUSY: Literal[0] = 0
KV_PEAK: Literal[1] = 1
"""Largest number of tokens that one replica held."""

DECODE: Literal[0] = 0
WITH_PROMPTS: Literal[1] = 1


class Engine(NamedTuple):
    """One replica: what its steps cost, and how much it holds. The steps' own costs are a table, see `replay`."""

    context_ticks: int
    """Reading the keys and values of one token."""
    prompt_ticks: float
    """Reading one token of a prompt."""
    prompt_ticks2: float
    """Attention within a prompt: times the growth of its squared length."""
    kv_tokens: int
    admission_tokens: int
    """A call is taken in beside others only while no more than this is in use; the rest is room to grow."""
    most_requests: int
    chunk_tokens: int
    """Tokens of one step: one for each call that decodes, the rest for prompts."""


class Watch(NamedTuple):
    """How the replay is looked at: the width of a window, and when to give up because a goal is missed."""

    window_ticks: int
    ttft_ticks: int
    tpot_ticks: int
    late_ttft: int
    """More calls than this with a later first token end the replay."""
    late_tpot: int


def new_calls(arrival: Table, prompt: Table, answer: Table, cached: Table | None = None) -> Table:
    """[calls, CALL_COLUMNS], of calls that nobody has seen yet. The last token of a prompt is always read."""
    calls = np.full((len(arrival), CALL_COLUMNS), NOBODY, dtype=np.int64)
    calls[:, CACHED] = 0 if cached is None else np.minimum(cached, prompt - 1)
    calls[:, ARRIVAL], calls[:, PROMPT], calls[:, ANSWER], calls[:, ASKED] = arrival, prompt, answer, answer
    return calls


def new_fleet(replicas: int) -> Table:
    """[replicas, REPLICA_COLUMNS], all of them idle."""
    fleet = np.zeros((replicas, REPLICA_COLUMNS), dtype=np.int64)
    fleet[:, [READING, PARTIAL, QUEUE_HEAD, QUEUE_TAIL, NEWEST]] = NOBODY
    fleet[:, END] = NEVER
    return fleet
