from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.evaluation.contender import Contender
from freehold.evaluation.evaluate import evaluate
from freehold.evaluation.policy import DecisionInputs, Policy
from freehold.evaluation.record import current_versions, write_decision
from freehold.evaluation.store import doubt_about, latest_evaluation, save_decision, save_evaluation
from freehold.state.database import first_broken_entry
from freehold.state.schema import AUDIT_TRAIL, DECISIONS, EVALUATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from freehold.evaluation.result import Evaluation
    from tests.evaluation.conftest import Made


@pytest.fixture(scope="module")
def evaluation(made: type[Made]) -> Evaluation:
    return evaluate(
        dataset=made.triage(),
        examples=made.intents(30, "test", rented_wrong_every=10),
        train=made.intents(30, "train"),
        contenders=[Contender(name="own", kind="own", model=made.FakeModel(made.right_answer))],
        margin_points=2.0,
        confidence=0.95,
        seed=0,
        progress=Silent(),
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by one second at each look."""
    ticks = iter(range(60))
    monkeypatch.setattr("freehold.evaluation.store.now", lambda: f"2026-11-01T00:00:{next(ticks):02d}.000+00:00")


def test_a_task_that_was_never_evaluated_is_told_how_to_be(state: Engine) -> None:
    with pytest.raises(InputError) as caught:
        latest_evaluation(state, "triage")

    assert str(caught.value) == "Task 'triage' was never evaluated. Do it with: freehold evaluate triage"


def test_an_evaluation_comes_back_as_it_was(state: Engine, evaluation: Evaluation) -> None:
    save_evaluation(state, evaluation)

    found = latest_evaluation(state, "triage")

    assert found == evaluation
    assert found.id == evaluation.id


@pytest.mark.usefixtures("clock")
def test_the_evaluation_that_was_made_last_counts_even_if_it_was_made_before(
    state: Engine, evaluation: Evaluation
) -> None:
    other = replace(evaluation, seed=1)
    save_evaluation(state, evaluation)
    save_evaluation(state, other)
    assert latest_evaluation(state, "triage") == other

    save_evaluation(state, evaluation)

    assert latest_evaluation(state, "triage") == evaluation
    with state.connect() as connection:
        assert len(connection.execute(select(EVALUATIONS.c.id)).all()) == 2


def test_evaluations_of_other_tasks_do_not_count(state: Engine, evaluation: Evaluation) -> None:
    save_evaluation(state, replace(evaluation, task="fees"))

    with pytest.raises(InputError, match="Task 'triage' was never evaluated"):
        latest_evaluation(state, "triage")


def test_a_decision_is_remembered_once_with_one_entry_in_the_audit_trail(
    state: Engine, evaluation: Evaluation, made: type[Made], tmp_path: Path
) -> None:
    inputs = DecisionInputs(
        evaluation=evaluation.as_record(),
        cost=made.cost_record(),
        policy=Policy(),
        versions=current_versions(),
    )
    written = write_decision(inputs, tmp_path, Ed25519PrivateKey.from_private_bytes(bytes(32)))

    save_decision(state, written)
    save_decision(state, written)

    with state.connect() as connection:
        (row,) = connection.execute(select(DECISIONS)).mappings()
        (entry,) = connection.execute(select(AUDIT_TRAIL)).mappings()
        assert first_broken_entry(connection) is None
    assert (row["id"], row["task"], row["verdict"]) == (
        written.record["id"],
        "triage",
        written.decision.verdict,
    )
    assert (row["sha256"], row["signature"]) == (written.sha256, written.signature)
    assert (entry["action"], entry["subject"]) == ("decision.made", written.record["id"])
    assert entry["details"] == {"verdict": written.decision.verdict, "sha256": written.sha256}


@pytest.mark.usefixtures("clock")
def test_a_model_is_doubted_until_it_is_evaluated_and_the_verdict_is_to_own_it(
    state: Engine, evaluation: Evaluation
) -> None:
    def decided(verdict: str, at: str) -> None:
        values = {"id": verdict, "task": "triage", "verdict": verdict, "sha256": "", "signature": "", "created_at": at}
        with state.begin() as connection:
            connection.execute(DECISIONS.insert().values(values))

    model = "triage-1"
    assert doubt_about(state, "triage", model) == f"{model} was never evaluated: freehold evaluate triage"
    save_evaluation(state, replace(evaluation, model=model))
    assert doubt_about(state, "triage", model) == "nothing was decided about triage: freehold decide triage"
    decided("own", "2026-11-02T00:00:00.000+00:00")
    assert doubt_about(state, "triage", model) is None
    decided("stay-renting", "2026-11-03T00:00:00.000+00:00")
    assert doubt_about(state, "triage", model) == "the latest verdict on triage is stay-renting"
