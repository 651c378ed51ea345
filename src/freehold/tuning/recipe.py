"""A recipe: everything that decides how one adapter is trained."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

Precision = Literal["auto", "float32", "bfloat16"]


class Lora(BaseModel):
    """The low-rank adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(ge=1, le=1024)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    target_modules: tuple[str, ...] = Field(min_length=1)
    upper_layers: int | None = Field(ge=1)
    """Adapt only so many layers from the top, over stored states of the ones below; None: all."""


class Training(BaseModel):
    """The loop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1, le=1000)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"]
    warmup: float = Field(ge=0, lt=1)
    """Share of the steps in which the rate rises from zero."""
    weight_decay: float = Field(ge=0, lt=1)
    clip_norm: float = Field(gt=0)
    max_tokens: int = Field(ge=8)
    patience: int | None = Field(ge=1)
    """Stop after so many epochs without a better validation loss; None: never."""
    keep: Literal["best", "last"]
    """Which epoch's weights are kept; `best` by validation loss."""
    checkpoint_steps: int = Field(ge=1)


class Recipe(BaseModel):
    """One run, read from YAML. Together with a dataset it repeats the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str = Field(min_length=1)
    """Name of a known base model, or a Hugging Face folder."""
    seed: int = Field(ge=0, lt=2**63)
    threads: int | None = Field(ge=1)
    """None: as many as torch chooses on this machine."""
    precision: Precision
    lora: Lora
    training: Training


def known_recipes() -> tuple[str, ...]:
    """Names of the shipped recipes."""
    return tuple(sorted(Path(item.name).stem for item in _shipped().iterdir() if item.name.endswith(".yaml")))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a name or file, with `key=value` pairs such as `lora.rank=8` laid over it.

    Raises:
        InputError: unknown name, broken YAML, or every field that is missing, unknown or out of range at once.
    """
    label, text = _read(name_or_path)
    try:
        fields, lines = _fields_and_lines(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise InputError(f"{label}{line}: this is not YAML: {getattr(error, 'problem', None) or error}.") from error
    if not isinstance(fields, dict):
        raise InputError(f"{label}: a recipe is a mapping of fields such as `base: smollm2-135m`.")
    origin = {key: f"{label}, line {line}" for key, line in lines.items()}
    for pair in overrides:
        origin[_override(fields, pair)] = f"option {pair!r}"
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        faults = [_fault(found, origin, label) for found in error.errors()]
        raise InputError("\n".join(faults)) from error


def resolved_yaml(recipe: Recipe) -> str:
    """The recipe as YAML with every field."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _shipped() -> Any:  # Any: importlib's Traversable lost its public home between Python versions
    return resources.files("freehold") / "recipes"


def _read(name_or_path: str) -> tuple[str, str]:
    """Label for messages and text of the recipe."""
    if name_or_path in known_recipes():
        return f"{name_or_path}.yaml", (_shipped() / f"{name_or_path}.yaml").read_text("utf-8")
    path = Path(name_or_path)
    try:
        return str(path), path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(known_recipes())
        raise InputError(
            f"Recipe {name_or_path!r} is neither a readable file nor a shipped recipe; shipped: {known}."
        ) from error


def _fields_and_lines(text: str) -> tuple[Any, dict[str, int]]:  # Any: not checked yet
    """The values of a YAML document, and the line on which each dotted key stands."""
    lines: dict[str, int] = {}

    def walk(node: yaml.Node | None, above: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                dotted = f"{above}{key.value}"
                lines[dotted] = key.start_mark.line + 1
                walk(value, f"{dotted}.")

    walk(yaml.compose(text, yaml.SafeLoader), "")
    return yaml.safe_load(text), lines


def _override(fields: dict[str, Any], pair: str) -> str:  # Any: not checked yet
    """Lay one `key=value` over the fields; return its key."""
    key, equals, value = pair.partition("=")
    if not equals or not key:
        raise InputError(f"Option {pair!r}: a change to a recipe is written key=value, such as lora.rank=8.")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"Option {pair!r}: the value is not YAML.") from error
    *above, last = key.split(".")
    here = fields
    for name in above:
        inner = here.setdefault(name, {})
        if not isinstance(inner, dict):
            raise InputError(f"Option {pair!r}: {name} is a single value and has no field {last!r}.")
        here = inner
    here[last] = parsed
    return key


def _fault(found: ErrorDetails, origin: dict[str, str], label: str) -> str:
    """One fault as a line: where, what was found, what is allowed."""
    key = ".".join(str(part) for part in found["loc"] if not isinstance(part, int))
    if found["type"] == "missing":
        return f"{label}: {key} is missing."
    where = origin.get(key, label)
    if found["type"] == "extra_forbidden":
        return f"{where}: {key} is not a field of a recipe."
    return f"{where}: {key} is {found['input']!r}; {found['msg'][0].lower()}{found['msg'][1:]}."
