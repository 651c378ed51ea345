from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, insert, select

from freehold.core.errors import GateClosed, InputError
from freehold.registry import store
from freehold.registry.store import ModelVersion, add_model, get_model, list_models, set_alias, verify_model
from freehold.state.database import first_broken_entry, now, open_state
from freehold.state.schema import AUDIT_TRAIL, DATASETS, MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECIPE = {"base": "tiny", "lora": {"rank": 8}, "note": "größer"}
RUN = {"examples": 12, "seconds": 3.5, "cpu_seconds": 3.0, "final_loss": 0.25}


def make_adapter(folder: Path, weights: bytes = b"weights", config: str = "{}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text(config, encoding="utf-8")
    (folder / "README.md").write_text("# Card\n", encoding="utf-8")
    return folder


def add(
    state: Engine,
    tmp_path: Path,
    *,
    task: str = "intent",
    weights: bytes = b"weights",
    dataset_id: str | None = None,
) -> ModelVersion:
    folder = make_adapter(tmp_path / f"run-{hashlib.sha256(weights).hexdigest()[:8]}", weights)
    return add_model(
        state,
        task=task,
        base="tiny",
        dataset_id=dataset_id,
        folder=folder,
        models_folder=tmp_path / "models",
        recipe=RECIPE,
        run=RUN,
    )


def audit_entries(state: Engine) -> list[tuple[str, str, Any]]:
    query = select(AUDIT_TRAIL.c.action, AUDIT_TRAIL.c.subject, AUDIT_TRAIL.c.details)
    with state.connect() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(AUDIT_TRAIL.c.sequence))]


def test_a_version_is_named_by_its_task_and_its_weights(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path)
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert model.id == f"intent-{sha256[:12]}"
    assert model.sha256 == sha256
    assert (model.task, model.base, model.dataset_id, model.aliases) == ("intent", "tiny", None, ())


def test_a_version_keeps_its_lineage_in_the_database_and_beside_the_weights(state: Engine, tmp_path: Path) -> None:
    with state.begin() as connection:
        row = {"id": "intent-data", "task": "intent", "sha256": "0" * 64, "manifest": {}, "created_at": now()}
        connection.execute(insert(DATASETS).values(**row))
    model = add(state, tmp_path, dataset_id="intent-data")
    assert get_model(state, model.id) == model
    assert (model.dataset_id, model.recipe, model.run) == ("intent-data", RECIPE, RUN)
    folder = tmp_path / "models" / model.id
    assert yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8")) == RECIPE
    assert json.loads((folder / "run.json").read_text(encoding="utf-8")) == RUN
    assert (folder / "README.md").read_text(encoding="utf-8") == "# Card\n"


def test_adding_is_written_to_the_audit_trail(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path)
    details = {"base": "tiny", "dataset": None, "files": dict(model.files)}
    assert audit_entries(state) == [("model.added", model.id, details)]


def test_the_same_weights_twice_are_one_version(state: Engine, tmp_path: Path) -> None:
    first = add(state, tmp_path)
    assert add(state, tmp_path) == first
    assert list_models(state) == [first]
    assert len(audit_entries(state)) == 1


def test_the_same_weights_for_another_task_are_another_version(state: Engine, tmp_path: Path) -> None:
    assert add(state, tmp_path).id != add(state, tmp_path, task="dispute").id
    assert {model.task for model in list_models(state)} == {"intent", "dispute"}
    assert [model.task for model in list_models(state, task="dispute")] == ["dispute"]


def test_the_same_weights_with_another_configuration_are_refused(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path)
    folder = make_adapter(tmp_path / "other", config='{"lora_alpha": 99}')
    with pytest.raises(InputError) as caught:
        add_model(
            state,
            task="intent",
            base="tiny",
            dataset_id=None,
            folder=folder,
            models_folder=tmp_path / "models",
            recipe={},
            run={},
        )
    assert str(caught.value) == (
        f"{folder} has the weights of model {model.id!r} and another adapter_config.json. "
        "A version never changes: take the configuration that it was trained with."
    )
    assert verify_model(model, tmp_path / "models").is_dir()


def test_an_unknown_dataset_is_refused_before_anything_is_written(state: Engine, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        add(state, tmp_path, dataset_id="intent-nothing")
    assert str(caught.value) == ("Dataset 'intent-nothing' is unknown. Build it with: freehold dataset build intent")
    assert not (tmp_path / "models").exists()


def test_a_folder_without_weights_is_refused(state: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(InputError) as caught:
        add_model(
            state,
            task="intent",
            base="tiny",
            dataset_id=None,
            folder=folder,
            models_folder=tmp_path / "models",
            recipe={},
            run={},
        )
    assert str(caught.value) == (
        f"{folder} is no adapter folder: adapter_model.safetensors and adapter_config.json missing."
    )


def test_pickled_weights_are_refused(state: Engine, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "pickled")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "optimizer.pt").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        add_model(
            state,
            task="intent",
            base="tiny",
            dataset_id=None,
            folder=folder,
            models_folder=tmp_path / "models",
            recipe={},
            run={},
        )
    assert str(caught.value) == (f"{folder} holds optimizer.pt: pickled files can run code, so only safetensors enter.")


def test_adding_that_was_killed_before_the_row_was_written_is_completed_by_the_next_call(
    state: Engine, tmp_path: Path
) -> None:
    model = add(state, tmp_path)
    with state.begin() as connection:
        connection.execute(MODELS.delete())
    assert list_models(state) == []
    again = add(state, tmp_path)
    assert (again.id, again.files) == (model.id, model.files)


def test_a_damaged_or_lost_folder_is_restored_by_adding_the_same_weights_again(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path)
    folder = tmp_path / "models" / model.id
    (folder / "adapter_model.safetensors").write_bytes(b"damaged")
    assert add(state, tmp_path) == model
    assert verify_model(model, tmp_path / "models") == folder


def test_a_models_folder_that_cannot_be_written_leaves_no_row(state: Engine, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file is in the way", encoding="utf-8")
    with pytest.raises(InputError, match=r"models/intent-[0-9a-f]{12} cannot be written: File exists\. Free"):
        add(state, tmp_path)
    assert list_models(state) == []


def test_another_process_that_placed_the_folder_first_is_no_error(
    state: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add(state, tmp_path)
    answers = iter([False, True])
    monkeypatch.setattr(store, "_is_whole", lambda *_: next(answers))
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    assert add(state, tmp_path) == model


def test_another_process_that_wrote_the_row_first_is_no_error(
    state: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add(state, tmp_path)
    monkeypatch.setattr(store, "_find", lambda *_: None)
    assert add(state, tmp_path) == model
    assert len(audit_entries(state)) == 1


def test_a_changed_file_closes_the_gate(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path)
    file = tmp_path / "models" / model.id / "adapter_config.json"
    assert verify_model(model, tmp_path / "models") == file.parent
    file.write_text('{"lora_alpha": 64}', encoding="utf-8")
    found = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    with pytest.raises(GateClosed) as caught:
        verify_model(model, tmp_path / "models")
    assert str(caught.value) == (
        f"{file} is not what was registered: its hash is {found}, not {model.files[file.name][:12]}. "
        f"Model {model.id!r} cannot be used. Restore the file or train it again."
    )


def test_a_missing_file_closes_the_gate(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path)
    file = tmp_path / "models" / model.id / "adapter_model.safetensors"
    file.unlink()
    with pytest.raises(GateClosed) as caught:
        verify_model(model, tmp_path / "models")
    assert str(caught.value) == (
        f"{file} is missing, so model {model.id!r} cannot be used. Restore it or train it again."
    )


def test_a_task_means_its_champion_and_a_beginning_means_the_only_id_that_has_it(state: Engine, tmp_path: Path) -> None:
    first = add(state, tmp_path, weights=b"one")
    second = add(state, tmp_path, weights=b"two")
    set_alias(state, task="intent", alias="champion", model_id=first.id)
    set_alias(state, task="intent", alias="challenger", model_id=second.id)
    assert get_model(state, "intent").id == first.id
    assert get_model(state, "intent@champion").aliases == ("champion",)
    assert get_model(state, "intent@challenger").id == second.id
    assert get_model(state, first.id[:-2]).id == first.id


def test_one_version_can_have_both_aliases(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path)
    set_alias(state, task="intent", alias="challenger", model_id=model.id)
    assert set_alias(state, task="intent", alias="champion", model_id=model.id).aliases == (
        "challenger",
        "champion",
    )


def test_an_alias_moves_and_the_audit_trail_says_from_where_and_why(state: Engine, tmp_path: Path) -> None:
    first = add(state, tmp_path, weights=b"one")
    second = add(state, tmp_path, weights=b"two")
    set_alias(state, task="intent", alias="champion", model_id=first.id)
    moved = set_alias(state, task="intent", alias="champion", model_id=second.id, reason="passed its gate")
    assert moved.aliases == ("champion",)
    assert get_model(state, first.id).aliases == ()
    details = {"alias": "champion", "previous": first.id, "reason": "passed its gate"}
    assert audit_entries(state)[-1] == ("model.alias-set", second.id, details)
    with state.connect() as connection:
        assert first_broken_entry(connection) is None
        assert connection.execute(select(func.count()).select_from(AUDIT_TRAIL)).scalar() == 4


def test_an_alias_must_be_known_and_point_to_a_version_of_its_own_task(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path)
    with pytest.raises(InputError) as caught:
        set_alias(state, task="intent", alias="best", model_id=model.id)
    assert str(caught.value) == "Alias 'best' is unknown; allowed are 'champion' and 'challenger'."
    with pytest.raises(InputError) as caught:
        set_alias(state, task="dispute", alias="champion", model_id=model.id)
    assert str(caught.value) == (f"Model {model.id!r} belongs to task 'intent', so it cannot be dispute@champion.")


def test_names_that_mean_nothing_are_told_with_what_exists(state: Engine, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        get_model(state, "intent")
    assert str(caught.value) == ("Model 'intent' is unknown: there is no model yet. Train one with: freehold tune TASK")
    model = add(state, tmp_path)
    with pytest.raises(InputError) as caught:
        get_model(state, "intnet")
    assert str(caught.value) == (
        "Model 'intnet' is unknown; the nearest name is 'intent'. See all with: freehold models list"
    )
    with pytest.raises(InputError) as caught:
        get_model(state, "intent@best")
    assert str(caught.value) == "Alias 'best' is unknown; allowed are 'champion' and 'challenger'."
    with pytest.raises(InputError) as caught:
        get_model(state, "intent")
    assert str(caught.value) == (
        f"Task 'intent' has no champion yet. Name a version, such as {model.id!r}, or choose one with: "
        f"freehold models promote {model.id}"
    )


def test_a_beginning_that_several_ids_share_is_refused(state: Engine, tmp_path: Path) -> None:
    ids = sorted(add(state, tmp_path, weights=weights).id for weights in (b"one", b"two"))
    with pytest.raises(InputError) as caught:
        get_model(state, "intent-")
    assert str(caught.value) == f"Model 'intent-' could be {ids[0]!r}, {ids[1]!r}. Give more of the id."


@pytest.fixture(scope="module")
def registry_of_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("registry")
    engine = open_state(f"sqlite:///{folder / 'state.db'}")
    add(engine, folder)
    yield engine
    engine.dispose()


@given(reference=st.text(alphabet="intent-@champ 0123456789abcdef", max_size=20) | st.text(max_size=20))
def test_any_text_is_the_beginning_of_an_id_or_refused(registry_of_one: Engine, reference: str) -> None:
    only = list_models(registry_of_one)[0]
    if reference and only.id.startswith(reference) and reference != "intent":
        assert get_model(registry_of_one, reference) == only
    else:
        with pytest.raises(InputError):
            get_model(registry_of_one, reference)
