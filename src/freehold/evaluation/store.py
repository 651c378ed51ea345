"""Evaluations and decisions in the state database: the latest one of a task is the one that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from freehold.core.errors import InputError
from freehold.evaluation.result import from_record
from freehold.state.database import now, record_action
from freehold.state.schema import DECISIONS, EVALUATIONS

if TYPE_CHECKING:
    from freehold.evaluation.record import WrittenDecision
    from freehold.evaluation.result import Evaluation


def save_evaluation(engine: Engine, evaluation: Evaluation) -> None:
    """Remember an evaluation as the latest of its task; the same one again becomes the latest again."""
    values = {
        "id": evaluation.id,
        "task": evaluation.task,
        "model_id": evaluation.model,
        "dataset_id": evaluation.dataset,
        "record": evaluation.as_record(),
        "created_at": now(),
    }
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(EVALUATIONS).values(values)
    with engine.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[EVALUATIONS.c.id], set_={"created_at": values["created_at"]}
            )
        )


def latest_evaluation(engine: Engine, task: str) -> Evaluation:
    """The evaluation of a task that was made last.

    Raises:
        InputError: the task was never evaluated.
    """
    query = (
        select(EVALUATIONS.c.record)
        .where(EVALUATIONS.c.task == task)
        .order_by(EVALUATIONS.c.created_at.desc(), EVALUATIONS.c.id)
        .limit(1)
    )
    with engine.connect() as connection:
        record = connection.execute(query).scalar()
    if record is None:
        raise InputError(f"Task {task!r} was never evaluated. Do it with: freehold evaluate {task}")
    return from_record(record)


def evaluation_of(engine: Engine, model: str) -> Evaluation | None:
    """The latest evaluation of a model version; None if it was never evaluated."""
    query = (
        select(EVALUATIONS.c.record)
        .where(EVALUATIONS.c.model_id == model)
        .order_by(EVALUATIONS.c.created_at.desc(), EVALUATIONS.c.id)
        .limit(1)
    )
    with engine.connect() as connection:
        record = connection.execute(query).scalar()
    return None if record is None else from_record(record)


def save_decision(engine: Engine, written: WrittenDecision) -> None:
    """Remember a decision, with an entry in the audit trail; the same one again changes nothing."""
    identifier = written.record["id"]
    with engine.begin() as connection:
        known = connection.execute(select(DECISIONS.c.id).where(DECISIONS.c.id == identifier)).scalar()
        if known is not None:
            return
        connection.execute(
            insert(DECISIONS).values(
                id=identifier,
                task=written.decision.task,
                verdict=written.decision.verdict,
                sha256=written.sha256,
                signature=written.signature,
                created_at=now(),
            )
        )
        details = {"verdict": written.decision.verdict, "sha256": written.sha256}
        record_action(connection, "decision.made", identifier, details)


def doubt_about(engine: Engine, task: str, model: str) -> str | None:
    """Why somebody should think twice before they serve a model of a task; None if nothing speaks against it."""
    evaluated = select(EVALUATIONS.c.id).where(EVALUATIONS.c.model_id == model).limit(1)
    decided = (
        select(DECISIONS.c.verdict).where(DECISIONS.c.task == task).order_by(DECISIONS.c.created_at.desc()).limit(1)
    )
    with engine.connect() as connection:
        if connection.execute(evaluated).scalar() is None:
            return f"{model} was never evaluated: freehold evaluate {task}"
        verdict = connection.execute(decided).scalar()
    if verdict is None:
        return f"nothing was decided about {task}: freehold decide {task}"
    return None if verdict in ("own", "hybrid") else f"the latest verdict on {task} is {verdict}"
