"""The model card: what a model is for, what it learned from, how good it is, what it cost, what its licence asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import yaml

from freehold.tuning.curve import FILE as CURVE
from freehold.tuning.energy import footprint
from freehold.tuning.licences import licence_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.core.task import Task
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.recipe import Recipe

Form = Literal["adapter", "merged", "gguf", "adapter-gguf"]
"""What a trained version is handed over as."""
LIBRARY = {"adapter": "peft", "merged": "transformers", "gguf": "gguf", "adapter-gguf": "gguf"}
RELATION = {"adapter": "adapter", "merged": "finetune", "gguf": "quantized", "adapter-gguf": "adapter"}
"""How model hubs call what a model is to its base."""
_SHOWN_LABELS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One contender's score on the held-out cases."""

    name: str
    kind: str
    value: float
    ci_low: float
    ci_high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Everything a card can tell; what is None is said to be not known."""

    model: str | None
    """Id in the registry; None: it has none yet."""
    task: Task
    base: BaseModel
    recipe: Recipe
    run: Mapping[str, Any]  # Any: JSON; the numbers of the run
    sha256: str
    form: Form = "adapter"
    data: Mapping[str, Any] | None = None  # Any: JSON; the dataset's statistics
    metric: str | None = None
    """What the scores are of, such as `accuracy`."""
    metrics: Sequence[Metric] = ()
    form_facts: Sequence[tuple[str, str]] = field(default=())
    """What was measured of this form: name and value."""


def model_card(card: Card) -> str:
    """The card as Markdown, with the front matter that model hubs read. It names no file or folder of this machine."""
    parts = (
        f"---\n{yaml.safe_dump(_front(card), sort_keys=True, allow_unicode=True).strip()}\n---",
        f"# {_line(card.task.name)}",
        _what(card),
        _use(card),
        _data(card),
        _training(card),
        _quality(card),
        _form(card),
        _footprint(card),
        _licence(card),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(card: Card) -> dict[str, Any]:  # Any: YAML
    recipe, is_whole = card.recipe, card.recipe.weights == "full"
    form = "merged" if is_whole and card.form == "adapter" else card.form
    front: dict[str, Any] = {  # Any: as above
        "base_model": card.base.hub_id,
        "base_model_relation": RELATION[form],
        "library_name": LIBRARY[form],
        "license": card.base.licence,
        "pipeline_tag": "text-generation",
        "tags": [recipe.weights, *(["dpo"] if recipe.method == "dpo" else []), "freehold", card.task.kind],
    }
    own = [metric for metric in card.metrics if metric.kind == "own"]
    if own and card.metric:
        result = {
            "task": {"type": "text-generation", "name": card.task.kind},
            "dataset": {"type": "private", "name": card.task.name, "split": "test"},
            "metrics": [{"type": card.metric, "value": round(own[0].value, 4)}],
        }
        front["model-index"] = [{"name": card.model or card.task.name, "results": [result]}]
    if (power := _power(card)) is not None:
        front["co2_eq_emissions"] = {
            "emissions": float(f"{power.kg_co2[1] * 1000:.3g}"),
            "source": "hours of the run, times assumed watts and grid; see below",
            "training_type": "fine-tuning",
        }
    return front


def _what(card: Card) -> str:
    kind = "A model made from" if card.recipe.weights == "full" else "A LoRA adapter for"
    if card.form in ("merged", "gguf") and card.recipe.weights != "full":
        kind = "A LoRA adapter, merged into"
    revision = card.base.revision or "unknown"
    name = f", version `{_code(card.model)}` in the registry it comes from" if card.model else ""
    return (
        f"{kind} `{_code(card.base.hub_id)}` (revision `{_code(revision)}`) that does one task: {card.task.kind}{name}."
    )


def _use(card: Card) -> str:
    prompt = "\n".join(f"> {line}" for line in card.task.own_prompt.splitlines() or [""])
    answer = {
        "classification": f"one of {len(card.task.labels)} labels: {_labels(card.task.labels)}",
        "extraction": "a JSON object with the fields that the task's schema names",
        "text": "free text",
    }[card.task.kind]
    limits = [
        "It was tuned for this task alone. Asked anything else, it answers all the same, and nobody has looked at how.",
        "Inputs unlike those of its training data, in another language or from another source, are not covered by the "
        "scores below.",
        "It was trained on text whose personal data had been replaced by placeholders, and expects it so.",
        "It states no facts of its own that were checked: whoever acts on an answer answers for it.",
    ]
    if not any(metric.kind == "own" for metric in card.metrics):
        limits.insert(0, "How good its answers are has not been measured. `freehold evaluate` does it.")
    own = max((metric.value for metric in card.metrics if metric.kind == "own"), default=None)
    if own is not None:
        limits[:0] = [
            f"On the test cases {_line(metric.name)} ({metric.kind}) did better: {metric.value:.3f} against {own:.3f}."
            for metric in card.metrics
            if metric.kind != "own" and metric.value > own
        ]
    listed = "\n".join(f"- {limit}" for limit in limits)
    return f"""## Intended use

It expects this system message, and the case as the user's turn:

{prompt}

It answers with {answer}.

Limits:

{listed}"""


def _data(card: Card) -> str:
    data = card.data
    if data is None:
        return "## Data\n\nNot known here: the dataset was not at hand when this card was written."
    provenance = ", ".join(f"{rows:,} {kind}" for kind, rows in (data.get("provenance") or {}).items())
    months = sorted({month for side in (data.get("months") or {}).values() for month in side} - {"undated"})
    train = (data.get("classes") or {}).get("train") or {}
    facts = [
        ("dataset", f"`{_code(data['dataset'])}`, SHA-256 `{data['sha256']}`"),
        ("rows", ", ".join(f"{rows:,} {side}" for side, rows in data["rows"].items())),
        ("provenance", provenance or "unknown"),
        ("terms", _terms(data)),
        ("months", f"{months[0]} to {months[-1]}" if months else "undated"),
        ("near-duplicates grouped", _number(data.get("duplicates_grouped"))),
        ("contradictory labels", _number(data.get("label_conflicts"))),
        ("personal data masked", ", ".join(f"{count:,} {kind}" for kind, count in data["pii"].items()) or "none found"),
    ]
    if train:
        largest = max(train.values()) / sum(train.values())
        facts.append(("classes", f"{len(train)}; the largest has {largest:.0%} of the training rows"))
    if purged := data.get("purged"):
        facts.append(("purged since", ", ".join(f"{rows:,} {side}" for side, rows in purged.items())))
    return f"## Data\n\n{_table('data', facts)}\n\nTrain and test share no near-duplicate; test cases chose nothing."


def _terms(data: Mapping[str, Any]) -> str:  # Any: JSON
    total: dict[str, int] = {}
    for side in (data.get("terms") or {}).values():
        for name, rows in side.items():
            total[name] = total.get(name, 0) + rows
    return ", ".join(f"{rows:,} {name}" for name, rows in sorted(total.items())) or "not flagged"


def _training(card: Card) -> str:
    recipe, run = card.recipe, card.run
    lora, training = recipe.lora, recipe.training
    layers = "all layers" if lora.upper_layers is None else f"the upper {lora.upper_layers} layers"
    learned = "every weight" if recipe.weights == "full" else f"rank {lora.rank}, alpha {lora.alpha}, {layers}"
    losses = [loss for loss in run.get("validation_losses") or () if loss is not None]
    facts = [
        ("rows", f"{run['examples']} (left out as too long: {run['left_out']})"),
        ("epochs, batch, rate", f"{training.epochs}, {training.batch_size}, {training.learning_rate}"),
        ("learned", learned),
        ("method, precision", f"{recipe.method}, {recipe.precision}"),
        ("final loss", f"{run['final_loss']:.4f}"),
        ("lowest validation loss", "none" if run.get("best_epoch") is None or not losses else f"{min(losses):.4f}"),
        ("weights, SHA-256", f"`{card.sha256}`"),
    ]
    return f"""## Training

{_table("training", facts)}

![Loss of training and validation by step]({CURVE})

It was trained on answers only. `recipe.yaml` repeats the run on the same rows; `run.json` holds its numbers."""


def _quality(card: Card) -> str:
    if not card.metrics:
        return ""
    rows = "\n".join(
        f"| {_line(metric.name)} | {metric.kind} | {metric.value:.3f} | {metric.ci_low:.3f} to {metric.ci_high:.3f} "
        f"| {metric.n} |"
        for metric in card.metrics
    )
    return f"""## Quality

All on the same held-out test cases, with intervals over cases:

| contender | kind | {card.metric} | interval | cases |
| --- | --- | --- | --- | --- |
{rows}"""


def _form(card: Card) -> str:
    return f"## This form\n\n{_table('form', card.form_facts)}" if card.form_facts else ""


def _power(card: Card) -> Any:  # Any: a footprint, or None
    seconds, cpu_seconds = card.run.get("seconds"), card.run.get("cpu_seconds")
    if seconds is None or cpu_seconds is None:
        return None
    devices = card.recipe.devices
    return footprint(device=devices.type, devices=devices.count, seconds=seconds, cpu_seconds=cpu_seconds)


def _footprint(card: Card) -> str:
    power = _power(card)
    if power is None:
        return "## Cost and emissions\n\nNot known: the run's time was not recorded."
    paid = (card.run.get("actual") or {}).get("usd")
    facts = [
        ("counted", f"{power.hours:.3g} hours of {power.counted}"),
        ("power", f"{_spread(power.kwh)} kWh"),
        ("emissions", f"{_spread(power.kg_co2)} kg CO2e"),
        ("price of the power", f"${_spread(power.usd)}"),
        ("rent of the machine", "none: it was not rented by the hour" if paid is None else _paid(paid)),
    ]
    assumed = "\n".join(f"- {each}" for each in power.assumptions)
    return f"""## Cost and emissions of the run

{_table("low / typical / high", facts)}

Nobody measured the power. It was told from the run's time with these assumptions:

{assumed}"""


def _paid(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.2g}"


def _licence(card: Card) -> str:
    licence = licence_of(card.base.licence)
    said = {
        "yes": "allowed",
        "conditions": "allowed on conditions",
        "no": "NOT allowed",
        "unknown": "unknown: read the licence before",
    }
    asks = "\n".join(f"- {condition}" for condition in licence.conditions)
    source = f" This is a summary; its text decides: {licence.source}" if licence.source else ""
    return f"""## Licence

The base: {licence.title}{"" if licence.title.endswith(".") else "."}{source}

{_table("use", [("in an enterprise's own work", said[licence.commercial]), ("given to others", said[licence.sharing])])}
{f"{chr(10)}{asks}{chr(10)}" if asks else ""}
The data have terms of their own: see `terms` above. None of this is legal advice.""".rstrip()


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    lines = "\n".join(f"| {name} | {value.replace('|', '&#124;')} |" for name, value in rows)
    return f"| {title} | |\n| --- | --- |\n{lines}"


def _labels(labels: Sequence[str]) -> str:
    shown = ", ".join(f"`{_code(label)}`" for label in labels[:_SHOWN_LABELS])
    return shown + (f" and {len(labels) - _SHOWN_LABELS} more" if len(labels) > _SHOWN_LABELS else "")


def _number(value: Any) -> str:  # Any: JSON
    return "not counted" if value is None else f"{value:,}"


def _spread(values: tuple[float, float, float]) -> str:
    return " / ".join(f"{value:.2g}" for value in values)


def _line(text: str) -> str:
    """Text of others on one line of a page, without what Markdown or HTML would act upon."""
    return " ".join(text.split()).replace("|", "&#124;").replace("<", "&lt;").replace("`", "'").replace("[", "&#91;")


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")
