"""The simulated engine once more: every step of every replica one by one, with lists, as one would explain it.

Slow and obvious. The replay in `freehold.economics._batching` must end every call at the same tick.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Call:
    name: int
    arrival: int
    prompt: int
    answer: int
    cached: int = 0
    """Of the prompt; the last token is always read."""
    read: int = 0
    written: int = 0
    """Since the call was last taken in."""
    admitted: int = -1
    first: int = -1
    finished: int = -1

    def __post_init__(self) -> None:
        self.cached = self.read = min(self.cached, self.prompt - 1)

    @property
    def decodes(self) -> bool:
        return self.read == self.prompt


@dataclass
class Replica:
    queue: list[Call] = field(default_factory=list)
    running: list[Call] = field(default_factory=list)
    """By admission."""
    free_at: int = 0
    """End of the step in progress, at which what it wrote is known."""
    is_working: bool = False
    decoding: list[Call] = field(default_factory=list)
    reading: list[tuple[Call, int]] = field(default_factory=list)
    """What the step in progress does: who gets a token, and who reads how many of his prompt."""
    preemptions: int = 0

    @property
    def outstanding(self) -> int:
        return len(self.queue) + len(self.running)


@dataclass(frozen=True)
class Rules:
    decode_ticks: list[int]
    with_prompts_ticks: list[int]
    context_ticks: int
    prompt_ticks: float
    prompt_ticks2: float
    kv_tokens: int
    admission_tokens: int
    most_requests: int
    chunk_tokens: int


def replay(arrivals: Sequence[tuple[int, ...]], rules: Rules, *, replicas: int, by_turns: bool) -> list[Call]:
    """Calls (arrival, prompt, answer and perhaps what is cached) after all of them were answered."""
    fleet = [Replica() for _ in range(replicas)]
    calls = [Call(name, *each) for name, each in enumerate(arrivals)]
    for call in calls:
        for replica in fleet:
            work_until(call.arrival, replica, rules)
        chosen = fleet[call.name % replicas] if by_turns else min(fleet, key=lambda each: each.outstanding)
        chosen.queue.append(call)
        if not chosen.is_working:
            chosen.is_working, chosen.free_at = True, call.arrival
    for replica in fleet:
        work_until(None, replica, rules)
    return calls


def work_until(moment: int | None, replica: Replica, rules: Rules) -> None:
    """End every step that ends before the moment, and begin the next one at once."""
    while replica.is_working and (moment is None or replica.free_at < moment):
        end_step(replica)
        make_room(replica, rules)
        begin_step(replica, rules)


def need(call: Call) -> int:
    """Tokens whose keys and values the call needs in the coming step."""
    return call.prompt + call.written


def end_step(replica: Replica) -> None:
    for call in replica.decoding:
        call.written += 1
    for call, tokens in replica.reading:
        call.read += tokens
        if call.decodes:
            call.written = 1
            call.first = replica.free_at if call.first < 0 else call.first
    for call in [each for each in replica.running if each.written == each.answer]:
        call.finished = replica.free_at
        replica.running.remove(call)


def make_room(replica: Replica, rules: Rules) -> None:
    while sum(need(call) for call in replica.running) > rules.kv_tokens:
        call = replica.running.pop()
        call.prompt, call.answer = call.prompt + call.written, call.answer - call.written
        call.read, call.written = call.cached, 0
        replica.queue.insert(0, call)
        replica.preemptions += 1


def begin_step(replica: Replica, rules: Rules) -> None:
    replica.decoding = [call for call in replica.running if call.decodes]
    replica.reading = []
    room = rules.chunk_tokens - len(replica.decoding)
    for call in replica.running:
        if not call.decodes:
            replica.reading.append((call, min(room, call.prompt - call.read)))
            room -= replica.reading[-1][1]
    while room > 0 and replica.queue and fits(replica, rules):
        call = replica.queue.pop(0)
        call.admitted = replica.free_at if call.admitted < 0 else call.admitted
        replica.running.append(call)
        replica.reading.append((call, min(room, call.prompt - call.read)))
        room -= replica.reading[-1][1]
    replica.is_working = bool(replica.running)
    replica.free_at += step_ticks(replica, rules)


def step_ticks(replica: Replica, rules: Rules) -> int:
    together = len(replica.decoding)
    ticks = 0
    if together:
        ticks = rules.decode_ticks[together] + rules.context_ticks * sum(need(call) for call in replica.decoding)
    if replica.reading:
        prompts = 0.0
        for call, tokens in replica.reading:
            upto = call.read + tokens
            prompts += tokens * (rules.prompt_ticks + rules.prompt_ticks2 * (upto + call.read))
        ticks = max(ticks + rules.with_prompts_ticks[together] + int(prompts), rules.decode_ticks[0])
    return ticks


def fits(replica: Replica, rules: Rules) -> bool:
    if not replica.running:
        return True
    used = sum(need(call) for call in replica.running) + replica.queue[0].prompt
    return len(replica.running) < rules.most_requests and used <= rules.admission_tokens
