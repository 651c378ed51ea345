"""The whole demo on a tiny random model: every step for real, its quality apart."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from freehold.cli.demo_steps import TASKS, Demo, Step
from freehold.cli.main import run
from freehold.cli.session import open_session
from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.evaluation.keys import read_public_key
from freehold.evaluation.verify import verify
from tests.tiny_model import make_tiny_model

OVERRIDES = (
    "threads=1",
    "precision=float32",
    "lora.rank=4",
    "lora.upper_layers=2",
    "training.epochs=1",
    "training.batch_size=32",
    "training.max_tokens=512",
)


@pytest.fixture(scope="module")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth call of the shipped sample, with all that belongs to it."""
    shipped, folder = Path(str(files("freehold.samples") / "harbour")), tmp_path_factory.mktemp("sample")
    calls = (shipped / "log.jsonl").read_text(encoding="utf-8").splitlines()[::4]
    ids = {json.loads(line)["id"] for line in calls}
    (folder / "log.jsonl").write_text("\n".join(calls), encoding="utf-8")
    for name in ("corrections.jsonl", "base_answers.jsonl"):
        lines = (shipped / name).read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["call_id"] in ids]
        (folder / name).write_text("\n".join(kept), encoding="utf-8")
    shutil.copy(shipped / "freehold.toml", folder)
    return folder


def _walk(folder: Path, base: Path, sample: Path, announced: list[Step], *, is_quick: bool = False) -> dict[str, Any]:
    demo = Demo(
        folder,
        recipe="smollm2-135m-cpu",
        base=str(base),
        is_quick=is_quick,
        seed=0,
        progress=Silent(),
        announce=lambda step, _left_s: announced.append(step),
        overrides=OVERRIDES,
        sample=sample,
    )
    return demo.walk()


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def walked(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, small_sample: Path
) -> tuple[Path, dict[str, Any], list[Step]]:
    folder = tmp_path_factory.mktemp("demo") / "freehold-demo"
    announced: list[Step] = []
    return folder, _walk(folder, tiny_base, small_sample, announced), announced


def test_the_demo_takes_every_step_and_judges_both_tasks(
    walked: tuple[Path, dict[str, Any], list[Step]],
) -> None:
    folder, record, announced = walked
    assert [step["name"] for step in record["steps"]] == [
        "base model",
        "import",
        "audit",
        "breakeven",
        "dataset",
        *(f"tune {task}" for task in TASKS),
        *(f"evaluate {task}" for task in TASKS),
        "decide",
        "serve",
    ]
    assert all(step["ok"] and step["seconds"] >= 0 for step in record["steps"])
    assert [(step.number, step.of) for step in announced] == [(number, 11) for number in range(1, 12)]
    assert [one["task"] for one in record["verdicts"]] == list(TASKS)
    # A random model is worse than the rented one, and at a thousand calls a month owning is dearer.
    assert [one["verdict"] for one in record["verdicts"]] == ["stay-renting", "stay-renting"]
    page = (folder / ".freehold" / "decisions" / "report.html").read_text(encoding="utf-8")
    assert record["report"] == str(folder / ".freehold" / "decisions" / "report.html")
    assert all(task in page for task in TASKS)


def test_the_audit_prices_the_sample_by_a_stated_assumption(
    walked: tuple[Path, dict[str, Any], list[Step]],
) -> None:
    _, record, _ = walked
    by_task = {one["task"]: one for one in record["audit"]["tasks"]}
    assert by_task["support_intent"]["calls"] + by_task["dispute_fields"]["calls"] == 352
    assert all(one["cost_usd"] > 0 and one["unpriced"]["calls"] == 0 for one in by_task.values())
    assert any("large-general-model is billed like" in line for line in record["audit"]["assumptions"])
    assert all(one["assumptions"] for one in record["breakeven"])


def test_the_own_models_answered_and_their_calls_are_in_the_ledger(
    walked: tuple[Path, dict[str, Any], list[Step]],
) -> None:
    folder, record, _ = walked
    session = open_session(folder)
    own = [call for call in session.ledger.read() if call.route == "own"]
    assert sorted(call.task for call in own) == sorted(TASKS)
    assert all(call.status == 200 and call.output_tokens and call.model_version for call in own)
    answers = {one["task"]: one["answer"] for one in record["answers"]}
    assert answers["support_intent"] in _labels(session)
    assert answers["dispute_fields"].startswith('{"amount": ')  # a random model may never come to the end
    session.state.dispose()


def _labels(session: Any) -> tuple[str, ...]:  # Any: a session is opened by the command line alone
    from freehold.tasks.define import load_task

    return load_task(session.state, "support_intent").labels


def test_a_verdict_of_the_demo_can_be_recomputed(walked: tuple[Path, dict[str, Any], list[Step]]) -> None:
    folder, record, _ = walked
    key = read_public_key(folder / ".freehold" / "workspace.key")
    for one in record["verdicts"]:
        file = folder / ".freehold" / "decisions" / one["file"].rsplit("/", 1)[1]
        assert verify(file, key).verdict == one["verdict"]


def test_the_same_seed_gives_the_same_verdict_bytes(
    walked: tuple[Path, dict[str, Any], list[Step]], tiny_base: Path, small_sample: Path, tmp_path: Path
) -> None:
    folder, record, _ = walked
    again = _walk(tmp_path / "freehold-demo", tiny_base, small_sample, [])
    for first, second in zip(record["verdicts"], again["verdicts"], strict=True):
        names = [one["file"].rsplit("/", 1)[1] for one in (first, second)]
        assert names[0] == names[1]
        mine = (folder / ".freehold" / "decisions" / names[0]).read_bytes()
        assert mine == (tmp_path / "freehold-demo" / ".freehold" / "decisions" / names[1]).read_bytes()


def test_an_interrupted_demo_goes_on_and_a_finished_one_starts_anew(
    tiny_base: Path, small_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "freehold-demo"

    def interrupted(*_given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Demo, "_evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _walk(folder, tiny_base, small_sample, [], is_quick=True)
    models = sorted(path.name for path in (folder / ".freehold" / "models").iterdir())
    record = _walk(folder, tiny_base, small_sample, [], is_quick=True)
    assert [one["task"] for one in record["verdicts"]] == ["support_intent"]
    assert sorted(path.name for path in (folder / ".freehold" / "models").iterdir()) == models
    own = folder / ".freehold" / "of-the-finished-walk"
    own.touch()
    with monkeypatch.context() as patch:
        patch.setattr(Demo, "_fetch_base", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _walk(folder, tiny_base, small_sample, [], is_quick=True)
    assert not own.exists()


def test_a_workspace_of_the_users_own_is_left_alone(tmp_path: Path, tiny_base: Path, small_sample: Path) -> None:
    assert run(["init", str(tmp_path)]) == 0
    with pytest.raises(InputError, match="is a workspace of yours"):
        _walk(tmp_path, tiny_base, small_sample, [])
