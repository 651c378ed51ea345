from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.economics import _batching, _compile
from freehold.economics._fleet import (
    ADMITTED,
    BUSY,
    DONE,
    FINISHED,
    FIRST,
    NEVER,
    OVERFLOWED,
    PREEMPTIONS,
    STOPPED,
    Engine,
    Watch,
    new_calls,
    new_fleet,
)
from tests.economics import stepwise
from tests.economics.stepwise import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from freehold.economics._fleet import Table

FAST = _compile.compiled(_batching.replay)

CALL = st.tuples(st.integers(0, 4_000), st.integers(1, 40), st.integers(1, 30), st.integers(0, 45))
CALLS = st.lists(CALL, min_size=1, max_size=60)
TICKS = st.tuples(st.integers(1, 60), st.integers(0, 9), st.integers(0, 40))
RULES = st.builds(
    Rules,
    decode_ticks=st.just([]),
    with_prompts_ticks=st.just([]),
    context_ticks=st.integers(0, 3),
    prompt_ticks=st.floats(0, 20),
    prompt_ticks2=st.floats(0, 0.5),
    kv_tokens=st.integers(70, 400),
    admission_tokens=st.just(0),
    most_requests=st.integers(1, 12),
    chunk_tokens=st.integers(12, 60),
)


def completed(rules: Rules, fixed: int, each: int, extra: int) -> Rules:
    """The rules with their tables."""
    many = range(rules.most_requests + 1)
    return Rules(
        decode_ticks=[fixed + each * max(1, count) for count in many],
        with_prompts_ticks=[extra // (1 + count) for count in many],
        context_ticks=rules.context_ticks,
        prompt_ticks=rules.prompt_ticks,
        prompt_ticks2=rules.prompt_ticks2,
        kv_tokens=rules.kv_tokens,
        admission_tokens=rules.kv_tokens - rules.kv_tokens // 20,
        most_requests=rules.most_requests,
        chunk_tokens=rules.chunk_tokens,
    )


def run(
    arrivals: Sequence[tuple[int, ...]],
    rules: Rules,
    *,
    replicas: int = 1,
    by_turns: bool = False,
    how: Callable[..., int] = _batching.replay,
    watch: Watch | None = None,
) -> tuple[int, Table, Table, Table]:
    """Status, calls, fleet and windows."""
    calls = new_calls(*(np.array(column, dtype=np.int64) for column in zip(*arrivals, strict=True)))
    fleet = new_fleet(replicas)
    heaps = np.zeros((replicas, rules.most_requests), dtype=np.int64)
    windows = np.zeros((6, 2), dtype=np.int64)
    costs = np.array([rules.decode_ticks, rules.with_prompts_ticks], dtype=np.int64).T.copy()
    engine = Engine(
        context_ticks=rules.context_ticks,
        prompt_ticks=rules.prompt_ticks,
        prompt_ticks2=rules.prompt_ticks2,
        kv_tokens=rules.kv_tokens,
        admission_tokens=rules.admission_tokens,
        most_requests=rules.most_requests,
        chunk_tokens=rules.chunk_tokens,
    )
    nobody_is_late = Watch(700, NEVER, 1 << 40, len(arrivals), len(arrivals))
    status = how(calls, fleet, heaps, windows, costs, engine, watch or nobody_is_late, by_turns)
    return status, calls, fleet, windows


SIMPLE = Rules(
    decode_ticks=[100, 100, 110],
    with_prompts_ticks=[0, 0, 0],
    context_ticks=1,
    prompt_ticks=10.0,
    prompt_ticks2=0.0,
    kv_tokens=1000,
    admission_tokens=1000,
    most_requests=2,
    chunk_tokens=8,
)


def test_two_calls_by_hand() -> None:
    # Call 0 arrives at 0 with 12 prompt tokens, of which 8 fit into a step, and 3 answer tokens:
    # [0, 100): reads 8, 80 ticks of work, but no step is shorter than 100. [100, 200): reads 4; first token at 200.
    # Call 1 arrives at 150 with 2 and 2: it is taken in at 200 beside call 0, which decodes with context 12 + 1:
    # 100 + 13 + 2 · 10 = 133, so [200, 333). Then both decode, contexts 12 + 2 and 2 + 1: 110 + 17 = 127, until 460.
    status, calls, fleet, windows = run([(0, 12, 3), (150, 2, 2)], SIMPLE)

    assert status == DONE
    assert calls[:, ADMITTED].tolist() == [0, 200]
    assert calls[:, FIRST].tolist() == [200, 333]
    assert calls[:, FINISHED].tolist() == [460, 460]
    assert fleet[0, PREEMPTIONS] == 0
    assert windows[:, BUSY].tolist() == [460, 0, 0, 0, 0, 0]


def test_what_a_cache_holds_is_not_read_by_hand() -> None:
    # A prompt of 30 tokens, 20 of them cached. Chunks of 8: 8 and 2 are read, at 10 ticks a token and no less than
    # the 100 ticks of the shortest step. Two steps, 200 ticks, to the first token; the second one is a decode step
    # with 31 tokens of context: 100 + 31 = 131.
    _, calls, _, _ = run([(0, 30, 2, 20)], SIMPLE)
    assert (calls[0, FIRST], calls[0, FINISHED]) == (200, 331)
    # Without the cache four steps are needed: 8 + 8 + 8 + 6 tokens.
    _, calls, _, _ = run([(0, 30, 2, 0)], SIMPLE)
    assert calls[0, FIRST] == 400
    # Wholly cached: the last token is read all the same.
    _, calls, _, _ = run([(0, 30, 2, 30)], SIMPLE)
    assert calls[0, FIRST] == 100


def test_a_call_is_put_back_by_hand() -> None:
    # 20 tokens of memory; both calls read 8 of their prompt in one step: [0, 160), first tokens at 160.
    # Contexts 9 + 9 fit, then 10 + 10 do: 110 + 18 = 128 and 110 + 20 = 130, until 418. 22 do not: call 1 is put back
    # with 3 tokens written. Call 0 has 3 of 4 tokens, decodes the last one alone: 100 + 11 = 111, until 529.
    # Call 1 then reads 8 + 3 tokens again and call 2, which waited behind it, 5 of its 8: 16 · 10 = 160, until 689,
    # which gives call 1 its fourth and last token. Call 2 reads the other 3 in a shortest step, until 789.
    rules = Rules(**{**SIMPLE.__dict__, "kv_tokens": 20, "admission_tokens": 20, "chunk_tokens": 16})

    _, calls, fleet, _ = run([(0, 8, 4), (0, 8, 4), (0, 8, 1)], rules)

    assert calls[:, FIRST].tolist() == [160, 160, 789]
    assert fleet[0, PREEMPTIONS] == 1
    assert calls[:, FINISHED].tolist() == [529, 689, 789]


def test_a_prompt_half_read_is_put_back_by_hand() -> None:
    # 40 tokens of memory. [0, 100): call 0 reads its 8 tokens, which fill the step. [100, 209 + 70): it decodes its
    # second token, 100 + 9, and call 1 reads 7 of 31. Then 10 + 31 do not fit: call 1 waits until call 0 has ended.
    rules = Rules(**{**SIMPLE.__dict__, "kv_tokens": 40, "admission_tokens": 40})

    _, calls, fleet, _ = run([(0, 8, 4), (0, 31, 1)], rules)

    # call 0: 279 + (100 + 10) + (100 + 11) = 500; call 1: 31 tokens in steps of 100, 100, 100 and 100 for the last 7
    assert calls[:, FINISHED].tolist() == [500, 900]
    assert calls[:, ADMITTED].tolist() == [0, 100]
    assert fleet[0, PREEMPTIONS] == 1


@given(st.integers(0, 10**15), st.integers(1, 10**10), st.integers(0, 10**8))
def test_the_root_finds_the_fewest_steps_that_last_so_long(ticks: int, first: int, rise: int) -> None:
    steps = _batching._steps_until(ticks, first, rise)

    assert steps >= 1
    assert _batching._duration(steps, first, rise) >= ticks
    assert steps == 1 or _batching._duration(steps - 1, first, rise) < ticks


@settings(max_examples=150, deadline=None)
@given(CALLS, RULES, st.integers(1, 4), st.booleans(), TICKS)
def test_jumping_over_steps_ends_every_call_at_the_tick_of_a_replay_step_by_step(
    arrivals: Sequence[tuple[int, ...]], rules: Rules, replicas: int, by_turns: bool, ticks: tuple[int, int, int]
) -> None:
    arrivals, rules = sorted(arrivals), completed(rules, *ticks)
    _, calls, fleet, windows = run(arrivals, rules, replicas=replicas, by_turns=by_turns)
    _, fast_calls, fast_fleet, fast_windows = run(arrivals, rules, replicas=replicas, by_turns=by_turns, how=FAST)

    slow = stepwise.replay(arrivals, rules, replicas=replicas, by_turns=by_turns)

    assert calls[:, ADMITTED].tolist() == [call.admitted for call in slow]
    assert calls[:, FIRST].tolist() == [call.first for call in slow]
    assert calls[:, FINISHED].tolist() == [call.finished for call in slow]
    assert (calls == fast_calls).all()
    assert (fleet == fast_fleet).all()
    assert (windows == fast_windows).all()


def test_thousands_of_calls_end_at_the_same_tick_too() -> None:
    random = np.random.default_rng(5)
    arrivals = np.column_stack(
        [
            np.cumsum(random.integers(0, 90, 3_000)), random.integers(1, 300, 3_000), random.integers(1, 200, 3_000),
            random.integers(-200, 200, 3_000).clip(0),
        ]
    )  # fmt: skip
    rules = completed(
        Rules([], [], 1, 0.31, 0.0007, kv_tokens=4_000, admission_tokens=0, most_requests=24, chunk_tokens=64),
        fixed=70, each=2, extra=9,
    )  # fmt: skip
    listed: list[tuple[int, ...]] = [tuple(int(each) for each in row) for row in arrivals]

    _, calls, fleet, _ = run(listed, rules, replicas=3, how=FAST)
    slow = stepwise.replay(listed, rules, replicas=3, by_turns=False)

    assert fleet[:, PREEMPTIONS].sum() > 100
    assert calls[:, FINISHED].tolist() == [call.finished for call in slow]


def test_a_replay_stops_once_too_many_calls_are_late() -> None:
    arrivals = [(0, 8, 4)] * 10

    def status(ttft: int, tpot: int, late: int) -> int:
        return run(arrivals, SIMPLE, watch=Watch(700, ttft, tpot, late, late))[0]

    assert status(NEVER, 1 << 40, 10) == DONE
    assert status(1, 1 << 40, 9) == STOPPED
    assert status(NEVER, 1, 9) == STOPPED
    assert run([(0, 8, 4), (10_000, 1, 1)], SIMPLE, watch=Watch(700, 1, 1 << 40, 0, 9))[0] == STOPPED


def test_a_replay_says_when_time_runs_out_of_ticks() -> None:
    endless = Rules(**{**SIMPLE.__dict__, "decode_ticks": [NEVER // 4] * 3})

    assert run([(0, 1, 4)], endless)[0] == OVERFLOWED


def test_a_machine_without_numba_imports_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)

    assert runpy.run_path(str(_compile.__file__))["numba"] is None


def test_without_numba_functions_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _compile.version()
    monkeypatch.setattr(_compile, "numba", None)

    assert _compile.version() is None
    assert _compile.part(_batching.replay) is _batching.replay
    assert _compile.compiled(_batching.replay) is _batching.replay


def test_code_that_cannot_be_kept_on_disk_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoFolder:
        @staticmethod
        def njit(*function: Any, cache: bool = False) -> Any:  # Any: stands in for numba
            if cache:
                raise RuntimeError("cannot cache function: no locator available")
            return function[0]

    monkeypatch.setattr(_compile, "numba", NoFolder)

    assert _compile.compiled(_batching.replay) is _batching.replay
