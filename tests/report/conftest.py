"""Real records, made by the rooms below from small hand-written data."""

from __future__ import annotations

import random
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from freehold.core.call import Call
from freehold.core.chat import Answer, Message, Usage
from freehold.core.dataset import Dataset, Example
from freehold.core.identity import content_hash
from freehold.core.progress import Silent
from freehold.core.task import Task
from freehold.datasets.build import build_dataset
from freehold.datasets.policy import Policy
from freehold.datasets.read import as_record
from freehold.economics.breakeven import compare, curve, staircase
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.prices import price_of
from freehold.economics.workload import Workload
from freehold.evaluation.contender import Contender
from freehold.evaluation.decide import decide
from freehold.evaluation.evaluate import evaluate
from freehold.evaluation.policy import DecisionInputs
from freehold.evaluation.policy import Policy as DecisionPolicy
from freehold.evaluation.record import build_record
from freehold.state.database import open_state
from freehold.state.schema import CORRECTIONS
from tests.audit.loose_calls import audit_of_calls

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.economics.scenario import Spread

LABELS = ("card_lost", "card_stolen", "dispute", "greeting", "limit", "transfer_failed")
ALIASES = {"rented-large": "gpt-4o"}


def example(task: Task, index: int, target: str, rented: str | None, split: Any) -> Example:  # Any: Split
    return Example(
        id=f"{split}-{index}",
        messages=(Message("system", task.own_prompt), Message("user", f"{split} message {index} {target}")),
        target=target,
        split=split,
        provenance="human-labelled",
        group=f"{split}-{index}",
        rented_output=rented,
        rented_model=None if rented is None else "rented-large",
    )


def evaluation_record(folder: Path, *, name: str = "support_intent", cases: int = 180) -> dict[str, Any]:
    task = Task(name=name, kind="classification", labels=LABELS, own_prompt="Name the intent.")
    chance = random.Random(7)
    truth = [LABELS[index % len(LABELS)] for index in range(cases)]

    def noisy(right: str, accuracy: float) -> str:
        return right if chance.random() < accuracy else chance.choice(LABELS)

    examples = [example(task, i, right, noisy(right, 0.93), "test") for i, right in enumerate(truth)]
    train = [example(task, i, LABELS[i % len(LABELS)], None, "train") for i in range(120)]
    held = [
        example(task, i, LABELS[i % len(LABELS)], noisy(LABELS[i % len(LABELS)], 0.93), "validation") for i in range(60)
    ]

    def answers(accuracy: float) -> dict[str, Answer]:
        given = {each.id: noisy(each.target, accuracy) for each in (*examples, *held)}
        return {
            id_: Answer(text=text, confidence=0.5 + chance.random() / 2, usage=Usage(40, 3))
            for id_, text in given.items()
        }

    return evaluate(
        dataset=Dataset(
            id=f"{name}-0f1e2d3c4b5a",
            task=task,
            folder=folder,
            rows={"train": 120},
            excluded={},
            sha256="0f1e2d3c" * 8,
        ),
        examples=examples,
        train=train,
        validation=held,
        contenders=[
            Contender(name="own smollm2-135m", kind="own", answers=answers(0.9), version=f"{name}-abcdef012345"),
            Contender(name="smollm2-135m few-shot", kind="base", answers=answers(0.3)),
        ],
        margin_points=2.0,
        confidence=0.95,
        seed=3,
        progress=Silent(),
        tasks_compared=2,
    ).as_record()


def cost_record(queries_per_month: float, *, plan: str = "smollm2-135m@cpu-2vcpu") -> dict[str, Any]:
    workload = Workload(queries_per_month=queries_per_month, input_tokens=420, output_tokens=6)
    rent = price_of("rented-large", date(2026, 6, 15), aliases=ALIASES)
    scenario = default_scenario(own_plan(plan)).with_values({"escalated_share": 0.12}, source="measured: cascade")
    record = compare(workload, rent, scenario, seed=3, draws=400).as_record()
    volumes = [10.0 ** (2 + step / 8) for step in range(49)]
    points = curve(workload, rent, scenario, volumes=volumes, seed=3, draws=400)
    return {
        **record,
        "curve": [
            {
                "queries_per_month": point.queries_per_month,
                "rent": point.rent_usd_p50,
                "own_p5": None if point.own_usd is None else point.own_usd.p5,
                "own_p50": None if point.own_usd is None else point.own_usd.p50,
                "own_p95": None if point.own_usd is None else point.own_usd.p95,
            }
            for point in points
        ],
    }


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return evaluation_record(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="session")
def cost() -> dict[str, Any]:
    return cost_record(1010)


@pytest.fixture(scope="session")
def board() -> dict[str, Any]:
    """A cost record with every option there is, its curve and its staircase, as the command makes it."""
    june = date(2026, 6, 15)
    workload = Workload(queries_per_month=250_000, input_tokens=1000, output_tokens=500, batchable_share=0.2)
    values: dict[str, Spread] = {
        "escalated_share": (0.05, 0.1, 0.2),
        "usd_per_error": 0.01,
        "error_difference": (-0.01, 0.01, 0.03),
        "sovereignty_usd_per_month": 500.0,
    }
    scenario = default_scenario(own_plan("llama-3.1-8b@h100", as_of=june), values=values)
    names = ("gpt-5.4", "groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini")
    rent, hosted, tuned = (price_of(name, june, aliases={}) for name in names)
    record = compare(workload, rent, scenario, hosted=hosted, tuned=tuned, seed=3, draws=2000).as_record()
    volumes = [10.0 ** (3 + step / 8) for step in range(49)]
    points = curve(workload, rent, scenario, hosted=hosted, tuned=tuned, volumes=volumes, seed=3, draws=500)
    record["curve"] = [
        {
            "queries_per_month": point.queries_per_month,
            "rent": point.rent_usd_p50,
            "own_p5": point.own_usd.p5,
            "own_p50": point.own_usd.p50,
            "own_p95": point.own_usd.p95,
            "hosted": point.hosted_usd_p50,
            "tuned": point.tuned_usd_p50,
            "bought": point.bought_usd_p50,
        }
        for point in points
        if point.own_usd is not None
    ]
    record["staircase"] = [asdict(stair) for stair in staircase(workload, rent, scenario, up_to=1e9)]
    return record


@pytest.fixture(scope="session")
def decision(evaluation: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
    others = tuple(cost_record(volume) for volume in (100_000, 10_000_000))
    inputs = DecisionInputs(
        evaluation=evaluation,
        cost=cost,
        policy=DecisionPolicy(),
        versions={"freehold": "0.1.0"},
        other_volumes=others,
    )
    return build_record(inputs, decide(inputs))


@pytest.fixture(scope="session")
def audit_record() -> dict[str, Any]:
    start = datetime(2026, 6, 1, 8, tzinfo=UTC)
    calls = [
        Call(
            id=f"{task}-{index}",
            task=task,
            started_at=start + timedelta(hours=7 * index),
            model_served="rented-large" if index % 20 else "unheard-of",
            status=200 if index % 25 else 500,
            error_type=None if index % 25 else "server_error",
            input_tokens=400 + index,
            output_tokens=6,
            duration_ms=400.0 + 3 * index,
            request={"messages": []},
            response={"choices": []},
        )
        for task in ("support_intent", "dispute_fields")
        for index in range(100)
    ]
    return audit_of_calls(calls, aliases=ALIASES, corrected_calls={"support_intent-3"}).as_record()


def said(call: Call, output: str) -> dict[str, Any]:
    """A row of the table of corrections."""
    values = {"call_id": call.id, "task": call.task, "kind": "labelled", "output": output, "reviewer": "amy"}
    return {"id": content_hash(values), "reviewed_at": None, "split": None, **values}


def built_dataset(folder: Path) -> dict[str, Any]:
    """What `dataset build` says of ninety labelled rows, a few of them spoilt."""
    task = Task(name="support_intent", kind="classification", labels=LABELS, own_prompt="Name the intent.")
    chance = random.Random(11)
    calls = [
        Call(
            id=f"call-{index:03d}",
            task=task.name,
            started_at=datetime(2026, 6, 1, 8, tzinfo=UTC) + timedelta(hours=index),
            request={"messages": [{"role": "user", "content": f"{words(chance)} mail {index}@example.org"}]},
        )
        for index in range(90)
    ]
    rows = [said(call, LABELS[index % len(LABELS)]) for index, call in enumerate(calls)]
    rows += [
        said(calls[4], "limit" if rows[4]["output"] != "limit" else "dispute"),
        said(calls[9], "no label"),
    ]
    engine = open_state(f"sqlite:///{folder / 'state.db'}")
    with engine.begin() as connection:
        connection.execute(insert(CORRECTIONS), rows)
    dataset = build_dataset(
        engine=engine, task=task, calls=calls, folder=folder / "datasets", policy=Policy(), progress=Silent()
    )
    engine.dispose()
    return as_record(dataset)


def words(chance: random.Random) -> str:
    """A text of its own: no two of them are near-duplicates."""
    syllables = ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu")
    return " ".join("".join(chance.choices(syllables, k=3)) for _ in range(6))


@pytest.fixture(scope="session")
def dataset_record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return built_dataset(tmp_path_factory.mktemp("dataset"))
