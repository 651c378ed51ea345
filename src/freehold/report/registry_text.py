"""What `models` and `dataset list` print: a sentence first, then aligned tables; 80 columns are enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import joined, plain_table, sentence
from freehold.report.ledger_tables import counted
from freehold.report.numbers import count, duration, plain_number, points
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def models_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Own models, and the base models that they could stand on."""
    models, bases = record.get("models") or (), record.get("bases") or ()
    tasks = {each.get("task") for each in models}
    first = (
        f"{counted(len(models), 'own model')} of {counted(len(tasks), 'task')}, newest first."
        if models
        else "No own model yet."
    )
    return joined(sentence(first), plain_table(_own(models)), plain_table(_bases(bases)))


def model_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """One own model: what it stands on, what it was tuned with, where it lies."""
    run, recipe = record.get("run") or {}, record.get("recipe") or {}
    aliases = " and ".join(map(str, record.get("aliases") or ())) or "neither champion nor challenger"
    task = visible(record.get("task"), 60)
    whole = {True: "those that were registered", None: "not checked"}.get(record.get("files_verified"), "changed")
    facts = (
        ("Base model", visible(record.get("base"))),
        ("Dataset", visible(record.get("dataset") or "none: it was not tuned here")),
        ("Registered", _moment(record.get("created_at"))),
        ("Examples", f"{count(run.get('examples'))}, {count(run.get('left_out', 0))} left out as too long"),
        ("Tuning took", f"{duration(run.get('seconds'))}, {duration(run.get('cpu_seconds'))} of processor time"),
        ("Final loss", plain_number(run.get("final_loss"))),
        ("Best epoch", count(run.get("best_epoch"))),
        ("Adapter", _adapter(recipe.get("lora") or {})),
        ("Files", f"{', '.join(map(visible, record.get('files') or ()))}: {whole}"),
        ("SHA-256", visible(record.get("sha256"))),
        ("Folder", visible(record.get("folder"), 4096)),
    )
    lines = "\n".join(f"{name:<12} {value}" for name, value in (*facts, *_artefacts(record.get("artefacts") or ())))
    return joined(sentence(f"{visible(record.get('id'), 200)} is {aliases} of task {task}."), lines)


def _artefacts(artefacts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:  # Any: JSON
    """The forms that were made, a line each."""
    rows: list[tuple[str, str]] = []
    for each in artefacts:
        quality = each.get("quality") or {}
        lost = quality.get("difference")
        measured = "" if lost is None else f", {points(lost)} against 16 bits on {count(quality.get('n'))} cases"
        state = "" if each.get("intact") else " MISSING OR CHANGED: make it again"
        rows.append(
            (
                "Exported" if not rows else "",
                f"{each['form']} ({each['kind']}{measured}){state}: {visible(each['folder'], 4096)}",
            )
        )
    return rows


def datasets_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """All versions of all datasets."""
    versions: Sequence[Mapping[str, Any]] = record.get("versions") or ()  # Any: JSON
    if not versions:
        return "No dataset yet.\n"
    tasks = {each.get("task") for each in versions}
    return joined(
        sentence(f"{counted(len(versions), 'dataset')} of {counted(len(tasks), 'task')}, latest first."),
        plain_table(
            Table(
                "Rows by split; each dataset is named after its task",
                (
                    Column("dataset"),
                    Column("built (UTC)"),
                    *(Column(split, is_number=True) for split in ("train", "validation", "test")),
                ),
                tuple(
                    (
                        visible(each.get("dataset"), 60),
                        _moment(each.get("created_at")),
                        *(count((each.get("rows") or {}).get(split)) for split in ("train", "validation", "test")),
                    )
                    for each in versions
                ),
            )
        ),
    )


def _own(models: Iterable[Mapping[str, Any]]) -> Table:  # Any: JSON
    return Table(
        "Own models; each is named after its task",
        (
            Column("model"),
            Column("base"),
            Column("alias"),
            Column("examples", is_number=True),
            Column("registered"),
        ),
        tuple(
            (
                visible(each.get("id"), 60),
                visible(each.get("base"), 30),
                visible(", ".join(map(str, each.get("aliases") or ())) or "–", 30),
                count((each.get("run") or {}).get("examples")),
                _moment(each.get("created_at"))[:10],
            )
            for each in models
        ),
    )


def _bases(bases: Iterable[Mapping[str, Any]]) -> Table:  # Any: JSON
    rows = tuple(
        (
            visible(each.get("name"), 60),
            "yes" if each.get("fetched") else f"no: freehold models add {visible(each.get('name'), 60)}",
        )
        for each in bases
    )
    return Table("Base models that can be tuned", (Column("base"), Column("on this machine")), rows)


def _adapter(lora: Mapping[str, Any]) -> str:  # Any: JSON
    layers = lora.get("upper_layers")
    where = "all layers" if layers is None else f"the upper {count(layers)} layers"
    return f"rank {count(lora.get('rank'))} on {where}"


def _moment(value: Any) -> str:  # Any: a field of a JSON record
    """A moment in UTC to the minute."""
    return "not known" if value is None else visible(value)[:16].replace("T", " ")
