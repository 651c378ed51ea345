from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics import _compile, simulation
from freehold.economics.capacity import capacity
from freehold.economics.facts import hardware, model_facts
from freehold.economics.hourly import replicas_by_hour
from freehold.economics.machine import GPU_ENGINE
from freehold.economics.montecarlo import Z95
from freehold.economics.service import Goals, Server
from freehold.economics.simulation import simulate
from freehold.economics.simulation import simulate_if_held as holds
from freehold.economics.sizing import fewest_replicas, lone_latency, replica_interval
from freehold.economics.steps import StepCosts, step_costs
from freehold.economics.trace import Trace

LLAMA, H100 = model_facts("llama-3.1-8b"), hardware("h100")
FREE = StepCosts(
    prefill_s_per_token=0.0,
    prefill_s_per_token2=0.0,
    decode_fixed_s=0.0,
    decode_experts_s=0.0,
    decode_missed_share=0.0,
    decode_s_per_request=0.0,
    decode_s_per_context_token=0.0,
    kv_tokens=1e9,
    most_requests=1e9,
    log_sd=0.1,
    decode_read_s=0.0,
    decode_compute_s_per_request=0.0,
    decode_cache_s_per_request=0.0,
)
EASY = Goals(ttft_p95_ms=1e6, tpot_p95_ms=1e6)


def server(**costs: float) -> Server:
    """A replica whose steps cost what is named and nothing else."""
    many = {"most_requests": 64.0, **costs}
    chunk_tokens = int(many.pop("chunk_tokens", 2048))
    return Server(costs=replace(FREE, **many), chunk_tokens=chunk_tokens)


def trace(t_s: Any, input_tokens: Any = 1, output_tokens: Any = 1, **more: Any) -> Trace:
    count = len(t_s)
    return Trace(
        t_s=np.asarray(t_s, dtype=float),
        input_tokens=np.broadcast_to(np.asarray(input_tokens, dtype=np.int64), count).copy(),
        output_tokens=np.broadcast_to(np.asarray(output_tokens, dtype=np.int64), count).copy(),
        **more,
    )


def poisson(rate: float, count: int, seed: int) -> Any:
    return np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate, count))


def mean_queue_s(found: simulation._Replayed) -> float:
    from freehold.economics._fleet import ADMITTED, ARRIVAL

    return float((found.calls[:, ADMITTED] - found.calls[:, ARRIVAL]).mean()) / simulation.TICKS_PER_S


def replayed(calls: Trace, each: Server, *, replicas: int = 1, dispatch: Any = "least-loaded") -> Any:
    return simulation._replay(calls, each, replicas=replicas, dispatch=dispatch, limits=None)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_call_at_a_time_waits_as_long_as_in_an_m_d_1_queue(load: float) -> None:
    # A prompt of 100 tokens takes 1 s, the answer is its one token. Pollaczek and Khinchine: ρ s / (2 (1 − ρ)).
    each = server(prefill_s_per_token=0.01, most_requests=1.0)
    calls = trace(poisson(load, 200_000, seed=1), 100)

    assert mean_queue_s(replayed(calls, each)) == pytest.approx(load / (2.0 * (1.0 - load)), rel=0.04)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_exponential_lengths_wait_as_long_as_in_an_m_m_1_queue(load: float) -> None:
    # Prompts of 100,000 tokens on average take 1 s on average. Mean wait: ρ / (1 − ρ) times the mean service.
    lengths = np.maximum(1, np.random.default_rng(2).exponential(1e5, 300_000).round())
    each = server(prefill_s_per_token=1e-5, most_requests=1.0, chunk_tokens=1_000_000)
    calls = trace(poisson(load, 300_000, seed=3), np.minimum(lengths, 9.9e5))

    assert mean_queue_s(replayed(calls, each)) == pytest.approx(load / (1.0 - load), rel=0.05)


@pytest.mark.parametrize(("slots", "load"), [(2, 0.8), (8, 0.9)])
def test_slots_of_one_replica_wait_as_long_as_in_an_m_m_c_queue(slots: int, load: float) -> None:
    # Answers of 2,000 tokens on average, a step takes 0.5 ms whatever is in it: c servers with one queue, mean service
    # 1 s. Erlang C: P(wait) = (a^c / c!) / ((1 − ρ) Σ a^k / k! + a^c / c!), a = c ρ; mean wait P / (c (1 − ρ)).
    offered = slots * load
    last = offered**slots / math.factorial(slots)
    waits = last / ((1.0 - load) * sum(offered**k / math.factorial(k) for k in range(slots)) + last)
    expected = waits / (slots * (1.0 - load))
    lengths = np.random.default_rng(4).geometric(1.0 / 2000.0, 300_000)
    each = server(decode_fixed_s=0.0005, most_requests=float(slots))
    calls = trace(poisson(offered, 300_000, seed=5), 1, lengths)

    assert mean_queue_s(replayed(calls, each)) == pytest.approx(expected, rel=0.06)


def test_calls_sent_to_each_replica_in_turn_wait_as_long_as_in_an_e_2_m_1_queue() -> None:
    # Every second arrival of a Poisson process: gaps are a sum of two exponential ones. With σ the root of
    # σ = (2 ρ' / (2 ρ' + 1 − σ))², ρ' the load of a replica, the mean wait is σ / (1 − σ) services of 1 s.
    load = 0.8
    sigma = 0.5
    for _ in range(200):
        sigma = (2.0 * load / (2.0 * load + 1.0 - sigma)) ** 2
    lengths = np.random.default_rng(6).geometric(1.0 / 2000.0, 400_000)
    each = server(decode_fixed_s=0.0005, most_requests=1.0)
    calls = trace(poisson(2.0 * load, 400_000, seed=7), 1, lengths)

    in_turn = mean_queue_s(replayed(calls, each, replicas=2, dispatch="round-robin"))
    to_the_freest = mean_queue_s(replayed(calls, each, replicas=2))
    one_queue = mean_queue_s(replayed(calls, replace(each, costs=replace(each.costs, most_requests=2.0))))

    assert in_turn == pytest.approx(sigma / (1.0 - sigma), rel=0.06)
    assert one_queue < to_the_freest < in_turn


@pytest.mark.parametrize("concurrency", [1, 8, 64, 256])
@pytest.mark.parametrize(("input_tokens", "output_tokens"), [(1000, 500), (200, 200), (4000, 100)])
def test_a_replica_that_is_always_full_delivers_what_the_capacity_model_says(
    concurrency: int, input_tokens: int, output_tokens: int
) -> None:
    from freehold.economics._fleet import FINISHED

    costs = step_costs(LLAMA, H100, context_tokens=input_tokens + output_tokens / 2)
    # all calls stand in line from the start: none is on its way
    expected = capacity(
        LLAMA,
        H100,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        concurrency=float(concurrency),
        engine=replace(GPU_ENGINE, round_trip_ms=0.0),
    )
    count = max(200, 8 * concurrency)
    answers = np.full(count, output_tokens)
    # the first wave ends at different times, as in a replica that has been running for long
    answers[:concurrency] = np.random.default_rng(8).integers(1, output_tokens + 1, concurrency)
    full = Server(costs=replace(costs, most_requests=float(concurrency)))

    ends = np.sort(replayed(trace(np.zeros(count), input_tokens, answers), full).calls[:, FINISHED])
    first, last = count // 4, 3 * count // 4
    rate = (last - first) * simulation.TICKS_PER_S / (ends[last] - ends[first])

    # the first token comes with the prompt, so that an answer takes one step less than there
    if expected.concurrency == concurrency:
        assert rate == pytest.approx(expected.requests_per_s, rel=0.03)
    else:  # memory holds fewer, and calls that are put back are read again
        assert 0.8 < rate / expected.requests_per_s < 1.0


def test_memory_that_is_full_costs_throughput_because_calls_are_read_again() -> None:
    l4 = hardware("l4")
    costs = step_costs(LLAMA, l4, context_tokens=1250.0)
    expected = capacity(LLAMA, l4, input_tokens=1000, output_tokens=500, concurrency=1000.0)

    found = simulate(trace(np.zeros(3000), 1000, 500), Server(costs=costs), replicas=1)

    assert found.preemptions > 0
    assert 0.8 < found.output_tokens_per_s / expected.output_tokens_per_s < 1.0


CALLS = st.lists(st.tuples(st.floats(0, 60), st.integers(1, 3000), st.integers(1, 400)), min_size=1, max_size=80)


@settings(max_examples=40, deadline=None)
@given(CALLS, st.integers(1, 5), st.sampled_from(["least-loaded", "round-robin"]))
def test_every_call_is_answered_once_in_order_and_no_work_is_lost(
    rows: list[tuple[float, int, int]], replicas: int, dispatch: Any
) -> None:
    from freehold.economics._fleet import ADMITTED, ARRIVAL, ASKED, BUSY, DECODED, FINISHED, FIRST, OUTSTANDING

    t_s, prompts, answers = (np.array(column) for column in zip(*sorted(rows), strict=True))
    calls = trace(t_s, prompts, answers)
    each = Server(costs=replace(step_costs(LLAMA, H100), kv_tokens=6000.0, most_requests=16.0))

    found = replayed(calls, each, replicas=replicas, dispatch=dispatch)

    times = found.calls
    assert (times[:, ARRIVAL] <= times[:, ADMITTED]).all()
    assert (times[:, ADMITTED] < times[:, FIRST]).all()
    assert (times[:, FIRST] <= times[:, FINISHED]).all()
    assert times[:, ASKED].tolist() == answers.tolist()
    assert found.fleet[:, OUTSTANDING].sum() == 0
    assert found.fleet[:, DECODED].sum() >= answers.max() - 1
    # work conservation: with one replica it works from an arrival to an answer without a pause unless nobody is there
    if replicas == 1:
        busy = 0
        end = 0
        for start, stop in sorted(zip(times[:, ARRIVAL].tolist(), times[:, FINISHED].tolist(), strict=True)):
            busy += max(0, stop - max(start, end))
            end = max(end, stop)
        assert found.windows[:, BUSY].sum() == busy
    again = replayed(calls, each, replicas=replicas, dispatch=dispatch)
    assert (again.calls == times).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1_000_000), st.floats(2.0, 40.0))
def test_more_replicas_never_worsen_the_first_token_beyond_noise(seed: int, rate: float) -> None:
    random = np.random.default_rng(seed)
    calls = trace(poisson(rate, 1500, seed), random.integers(10, 4000, 1500), random.integers(1, 300, 1500))
    each = Server(costs=step_costs(LLAMA, H100))

    waits = [simulate(calls, each, replicas=count).ttft_ms.p95 or math.inf for count in (1, 2, 4, 8)]

    assert all(more <= fewer * 1.05 + 5.0 for fewer, more in pairwise(waits))


def test_percentiles_are_values_that_calls_had_and_lost_calls_are_infinitely_late() -> None:
    # 100 calls far apart, prompts of 1 to 100 tokens at 1 ms each; the four longest exceed a context of 97 tokens.
    each = replace(server(prefill_s_per_token=0.001), context_tokens=97)
    found = simulate(trace(np.arange(100.0), np.arange(1, 101)), each, replicas=1)

    assert found.too_long == 4
    assert found.ttft_ms.as_record() == {"p50": 50.0, "p95": 95.0, "p99": None}
    assert found.tpot_ms.p50 is None  # no answer has a second token
    assert found.meets(Goals(ttft_p95_ms=95.0, tpot_p95_ms=1.0))
    assert not found.meets(Goals(ttft_p95_ms=94.9, tpot_p95_ms=1.0))


def test_a_replay_by_hand_gives_utilisation_windows_and_cost() -> None:
    # Three calls of 0.5 s each at 0, 1 and 10 s on two replicas, which both are free each time: 1.5 s of 2 · 10.5 s.
    found = simulate(trace([0.0, 1.0, 10.0], 50), server(prefill_s_per_token=0.01), replicas=2)

    assert found.lasted_s == pytest.approx(10.5)
    assert found.utilisation == pytest.approx(1.5 / 21.0)
    assert found.window_s == 1.0
    assert [window.calls for window in found.windows] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found.windows[1].busy == pytest.approx(0.25)
    assert found.windows[2].ttft_p95_ms is None
    assert found.kv_peak == pytest.approx(50 / 1e9)
    # 2 replicas · 4 devices · $3 · 10.5 s / 3600 s · 1000 / 3 calls
    assert found.usd_per_1000_calls(3.0, devices=4) == pytest.approx(23.3333333)
    assert found.as_record()["windows"][0] == {
        "t_s": 0.0, "calls": 1, "busy": 0.25, "kv_peak": 5e-08, "ttft_p95_ms": 500.0
    }  # fmt: skip


def test_one_call_is_a_trace_too() -> None:
    found = simulate(trace([5.0], 10, 3), server(decode_fixed_s=0.01), replicas=1)

    assert found.lasted_s == pytest.approx(0.03)
    assert found.tpot_ms.p95 == pytest.approx(10.0)
    assert found.utilisation == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(20, 400), st.floats(5, 40))
def test_giving_up_early_never_changes_the_answer(seed: int, ttft: float, tpot: float) -> None:
    random = np.random.default_rng(seed)
    calls = trace(poisson(30.0, 400, seed), random.integers(10, 3000, 400), random.integers(1, 200, 400))
    each, goals = Server(costs=step_costs(LLAMA, H100)), Goals(ttft_p95_ms=ttft, tpot_p95_ms=tpot)

    for replicas in (1, 2, 3):
        shown = simulate(calls, each, replicas=replicas)
        assert holds(calls, each, goals, replicas=replicas) == (shown if shown.meets(goals) else None)


def test_the_search_finds_what_trying_every_number_finds() -> None:
    random = np.random.default_rng(9)
    calls = trace(poisson(150.0, 4000, 9), random.integers(10, 3000, 4000), random.integers(1, 300, 4000))
    each, goals = Server(costs=step_costs(LLAMA, H100)), Goals(ttft_p95_ms=200.0, tpot_p95_ms=40.0)

    found = fewest_replicas(calls, each, goals)

    assert found.replicas == next(count for count in range(1, 99) if holds(calls, each, goals, replicas=count))
    assert found.replicas is not None
    assert dict(found.tried)[found.replicas]
    assert not dict(found.tried)[found.replicas - 1]
    assert found.simulated.replicas == found.replicas
    spread = math.exp(Z95 * each.costs.log_sd)
    fast, slow = replica_interval(calls, each, goals, found.replicas)
    for count, factor in ((fast, 1 / spread), (slow, spread)):
        slowed = replace(each, slowness=factor)
        assert count == next(many for many in range(1, 99) if holds(calls, slowed, goals, replicas=many))
    assert fast is not None
    assert slow is not None
    assert fast <= found.replicas <= slow
    assert fast < slow


def test_a_goal_that_a_lone_call_misses_is_out_of_reach() -> None:
    calls = trace(np.arange(50.0), 100, 10)
    each = server(prefill_s_per_token=0.001, decode_fixed_s=0.02)

    assert lone_latency(calls, each).tpot_ms.p95 == pytest.approx(20.0)
    late = fewest_replicas(calls, each, Goals(ttft_p95_ms=50.0, tpot_p95_ms=50.0))
    slow = fewest_replicas(calls, each, Goals(ttft_p95_ms=500.0, tpot_p95_ms=19.0))
    long = fewest_replicas(calls, replace(each, context_tokens=50), EASY)

    assert (late.replicas, slow.replicas, long.replicas) == (None, None, None)
    assert "waits 100 ms for its first token" in (late.reason or "")
    assert "a token every 20 ms" in (slow.reason or "")
    assert "50 of 50 calls are longer" in (long.reason or "")
    assert late.simulated.replicas == 1
    assert replica_interval(calls, each, Goals(ttft_p95_ms=50.0, tpot_p95_ms=50.0), 2) == (None, None)


@pytest.mark.parametrize("near", [1, 2, 7, 8, 9, 40, 4096])
def test_where_a_search_begins_changes_no_answer(near: int) -> None:
    calls = trace(poisson(300.0, 3000, 4), 700, 80)
    each, goals = Server(costs=step_costs(LLAMA, H100)), Goals(ttft_p95_ms=200.0, tpot_p95_ms=12.0)

    found, again = fewest_replicas(calls, each, goals), fewest_replicas(calls, each, goals, near=near)

    assert found.replicas is not None
    assert 2 < found.replicas < 40
    assert (again.replicas, again.simulated) == (found.replicas, found.simulated)
    assert not dict(again.tried)[found.replicas - 1]


def test_what_a_cache_holds_only_ever_shortens_the_wait_of_a_lone_call() -> None:
    calls = trace(np.arange(50.0) * 20, 3000, 5)
    each = Server(costs=step_costs(LLAMA, H100))
    first = [
        simulate(calls.with_cached_share(share), each, replicas=1).ttft_ms.p95 or 0.0 for share in (0.0, 0.3, 0.6, 1.0)
    ]

    assert simulate(calls, each, replicas=1).ttft_ms.p95 == first[0]
    assert first == sorted(first, reverse=True)
    # Half of the prompt is read in half of the time, the other terms of a step apart.
    assert first[2] < 0.5 * first[0]
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="must be from 0 to 1"):
            calls.with_cached_share(share)


def test_a_replay_without_numba_gives_the_same_to_the_last_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    calls = trace(poisson(40.0, 400, 3), random.integers(10, 3000, 400), random.integers(1, 90, 400))
    calls = calls.with_cached_share(0.25)
    each, goals = Server(costs=step_costs(LLAMA, H100)), Goals(ttft_p95_ms=200.0, tpot_p95_ms=40.0)
    compiled = fewest_replicas(calls, each, goals), replica_interval(calls, each, goals, 2)

    monkeypatch.setattr(_compile, "numba", None)
    simulation._fast_replay.cache_clear()
    plain = fewest_replicas(calls, each, goals), replica_interval(calls, each, goals, 2)
    simulation._fast_replay.cache_clear()

    assert plain == compiled


def test_no_number_of_replicas_up_to_one_for_each_call_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.economics.sizing.MOST_REPLICAS", 3)
    calls = trace(np.zeros(40), 100)

    found = fewest_replicas(calls, server(prefill_s_per_token=0.001), Goals(ttft_p95_ms=150.0, tpot_p95_ms=1.0))

    assert found.replicas is None
    assert found.reason == "Not even 3 replicas hold the goals."
    assert found.tried == ((1, False), (2, False), (3, False))
    assert found.simulated.replicas == 3


@pytest.mark.parametrize("replicas", [0, -1, 5000])
def test_a_number_of_replicas_that_nobody_has_is_refused(replicas: int) -> None:
    with pytest.raises(InputError, match="replicas can be simulated"):
        simulate(trace([0.0]), server(), replicas=replicas)


@pytest.mark.parametrize("goal", [0.0, -1.0, math.nan, math.inf, 1e12])
def test_a_goal_must_be_a_number_of_milliseconds(goal: float) -> None:
    with pytest.raises(InputError, match="ttft_p95_ms"):
        Goals(ttft_p95_ms=goal, tpot_p95_ms=1.0)
    with pytest.raises(InputError, match="tpot_p95_ms"):
        Goals(ttft_p95_ms=1.0, tpot_p95_ms=goal)


def test_a_server_that_holds_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="holds no call"):
        server(kv_tokens=1.0)
    for tokens in (0, -5, 10**9):
        with pytest.raises(InputError, match="A step has between"):
            server(chunk_tokens=float(tokens))


def test_a_replay_of_years_is_refused() -> None:
    with pytest.raises(InputError, match="more than eight months"):
        simulate(trace([0.0, 0.0], 1, 1000), server(decode_fixed_s=1e5), replicas=1)
    with pytest.raises(InputError, match="more than eight months"):
        simulate(trace(np.zeros(99), 1, 1000), server(decode_fixed_s=1e3, most_requests=1.0), replicas=1)


def test_a_mixture_of_experts_reads_all_of_them_beside_a_prompt() -> None:
    # Nobody decodes: 1 s of experts beside a prompt. The second token: 1 − 0.75 of them, alone.
    each = server(decode_experts_s=1.0, decode_missed_share=0.75)

    found = simulate(trace([0.0], 10, 2), each, replicas=1)

    assert found.ttft_ms.p50 == pytest.approx(1000.0)
    assert found.tpot_ms.p50 == pytest.approx(250.0)


def test_a_fleet_that_follows_has_the_fewest_replicas_of_each_hour() -> None:
    each, goals = Server(costs=step_costs(LLAMA, H100)), Goals(ttft_p95_ms=200.0, tpot_p95_ms=12.0)
    busy, quiet = poisson(300.0, 2500, 4), np.array([3 * 3600.0 + 1, 3 * 3600.0 + 900])
    calls = trace(np.concatenate([busy, quiet]), 700, 80)
    fixed = fewest_replicas(calls, each, goals)
    assert fixed.replicas is not None

    found = replicas_by_hour(calls, each, goals, fixed=fixed.replicas)

    alone = fewest_replicas(trace(busy, 700, 80), each, goals).replicas
    assert [(hour.t_s, hour.calls, hour.replicas) for hour in found.hours] == [
        (0.0, 2500, alone), (3600.0, 0, 1), (7200.0, 0, 1), (10_800.0, 2, 1),
    ]  # fmt: skip
    last = (calls.span_s - 10_800.0) / 3600.0
    assert alone is not None
    assert found.replica_hours == pytest.approx(alone + 2 + last)
    # 2 USD an hour, 4 devices a replica, 2,502 calls
    assert found.usd_per_1000_calls(2.0, devices=4) == pytest.approx(found.replica_hours * 8 * 1000 / 2502)
    with pytest.raises(InputError, match="need more than an hour"):
        replicas_by_hour(trace(busy, 700, 80), each, goals, fixed=1)
