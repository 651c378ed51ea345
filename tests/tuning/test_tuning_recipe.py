from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from freehold.core.errors import InputError
from freehold.tuning.recipe import _shipped, known_recipes, load_recipe, resolved_yaml

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", known_recipes())
def test_each_shipped_recipe_loads_and_comments_every_line(name: str) -> None:
    assert load_recipe(name).base
    lines = (_shipped() / f"{name}.yaml").read_text("utf-8").splitlines()
    values = [line for line in lines if not line.startswith("#") and not line.endswith(":")]
    assert [line for line in values if "  # " not in line] == []


def test_the_cpu_recipe_is_shipped() -> None:
    assert "smollm2-135m-cpu" in known_recipes()


def test_a_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = load_recipe("smollm2-135m-cpu", ["lora.rank=8", "training.learning_rate=2e-3", "threads=2"])
    (tmp_path / "recipe.yaml").write_text(resolved_yaml(recipe))
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe
    assert (recipe.lora.rank, recipe.training.learning_rate, recipe.threads) == (8, 0.002, 2)


def test_all_faults_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    good = resolved_yaml(load_recipe("smollm2-135m-cpu")).splitlines()
    bad = [line for line in good if not line.startswith("seed")]
    rank, epochs = (next(at for at, line in enumerate(bad) if word in line) for word in ("rank:", "epochs:"))
    bad[rank], bad[epochs] = "  rank: 0", "  epoch: 3"
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(bad))
    with pytest.raises(InputError) as error:
        load_recipe(str(path), ["training.batch_size=many"])
    assert sorted(str(error.value).splitlines()) == sorted(
        [
            f"{path}: seed is missing.",
            f"{path}, line {rank + 1}: lora.rank is 0; input should be greater than or equal to 1.",
            f"{path}: training.epochs is missing.",
            f"{path}, line {epochs + 1}: training.epoch is not a field of a recipe.",
            "option 'training.batch_size=many': training.batch_size is 'many'; input should be a valid integer, "
            "unable to parse string as an integer.",
        ]
    )


def test_an_unknown_recipe_is_told_with_the_shipped_ones() -> None:
    with pytest.raises(InputError, match=r"'nope' is neither a readable file nor a shipped recipe; shipped: smollm2-"):
        load_recipe("nope")


@pytest.mark.parametrize(
    ("text", "message"),
    [("base: [", r"line 1: this is not YAML"), ("- a\n- b", "a recipe is a mapping"), ("", "a recipe is a mapping")],
)
def test_a_file_that_is_no_recipe_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("rank", "is written key=value"),
        ("=3", "is written key=value"),
        ("lora.rank=[", "the value is not YAML"),
        ("base.name=x", "base is a single value and has no field 'name'"),
        ("lora.width=3", r"option 'lora\.width=3': lora\.width is not a field of a recipe\."),
    ],
)
def test_a_change_that_does_not_fit_is_told(option: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("smollm2-135m-cpu", [option])
