"""How the house is built: sizes, names, empty entrances, pages that tell the truth."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from freehold.tuning.recipe import known_recipes, load_recipe

REPOSITORY = Path(__file__).parent.parent
HOUSE = REPOSITORY / "src" / "freehold"
FILES = sorted(HOUSE.rglob("*.py"))
ROOMS = sorted(folder.name for folder in HOUSE.iterdir() if folder.is_dir() and folder.name != "__pycache__")
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "base", "manager", "misc", "tools"}
MOST_LINES = 400
MOST_FUNCTION_LINES = 60
LONG_FUNCTIONS = {
    "tuning/loop.py: fit": "the one training loop reads from top to bottom",
    "tuning/train.py: train": "one run from rows to folder, its steps named one after the other",
}


def _name(file: Path) -> str:
    return file.relative_to(HOUSE).as_posix()


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_a_file_has_400_lines_at_most_and_a_name_that_says_something(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert file.stem not in NAMES_THAT_SAY_NOTHING


def test_no_function_is_longer_than_60_lines_but_those_that_are_listed() -> None:
    long = {
        f"{_name(file)}: {node.name}"
        for file in FILES
        if "migrations" not in file.parts
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _code_lines(node) > MOST_FUNCTION_LINES
    }

    assert long <= set(LONG_FUNCTIONS)


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, its docstring apart."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


@pytest.mark.parametrize("room", ROOMS)
def test_the_entrance_of_a_room_holds_a_docstring_and_nothing_else(room: str) -> None:
    entrance = HOUSE / room / "__init__.py"
    if not list((HOUSE / room).glob("*.py")):  # a folder of data, such as recipes
        return
    module = _tree(entrance)

    assert ast.get_docstring(module)
    assert len(module.body) == 1


def test_the_readme_shows_every_room_and_none_that_is_not_there() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    tree = max(re.findall(r"```[a-z]*\n(.*?)```", readme, re.DOTALL), key=lambda block: block.count("/ "))
    shown = set(re.findall(r"^[\s│├└─]*(?:src/freehold/)?(\w+)/ ", tree, re.MULTILINE))

    assert set(ROOMS) <= shown
    elsewhere = {path.name for path in REPOSITORY.iterdir()} | {"freehold"}
    inside = {path.name for path in REPOSITORY.glob("*/*") if path.is_dir()}
    assert shown - set(ROOMS) <= elsewhere | inside


@pytest.mark.parametrize(
    "document", ["docs/tour.md", "docs/guides/from-traffic-to-a-model.md", "CONTRIBUTING.md", "README.md"]
)
def test_a_page_names_only_files_that_exist(document: str) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    named = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|yaml|jsonl|toml))`", text)
    linked = [target for target in re.findall(r"\]\(([^)#:]+)\)", text) if "/" in target or "." in target]

    here = (REPOSITORY, HOUSE, (REPOSITORY / document).parent)
    assert [name for name in [*named, *linked] if not any((folder / name).exists() for folder in here)] == []


@pytest.mark.parametrize("name", known_recipes())
def test_every_shipped_recipe_loads_and_every_line_of_it_is_explained(name: str) -> None:
    assert load_recipe(name, []).base
    lines = (HOUSE / "recipes" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()

    silent = [line for line in lines if line.strip() and "#" not in line and not line.rstrip().endswith(":")]
    assert silent == []


def test_every_recipe_that_lies_in_the_folder_is_shipped() -> None:
    assert sorted(known_recipes()) == sorted(file.stem for file in (HOUSE / "recipes").glob("*.yaml"))
