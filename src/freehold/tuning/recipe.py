"""A recipe: everything that decides how one adapter, or one model, is trained."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freehold.core.errors import InputError
from freehold.tuning.recipe_faults import contradictions, repeated_keys, told

if TYPE_CHECKING:
    from collections.abc import Sequence

Method = Literal["lora", "qlora", "full", "dpo"]
Weights = Literal["lora", "qlora", "full"]
"""What learns: an adapter, an adapter over a base in 4 bits, or every weight."""
Precision = Literal["auto", "float32", "bfloat16"]
DeviceType = Literal["auto", "cpu", "cuda", "mps"]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_FIELDS = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a decoder's block, as most families name them."""


class Lora(BaseModel):
    """The low-rank adapter; not read where every weight learns."""

    model_config = _FIELDS

    rank: int = Field(ge=1, le=1024)
    """Inner width of the adapter."""
    alpha: int = Field(ge=1)
    """The adapter's output is scaled by alpha / rank."""
    dropout: Finite = Field(ge=0, lt=1)
    """Share of the adapter's inputs that are left out at random while training."""
    target_modules: tuple[str, ...] = Field(min_length=1)
    """Linear layers that get an adapter, by the names that the base gives them."""
    upper_layers: int | None = Field(ge=1)
    """Adapt only so many layers from the top, over stored states of the ones below; None: all."""


class Quantization(BaseModel):
    """How a frozen base is packed into 4 bits; read by `qlora` alone."""

    model_config = _FIELDS

    kind: Literal["nf4"] = "nf4"
    """4-bit numbers, spaced as normally distributed weights are."""
    double: bool = True
    """Whether the scales of the blocks are packed too."""


class Preference(BaseModel):
    """Learning from pairs of a better and a worse answer; read by `dpo` alone."""

    model_config = _FIELDS

    weights: Weights = "lora"
    """What learns."""
    beta: Finite = Field(default=0.1, gt=0, le=10)
    """How dear it is to leave the reference: the smaller, the further the model goes."""
    start: str | None = None
    """Version of the registry that learns on and is the reference; None: the base."""
    length_normalised: bool = False
    """Divide the log-probability of an answer by its tokens, so that length alone earns nothing."""
    likelihood: Finite = Field(default=0.0, ge=0, le=10)
    """Weight of the plain loss on the better answer, which keeps its probability from falling."""


class Devices(BaseModel):
    """Where it runs, and how several devices share the work."""

    model_config = _FIELDS

    type: DeviceType = "auto"
    """What it runs on; `auto`: the best that this machine has."""
    hardware: str | None = None
    """What the plan takes one device for, a name from the capacity tables; None: what this machine has."""
    count: int = Field(default=1, ge=1, le=4096)
    """Devices; more than one are started with torchrun."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Several devices: a whole copy on each (`ddp`), or each holding a part of every weight (`fsdp`)."""
    cpu_offload: bool = False
    """Keep weights and optimizer states in the host's memory between uses; needs `fsdp`."""


class Training(BaseModel):
    """The loop."""

    model_config = _FIELDS

    epochs: int = Field(ge=1, le=1000)
    """Times that each row is seen."""
    batch_size: int = Field(ge=1)
    """Rows of one step, over all devices and micro-batches."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Rows on one device at a time, gradients being added up; None: a device's whole part of the batch."""
    learning_rate: Finite = Field(gt=0, lt=1)
    """The highest rate."""
    schedule: Literal["cosine", "linear", "constant"]
    """How the rate goes down after its rise; `cosine` and `linear` end at zero."""
    warmup: Finite = Field(ge=0, lt=1)
    """Share of the steps in which the rate rises from zero."""
    weight_decay: Finite = Field(ge=0, lt=1)
    """Pull of the weights to zero, per step and rate."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """AdamW with moments in 32 bits, or in 8 by blocks."""
    clip_norm: Finite = Field(gt=0)
    """A longer gradient is shortened to this."""
    max_tokens: int = Field(ge=8)
    """Sequence length: longer rows are left out."""
    packing: bool = True
    """Lay short rows end to end without padding; none sees another."""
    gradient_checkpointing: bool = False
    """Keep only what enters each layer, and compute the rest again in the backward pass."""
    patience: int | None = Field(ge=1)
    """Stop after so many epochs without a better validation loss; None: never."""
    keep: Literal["best", "last"]
    """Which epoch's weights are kept; `best` by validation loss."""
    checkpoint_steps: int = Field(ge=1)
    """Steps between checkpoints, from which a stopped run continues."""
    checkpoint_minutes: Finite | None = Field(default=None, gt=0)
    """A checkpoint also after so many minutes; None: by steps alone."""


class Recipe(BaseModel):
    """One run, read from YAML. Together with a dataset it repeats the run."""

    model_config = _FIELDS

    method: Method = "lora"
    """What learns, or `dpo`: from pairs of a corrected and an original answer."""
    base: str = Field(min_length=1)
    """Name of a known base model, an id on the Hugging Face hub, or a Hugging Face folder."""
    revision: str | None = Field(default=None, min_length=1)
    """Commit of a base from the hub; None: its newest, which the resolved recipe then names."""
    seed: int = Field(ge=0, lt=2**63)
    """Decides the order of the rows and the first weights of the adapter: same seed, same losses."""
    threads: int | None = Field(ge=1)
    """Processor threads; None: as many as torch chooses on this machine."""
    precision: Precision
    """What products are computed in; `auto`: bfloat16 where the hardware has it."""
    devices: Devices = Devices()
    lora: Lora = Lora(rank=16, alpha=32, dropout=0.0, target_modules=LINEAR, upper_layers=None)
    quantization: Quantization = Quantization()
    dpo: Preference = Preference()
    training: Training

    @property
    def weights(self) -> Weights:
        """What learns, whatever it learns from."""
        return self.dpo.weights if self.method == "dpo" else self.method


def known_recipes() -> tuple[str, ...]:
    """Names of the shipped recipes."""
    return tuple(sorted(Path(item.name).stem for item in _shipped().iterdir() if item.name.endswith(".yaml")))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a name or file, with `key=value` pairs such as `lora.rank=8` laid over it.

    Raises:
        InputError: unknown name, broken YAML, or all at once: every field that is missing, unknown, given twice or
            out of range, and every pair of fields that contradict each other.
    """
    label, text = _read(name_or_path)
    try:
        fields, lines, repeated = _fields_and_lines(text, label)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise InputError(f"{label}{line}: this is not YAML: {getattr(error, 'problem', None) or error}.") from error
    if not isinstance(fields, dict):
        raise InputError(f"{label}: a recipe is a mapping of fields such as `base: smollm2-135m`.")
    origin = {key: f"{label}, line {line}" for key, line in lines.items()}
    faults = [*repeated]
    for pair in overrides:
        try:
            origin[_override(fields, pair)] = f"option {pair!r}"
        except InputError as error:
            faults.append(str(error))
    recipe: Recipe | None = None
    try:
        recipe = Recipe.model_validate(fields)
    except ValidationError as error:
        faults += told(error.errors(), Recipe, origin, label)
    faults += contradictions(fields, Recipe, origin, label)
    if faults or recipe is None:
        raise InputError("\n".join(faults))
    return recipe


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
    except (OSError, ValueError) as error:
        known = ", ".join(known_recipes())
        raise InputError(
            f"Recipe {name_or_path!r} is neither a readable file nor a shipped recipe; shipped: {known}."
        ) from error


def _fields_and_lines(text: str, label: str) -> tuple[Any, dict[str, int], list[str]]:  # Any: not checked yet
    """The values of a YAML document, the line on which each dotted key stands, and faults of keys given twice."""
    root = yaml.compose(text, yaml.SafeLoader)
    lines: dict[str, int] = {}

    def walk(node: yaml.Node | None, above: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                dotted = f"{above}{key.value}"
                lines[dotted] = key.start_mark.line + 1
                walk(value, f"{dotted}.")

    walk(root, "")
    return yaml.safe_load(text), lines, repeated_keys(root, label)


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
