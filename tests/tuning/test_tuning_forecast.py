"""What is foreseen of a run on this machine, and how it is held against what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from freehold.core.chat import Message
from freehold.core.dataset import Example
from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.tuning.calibrate import calibrate
from freehold.tuning.forecast import (
    PACES,
    TUNING,
    FirstSteps,
    Measured,
    Stopwatch,
    as_actual,
    keep_pace,
    known_pace,
    read_forecast,
    shape_of,
    write_forecast,
)
from freehold.tuning.plan import Pace, Rows
from freehold.tuning.plan_rows import MOST_TOKENISED, count_rows
from freehold.tuning.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freehold.core.task import Task
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.recipe import Recipe

ROWS = Rows(train=100, validation=20, tokens=10.0, longest=20, answer_tokens=2.0)


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run_on(clock: Clock, watch: Stopwatch, *, behind: int = 0) -> None:
    """2 s of loading, 6 s of preparing, a first step of 3 s, then four of 1 s; of ten."""
    clock.now += 2
    watch.start("Reading the rows", 60)
    clock.now += 6
    watch.update(60)
    watch.finish()
    watch.start(TUNING, 10)
    watch.update(behind)
    for seconds in (3, 1, 1, 1, 1):
        clock.now += seconds
        watch.update(1, "loss 1.0")


def test_a_sitting_is_taken_apart_into_what_grows_with_what() -> None:
    clock = Clock()
    watch = Stopwatch(Silent(), clock=clock, processor_clock=lambda: clock.now)
    run_on(clock, watch)
    found = watch.measured(rows=60, batch_size=4, threads=2, memory_bytes=5, source="x", log_sd=0.2)
    assert found is not None
    assert (found.fixed_s, found.prepared_s_per_row, found.trained_s_per_row) == (2.0, 0.1, 0.25)
    assert found.busy_share == 0.5  # one of two threads was at work
    assert watch.busy_share(None) == 1.0  # other processes compute
    # 2 s, 0.1 × 120 rows, 0.25 × (100 + half of 20) × 3 epochs
    assert found.seconds(ROWS, epochs=3) == pytest.approx(2 + 12 + 82.5)


def test_a_pace_measured_while_others_worked_is_less_sure_and_says_so() -> None:
    fields = {"fixed_s": 1.0, "prepared_s_per_row": 0.1, "trained_s_per_row": 0.1, "memory_bytes": None, "log_sd": 0.2}
    recipe = load_recipe("smollm2-135m-cpu")
    alone, shared = (Measured(**fields, source="x", busy_share=share).pace(recipe, ROWS) for share in (1.0, 0.25))  # type: ignore[arg-type]  # literals
    assert (alone.log_sd, alone.source) == (0.2, "x")
    # half of log 4, added in squares
    assert shared.log_sd == pytest.approx((0.2**2 + 0.693147**2) ** 0.5)
    assert shared.source == "x, which others used too"


def test_a_run_is_foreseen_from_its_first_five_steps_once() -> None:
    clock, said = Clock(), list[Pace]()
    recipe = load_recipe("smollm2-135m-cpu", ["training.epochs=1", "training.batch_size=10"])
    first = FirstSteps(recipe, ROWS, foresee=said.append)
    watch = Stopwatch(Silent(), clock=clock, processor_clock=lambda: clock.now, at_step=first)
    run_on(clock, watch)
    clock.now += 1
    watch.update(1, "loss")
    (pace,) = said
    # 8 s before the first step, 3 s of it, nine of 1 s, and 20 validation rows at half of a tenth of a step each
    assert pace.seconds == pytest.approx(8 + 3 + 9 + 1)
    assert pace.source == "the first 5 steps of this run"
    assert pace.samples_per_s == pytest.approx(100 / 21)


def test_a_run_that_continues_is_held_to_what_was_foreseen_before(tmp_path: Path) -> None:
    clock, said = Clock(), list[Pace]()
    watch = Stopwatch(
        Silent(), clock=clock, at_step=FirstSteps(load_recipe("smollm2-135m-cpu"), ROWS, foresee=said.append)
    )
    run_on(clock, watch, behind=3)
    assert watch.behind == 3
    assert said == []
    write_forecast(tmp_path, {"seconds": 10.0})
    write_forecast(tmp_path, {"seconds": 99.0})
    assert read_forecast(tmp_path) == {"seconds": 10.0}


def test_forecast_and_actual_stand_side_by_side() -> None:
    forecast = {"seconds": 50.0, "memory_gib": 2.0, "usd": None}
    actual = as_actual(seconds=100.0, samples=400, memory_bytes=3 * 2**30, usd=0.5, forecast=forecast)
    assert actual["ratio"] == {"seconds": 2.0, "memory_gib": 1.5, "usd": None}
    assert (actual["hours"], actual["samples_per_s"]) == (100 / 3600, 4.0)
    nothing = as_actual(seconds=1.0, samples=1, memory_bytes=None, usd=None, forecast=None)
    assert nothing["ratio"] == {"seconds": None, "memory_gib": None, "usd": None}


def test_a_whole_run_is_believed_before_a_calibration_and_a_broken_line_is_passed_over(tmp_path: Path) -> None:
    def measured(source: str, log_sd: float) -> Measured:
        return Measured(
            fixed_s=1.0, prepared_s_per_row=0.0, trained_s_per_row=0.1, memory_bytes=None, source=source, log_sd=log_sd
        )

    assert known_pace(tmp_path, "a") is None
    keep_pace(tmp_path, "a", measured("old run", 0.1))
    keep_pace(tmp_path, "a", measured("new run", 0.1))
    keep_pace(tmp_path, "a", measured("calibration", 0.2))
    keep_pace(tmp_path, "b", measured("another", 0.1))
    with (tmp_path / PACES).open("a") as file:
        file.write('{"shape":"a","fix\n{"shape":"a","unknown":1}\n[]\n')
    found = known_pace(tmp_path, "a")
    assert found is not None
    assert found.source == "new run"


def test_the_shape_of_a_run_is_what_decides_its_pace() -> None:
    def shape(*options: str, task: str = "t") -> str:
        return shape_of(load_recipe("smollm2-135m-cpu", options), task=task)

    assert shape() == shape("training.epochs=9", "training.learning_rate=0.1", "seed=3")
    assert len({shape(), shape("lora.rank=8"), shape("training.batch_size=8"), shape(task="u")}) == 4
    assert shape("training.checkpoint_steps=1") != shape()  # checkpoints take time, of a small model most of it


def test_a_calibration_measures_real_steps_and_leaves_nothing(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel
) -> None:
    found = calibrate(task=task, rows=rows, recipe=recipe, base=base, progress=Silent())
    assert found is not None
    assert found.trained_s_per_row > 0
    assert found.memory_bytes
    assert found.source == "calibration of 3 steps on this machine"  # 24 rows in batches of 8


def _row(text: str, target: str) -> Example:
    return Example(
        id="1", messages=(Message("user", text),), target=target, split="train", provenance="human-labelled", group="1"
    )


def _words() -> Callable[[Example], tuple[int, int]]:
    return lambda row: (len(row.messages[0].content.split()) + 1, 1)


def test_rows_are_counted_by_tokens_by_a_sample_or_by_characters() -> None:
    few = [_row("a b c", "x"), _row("a " * 30, "x")]
    exact = count_rows(few, validation=1, max_tokens=10, count=_words())
    assert (exact.train, exact.left_out, exact.tokens, exact.longest, exact.source) == (1, 1, 4.0, 4, "tokenizer")
    many = count_rows([_row("a " * 8, "y")] * (MOST_TOKENISED + 5), validation=0, max_tokens=99, count=_words())
    assert (many.train, many.tokens, many.answer_tokens) == (MOST_TOKENISED + 5, 9.0, 1.0)
    assert many.source == "tokenizer, on 2,000 rows"
    rough = count_rows(few, validation=0, max_tokens=99, count=None)
    # 5 characters are 1 token, 60 are 15; 8 of the template; an answer of one character is one
    assert (rough.tokens, rough.is_estimate) == ((1 + 8 + 1 + 15 + 8 + 1) / 2, True)


def test_no_rows_and_rows_that_are_all_too_long_are_told() -> None:
    with pytest.raises(InputError, match="There are no rows to train on"):
        count_rows([], validation=0, max_tokens=9, count=None)
    with pytest.raises(InputError, match=r"None of 1 rows has 9 tokens or fewer \(the longest has 31\)\. Raise"):
        count_rows([_row("a " * 30, "x")], validation=0, max_tokens=9, count=_words())
