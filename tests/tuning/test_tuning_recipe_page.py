"""docs/reference/recipe.md is made of the types and rules of recipes, and compared with them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from freehold.tuning.recipe import Recipe, known_recipes
from freehold.tuning.recipe_faults import BOUNDS, RULES, USUAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "recipe.md"
HEAD = """# Recipes

A recipe is a YAML file that decides how a model is tuned: `freehold tune TASK --recipe FILE [KEY=VALUE ...]`. A field
in a group is written with a dot in `KEY`, such as `lora.rank=8`. What is wrong is told all at once, each with its line
or its option. The recipe with every field filled in lies beside the adapter as `recipe.yaml`; that file repeats the
run. The defaults of `lora` hold where the whole group is left out.

Shipped: {shipped}.

## Fields

| field | allowed | default | meaning |
|---|---|---|---|
"""
RULES_HEAD = """
## What excludes what

| field that is blamed | rule |
|---|---|
"""
WORDS = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text", tuple: "list of names"}


def fields_of(schema: type[BaseModel], above: str = "", made: Any = None) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Dotted name, field and default of each field that is no group; `made` is what a whole group is by default."""
    for name, field in schema.model_fields.items():
        default = getattr(made, name) if made is not None else ... if field.is_required() else field.default
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            group = default if isinstance(default, BaseModel) else None
            yield from fields_of(field.annotation, f"{above}{name}.", group)
        else:
            yield f"{above}{name}", field, default


def allowed(name: str, field: FieldInfo) -> str:
    """What may stand there, with its bounds."""
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        found = ", ".join(f"`{value}`" for value in get_args(field.annotation))
    else:
        kind = tuple if get_origin(field.annotation) is tuple else get_origin(kinds[0]) or kinds[0]
        found = WORDS[get_args(kinds[0])[0] if kind not in WORDS else kind]
    bounds = [
        sentence.removeprefix("it must be ").format(f"{value:,}" if isinstance(value, int) else f"{value:g}")
        for attribute, sentence in BOUNDS.values()
        for part in field.metadata
        if (value := getattr(part, attribute, None)) is not None
    ]
    usual = f"; {USUAL[name]}" if name in USUAL else ""
    is_open = type(None) in get_args(field.annotation)
    return ", ".join([found, *bounds]) + (", or `null`" if is_open else "") + usual


def shown(default: Any) -> str:
    """A default as YAML writes it."""
    if default is ...:
        return "required"
    if isinstance(default, tuple):
        return f"`[{', '.join(default)}]`"
    if default is None or isinstance(default, bool):
        return f"`{'null' if default is None else str(default).lower()}`"
    return f"`{default}`"


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{name}` | {allowed(name, field)} | {shown(default)} | {' '.join((field.description or '').split())} |"
        for name, field, default in fields_of(Recipe)
    ]
    rules = [f"| `{key}` | {' '.join((rule.__doc__ or '').split())} |" for key, rule in RULES]
    head = HEAD.format(shipped=", ".join(f"`{name}`" for name in known_recipes()))
    return re.sub(r"\bNone\b", "`null`", head + "\n".join(rows) + "\n" + RULES_HEAD + "\n".join(rules) + "\n")


def test_the_page_of_recipes_is_what_the_types_say() -> None:
    if os.environ.get("FREEHOLD_REGENERATE"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text("utf-8") == page(), "after a wanted change: FREEHOLD_REGENERATE=1"


def test_every_field_and_every_rule_says_what_it_means() -> None:
    assert [name for name, field, _ in fields_of(Recipe) if not field.description] == []
    assert [key for key, rule in RULES if not rule.__doc__] == []
