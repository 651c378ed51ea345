"""The event loop of `simulation`: replicas that batch continuously, replayed call by call.

Time is counted in whole ticks, so that many steps at once and the same steps one by one end at the same tick, in
Python as in machine code. A segment is a run of engine steps between two moments at which something changes: one step
that reads prompts, or all steps until a call ends, memory runs out or a call arrives.

docs/decisions/0009-simulation.md tells the rules of the engine; tests/economics/stepwise.py follows them step by step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from freehold.economics._compile import part
from freehold.economics._fleet import (
    ADMITTED,
    AFTER,
    ANSWER,
    ARRIVAL,
    ASKED,
    BEFORE,
    BEGIN,
    BUSY,
    CACHED,
    CONTEXT,
    DECODE,
    DECODED,
    DECODING,
    DONE,
    END,
    ENDS_AT,
    FINISHED,
    FIRST,
    HELD,
    KV_PEAK,
    NEVER,
    NEWEST,
    NOBODY,
    OUTSTANDING,
    OVERFLOWED,
    PARTIAL,
    PARTIAL_TOKENS,
    PREEMPTIONS,
    PROMPT,
    QUEUE_HEAD,
    QUEUE_TAIL,
    READING,
    RISE_TICKS,
    RUNNING,
    STEP_TICKS,
    STEPS,
    STOPPED,
    WITH_PROMPTS,
)
from freehold.economics._heap import add_to_heap, remove_from_heap

if TYPE_CHECKING:
    from freehold.economics._fleet import Engine, Table, Watch


def replay(
    calls: Table, fleet: Table, heaps: Table, windows: Table, costs: Table, engine: Engine, watch: Watch, by_turns: bool
) -> int:
    """Send every call to a replica as it arrives and follow all of them to their end.

    Args:
        calls: [calls, CALL_COLUMNS] by rising arrival; times are written into it.
        fleet: [replicas, REPLICA_COLUMNS], idle.
        heaps: [replicas, most_requests]: room for the calls that decode, the one that ends next first.
        windows: [windows, 2] of zeros; the last one takes all that comes later.
        costs: [most_requests + 1, 2]: ticks of a step that decodes so many calls, keys and values apart, and what
            it takes longer when it reads prompts too. The first of [0] is the shortest step there is.
        engine: The replicas.
        watch: Windows and limits.
        by_turns: Send calls to one replica after the other, not to the one with the fewest calls.

    Returns:
        DONE; STOPPED, once more calls were late than allowed; OVERFLOWED, when time ran out of ticks.
    """
    late = np.zeros(2, dtype=np.int64)
    replicas = len(fleet)
    for call in range(len(calls)):
        now = calls[call, ARRIVAL]
        chosen = call % replicas
        for replica in range(replicas):
            while fleet[replica, END] < now:
                _advance(replica, calls, fleet, heaps, windows, costs, engine, watch, late)
            if not by_turns and (replica == 0 or fleet[replica, OUTSTANDING] < fleet[chosen, OUTSTANDING]):
                chosen = replica
        if late[0] > watch.late_ttft or late[1] > watch.late_tpot:
            return STOPPED
        _arrive(call, chosen, calls, fleet)
    for replica in range(replicas):
        while fleet[replica, END] != NEVER:
            if fleet[replica, END] > NEVER // 2:
                return OVERFLOWED
            _advance(replica, calls, fleet, heaps, windows, costs, engine, watch, late)
            if late[0] > watch.late_ttft or late[1] > watch.late_tpot:
                return STOPPED
    return DONE


@part
def _arrive(call: int, replica: int, calls: Table, fleet: Table) -> None:
    """Put a call at the end of a queue; a segment that nobody was waiting for ends with the step in progress."""
    now, tail = calls[call, ARRIVAL], fleet[replica, QUEUE_TAIL]
    fleet[replica, QUEUE_TAIL] = call
    fleet[replica, OUTSTANDING] += 1
    if tail != NOBODY:
        calls[tail, AFTER] = call
        return
    fleet[replica, QUEUE_HEAD] = call
    if fleet[replica, END] == NEVER:
        fleet[replica, BEGIN], fleet[replica, END], fleet[replica, STEPS] = now, now, 0
    elif fleet[replica, STEPS] > 1:
        first, rise = fleet[replica, STEP_TICKS], fleet[replica, RISE_TICKS]
        steps = _steps_until(now - fleet[replica, BEGIN], first, rise)
        fleet[replica, STEPS] = steps
        fleet[replica, END] = fleet[replica, BEGIN] + _duration(steps, first, rise)


@part
def _duration(steps: int, first: int, rise: int) -> int:
    """Ticks of so many steps, each longer than the one before by `rise`."""
    return steps * first + rise * (steps * (steps - 1) // 2)


@part
def _steps_until(ticks: int, first: int, rise: int) -> int:
    """The fewest steps, one at least, that last so long: the root of their sum rounded down, and what lacks."""
    if ticks <= first:
        return 1
    slope = first - 0.5 * rise
    steps = int(2.0 * ticks / (slope + np.sqrt(slope * slope + 2.0 * rise * ticks)))
    while _duration(steps, first, rise) < ticks:
        steps += 1
    return steps


@part
def _advance(
    replica: int,
    calls: Table,
    fleet: Table,
    heaps: Table,
    windows: Table,
    costs: Table,
    engine: Engine,
    watch: Watch,
    late: Table,
) -> None:
    """End the present segment, and begin the next one at once."""
    now = fleet[replica, END]
    _count(replica, fleet, windows, watch.window_ticks)
    if fleet[replica, DECODING] > 0:
        fleet[replica, DECODED] += fleet[replica, STEPS]
        fleet[replica, CONTEXT] += fleet[replica, DECODING] * fleet[replica, STEPS]
    _end_prompts(now, replica, calls, fleet, heaps, watch, late)
    while fleet[replica, DECODING] > 0:
        call = heaps[replica, 0]
        if calls[call, ENDS_AT] > fleet[replica, DECODED]:
            break
        remove_from_heap(0, replica, calls, fleet, heaps)
        fleet[replica, CONTEXT] -= calls[call, PROMPT] + calls[call, ANSWER]
        _finish(call, now, replica, calls, fleet, watch, late)
    _make_room(replica, calls, fleet, heaps, engine)
    prefill_ticks = _read_prompts(now, replica, calls, fleet, engine)
    _begin(now, prefill_ticks, replica, calls, fleet, heaps, costs, engine)


@part
def _count(replica: int, fleet: Table, windows: Table, length: int) -> None:
    """Add a segment to the windows that it lies in."""
    begin, end, last = fleet[replica, BEGIN], fleet[replica, END], len(windows) - 1
    kv = fleet[replica, HELD] + fleet[replica, CONTEXT]
    kv += fleet[replica, DECODING] * max(0, fleet[replica, STEPS] - 1)
    while begin < end:
        window = min(begin // length, last)
        until = end if window == last else min(end, (window + 1) * length)
        windows[window, BUSY] += until - begin
        windows[window, KV_PEAK] = max(windows[window, KV_PEAK], kv)
        begin = until


@part
def _end_prompts(now: int, replica: int, calls: Table, fleet: Table, heaps: Table, watch: Watch, late: Table) -> None:
    """Prompts that were read to their end give their first token, and begin to decode."""
    call = fleet[replica, READING]
    fleet[replica, READING] = NOBODY
    while call not in (NOBODY, fleet[replica, PARTIAL]):
        following = calls[call, AFTER]
        fleet[replica, HELD] -= calls[call, PROMPT]
        if calls[call, FIRST] == NOBODY:
            calls[call, FIRST] = now
            if now - calls[call, ARRIVAL] > watch.ttft_ticks:
                late[0] += 1
        if calls[call, ANSWER] == 1:
            _finish(call, now, replica, calls, fleet, watch, late)
        else:
            fleet[replica, CONTEXT] += calls[call, PROMPT] + 1
            calls[call, ENDS_AT] = fleet[replica, DECODED] + calls[call, ANSWER] - 1
            add_to_heap(call, replica, calls, fleet, heaps)
        call = following


@part
def _finish(call: int, now: int, replica: int, calls: Table, fleet: Table, watch: Watch, late: Table) -> None:
    calls[call, FINISHED] = now
    fleet[replica, OUTSTANDING] -= 1
    _leave(call, replica, calls, fleet)
    if now - calls[call, FIRST] > watch.tpot_ticks * (calls[call, ASKED] - 1):
        late[1] += 1


@part
def _leave(call: int, replica: int, calls: Table, fleet: Table) -> None:
    """Take a call out of the replica's list of admitted ones."""
    earlier, later = calls[call, BEFORE], calls[call, AFTER]
    if earlier != NOBODY:
        calls[earlier, AFTER] = later
    if later == NOBODY:
        fleet[replica, NEWEST] = earlier
    else:
        calls[later, BEFORE] = earlier
    fleet[replica, RUNNING] -= 1


@part
def _make_room(replica: int, calls: Table, fleet: Table, heaps: Table, engine: Engine) -> None:
    """Put the calls that were admitted last back to the head of the queue until the coming step fits into memory."""
    while fleet[replica, CONTEXT] + fleet[replica, HELD] > engine.kv_tokens:
        call = fleet[replica, NEWEST]
        _leave(call, replica, calls, fleet)
        if call == fleet[replica, PARTIAL]:
            fleet[replica, PARTIAL] = NOBODY
            fleet[replica, HELD] -= calls[call, PROMPT]
        else:
            place = 0
            while heaps[replica, place] != call:
                place += 1
            remove_from_heap(place, replica, calls, fleet, heaps)
            left = calls[call, ENDS_AT] - fleet[replica, DECODED]
            calls[call, PROMPT] += calls[call, ANSWER] - left
            calls[call, ANSWER] = left
            fleet[replica, CONTEXT] -= calls[call, PROMPT]
        calls[call, AFTER] = fleet[replica, QUEUE_HEAD]
        if fleet[replica, QUEUE_HEAD] == NOBODY:
            fleet[replica, QUEUE_TAIL] = call
        fleet[replica, QUEUE_HEAD] = call
        fleet[replica, PREEMPTIONS] += 1


@part
def _read_prompts(now: int, replica: int, calls: Table, fleet: Table, engine: Engine) -> float:
    """Give the step's room for prompts to the one half read, then to the queue in its order; ticks that it takes."""
    room = engine.chunk_tokens - fleet[replica, DECODING]
    ticks = 0.0
    call = fleet[replica, PARTIAL]
    fleet[replica, READING] = call
    if call != NOBODY:
        start = fleet[replica, PARTIAL_TOKENS]
        upto = min(calls[call, PROMPT], start + room)
        ticks += _prompt_ticks(start, upto, engine)
        room -= upto - start
        fleet[replica, PARTIAL_TOKENS] = upto
        if upto == calls[call, PROMPT]:
            fleet[replica, PARTIAL] = NOBODY
    while room > 0 and fleet[replica, QUEUE_HEAD] != NOBODY and _has_room(replica, calls, fleet, engine):
        call = fleet[replica, QUEUE_HEAD]
        _admit(call, now, replica, calls, fleet)
        start = calls[call, CACHED]
        upto = min(calls[call, PROMPT], start + room)
        ticks += _prompt_ticks(start, upto, engine)
        room -= upto - start
        if upto < calls[call, PROMPT]:
            fleet[replica, PARTIAL] = call
            fleet[replica, PARTIAL_TOKENS] = upto
    return ticks


@part
def _prompt_ticks(start: int, upto: int, engine: Engine) -> float:
    return (upto - start) * (engine.prompt_ticks + engine.prompt_ticks2 * (upto + start))


@part
def _has_room(replica: int, calls: Table, fleet: Table, engine: Engine) -> bool:
    """Whether the head of the queue can be taken in now; a replica without calls takes any."""
    running = fleet[replica, RUNNING]
    used = fleet[replica, CONTEXT] + fleet[replica, HELD] + calls[fleet[replica, QUEUE_HEAD], PROMPT]
    return bool(running == 0 or (running < engine.most_requests and used <= engine.admission_tokens))


@part
def _admit(call: int, now: int, replica: int, calls: Table, fleet: Table) -> None:
    fleet[replica, QUEUE_HEAD] = calls[call, AFTER]
    if fleet[replica, QUEUE_HEAD] == NOBODY:
        fleet[replica, QUEUE_TAIL] = NOBODY
    newest = fleet[replica, NEWEST]
    calls[call, BEFORE], calls[call, AFTER] = newest, NOBODY
    if newest != NOBODY:
        calls[newest, AFTER] = call
    fleet[replica, NEWEST] = call
    fleet[replica, RUNNING] += 1
    fleet[replica, HELD] += calls[call, PROMPT]
    if fleet[replica, READING] == NOBODY:
        fleet[replica, READING] = call
    if calls[call, ADMITTED] == NOBODY:
        calls[call, ADMITTED] = now


@part
def _begin(
    now: int, prefill_ticks: float, replica: int, calls: Table, fleet: Table, heaps: Table, costs: Table, engine: Engine
) -> None:
    """Plan until something changes: one step where prompts are read, else all until a call ends or memory is full."""
    decoding, context = fleet[replica, DECODING], fleet[replica, CONTEXT]
    first = costs[decoding, DECODE] + engine.context_ticks * context if decoding > 0 else 0
    rise = engine.context_ticks * decoding
    if fleet[replica, READING] != NOBODY:
        steps, first = 1, max(first + costs[decoding, WITH_PROMPTS] + int(prefill_ticks), costs[0, DECODE])
    elif decoding > 0:
        until_end = calls[heaps[replica, 0], ENDS_AT] - fleet[replica, DECODED]
        until_full = (engine.kv_tokens - context) // decoding + 1
        steps = min(until_end, until_full)
    else:
        fleet[replica, END] = NEVER
        return
    fleet[replica, BEGIN], fleet[replica, END] = now, now + _duration(steps, first, rise)
    fleet[replica, STEPS], fleet[replica, STEP_TICKS], fleet[replica, RISE_TICKS] = steps, first, rise
