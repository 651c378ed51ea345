from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from freehold.cli.gateway_worker import setup_of
from freehold.core.errors import InputError
from freehold.gateway.limits.admission import OpenDoor
from freehold.gateway.providers.routes import routes_of
from freehold.state.settings import Settings, load_settings
from freehold.state.subject_key import subjects_of
from freehold.state.workspace import create_workspace, find_workspace

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_workspace_has_settings_that_load(tmp_path: Path) -> None:
    workspace, is_new = create_workspace(tmp_path / "desk")
    settings = load_settings(workspace)
    assert is_new
    assert settings.workspace.name == "desk"
    assert (settings.decide.margin_points, settings.decide.confidence) == (2.0, 0.95)
    assert settings.state.url is None


def test_the_examples_in_the_first_settings_are_settings_of_every_section(tmp_path: Path) -> None:
    workspace, _ = create_workspace(tmp_path / "desk")
    lines = workspace.settings_file.read_text(encoding="utf-8").splitlines()
    workspace.settings_file.write_text("\n".join(line.removeprefix("# ") for line in lines), encoding="utf-8")

    settings = load_settings(workspace)

    default = Settings()
    untouched = {"decide"}  # its values are the defaults, and stand there without a comment
    named = {name for name in Settings.model_fields if getattr(settings, name) != getattr(default, name)}
    assert named == set(Settings.model_fields) - untouched
    assert [provider.route for provider in settings.providers.values()] == ["rent", "rent", "own"]
    assert [rule.task for rule in settings.tasks.rules] == ["triage", "search"]
    assert settings.ledger.tasks["triage"].sample == 0.2
    keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}  # a gateway would start with them:
    setup_of(
        settings, routes_of(settings, workspace.root, keys), OpenDoor(), subjects_of(workspace)
    )  # a gateway would start so


def test_what_customers_wrote_is_for_the_owner_of_the_workspace_alone(tmp_path: Path) -> None:
    workspace, _ = create_workspace(tmp_path / "new")
    assert workspace.data.stat().st_mode & 0o077 == 0


def test_making_a_workspace_twice_keeps_its_settings(tmp_path: Path) -> None:
    workspace, _ = create_workspace(tmp_path)
    workspace.settings_file.write_text('[workspace]\nname = "kept"\n')
    again, is_new = create_workspace(tmp_path)
    assert not is_new
    assert load_settings(again).workspace.name == "kept"


def test_every_path_of_a_workspace_lies_inside_its_data_folder(tmp_path: Path) -> None:
    workspace, _ = create_workspace(tmp_path)
    paths = (workspace.calls, workspace.datasets, workspace.models, workspace.runs, workspace.evaluations)
    for path in (*paths, workspace.decisions, workspace.serving, workspace.signing_key):
        assert path.is_relative_to(workspace.data)
    assert workspace.default_state_url.startswith("sqlite:///")


def test_a_workspace_is_found_from_a_folder_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_workspace(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_workspace(below).root == tmp_path
    monkeypatch.setenv("FREEHOLD_FOLDER", str(below))
    assert find_workspace().root == tmp_path


def test_outside_a_workspace_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="freehold init"):
        find_workspace(tmp_path)


def test_a_folder_that_is_a_file_cannot_be_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="cannot be written here"):
        create_workspace(tmp_path / "x" / "y")


def test_the_environment_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _ = create_workspace(tmp_path)
    monkeypatch.setenv("FREEHOLD_DECIDE__MARGIN_POINTS", "3.5")
    assert load_settings(workspace).decide.margin_points == 3.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[decide]\nmargin_point = 1",
            "decide.margin_point: there is no such setting; did you mean 'margin_points'",
        ),
        ("[decide]\nmargin_points = -1", "decide.margin_points: Input should be greater than or equal to 0"),
        ("[dekide]\nx = 1", "dekide: there is no such setting; did you mean 'decide'"),
        ("[zzz]\nx = 1", "zzz: there is no such setting; known: workspace, state, decide, prices"),
        ("not toml", "cannot be read as TOML"),
        ("\x00", "cannot be read as TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, message: str) -> None:
    workspace, _ = create_workspace(tmp_path)
    workspace.settings_file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_settings(workspace)
    assert message in str(caught.value)


def test_all_wrong_settings_are_named_at_once(tmp_path: Path) -> None:
    workspace, _ = create_workspace(tmp_path)
    workspace.settings_file.write_text("[decide]\nconfidence = 2\nmargin_points = 99\n")
    with pytest.raises(InputError, match=r"decide\.margin_points.*decide\.confidence"):
        load_settings(workspace)
