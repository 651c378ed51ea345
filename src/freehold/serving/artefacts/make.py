"""Makes one form of a trained version: written, compared with PyTorch, asked the task's cases, given its card."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import yaml

from freehold import __version__
from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.registry.artefacts import lost_files
from freehold.serving.artefacts.checks import Checks, check_form
from freehold.serving.artefacts.folder import SCHEMA, finish, read_manifest, sha256_of, unfinished
from freehold.serving.gguf_export import export_adapter, export_model
from freehold.tuning._files import told_when_full
from freehold.tuning.adapter import CONFIG, TOKENIZER, WEIGHTS
from freehold.tuning.card import model_card
from freehold.tuning.curve import FILE as CURVE
from freehold.tuning.curve import loss_curve
from freehold.tuning.licences import check_use, licence_of
from freehold.tuning.merge import WEIGHT_TYPES, write_merged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.serving.artefacts.version import Version
    from freehold.serving.gguf_export import GgufType
    from freehold.tuning.card import Card, Form
    from freehold.tuning.licences import Use
    from freehold.tuning.merge import WeightType

KINDS: dict[Form, tuple[str, ...]] = {
    "adapter": ("f32",),
    "merged": ("f32", "bf16", "f16"),
    "gguf": ("f16", "q8_0", "q4_0"),
    "adapter-gguf": ("f16", "q8_0", "q4_0"),
}
"""How the numbers of each form may be stored; of `adapter-gguf`, those of the base that it is checked on."""
SHARD_BYTES = 5 * 10**9
"""As model hubs cut large models."""
_ADVICE = "run the same command again; it goes on where it stopped."


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made, and how it is checked."""

    form: Form
    kind: str | None
    """None: as the base is stored for `merged`, 16 bits for the engine."""
    target: Path
    use: Use
    checks: Checks | None
    """None: it is handed over unchecked, and says so."""
    shard_bytes: int = SHARD_BYTES


def make_artefact(
    order: Order, source: Version, cases: Sequence[Example], *, scores: Path, progress: Progress
) -> tuple[dict[str, Any], bool]:  # Any: JSON
    """Make one form of a version in a folder of its own; whatever is there whole already stays.

    Args:
        order: what is to be made.
        source: of which version; its files were verified.
        cases: to check it with, of one side of its dataset; none: it cannot be checked, and says so.
        scores: folder that keeps scores of earlier checks.
        progress: is told of what goes on.

    Returns:
        The manifest, and whether something was made.

    Raises:
        InputError: the form, the use, the base or the place is wrong.
        FreeholdError: it does not say what PyTorch says, or the disk is full.
        UpstreamError: the engine fails.
    """
    licence = licence_of(source.base.licence)
    check_use(licence, order.use)
    order = replace(order, kind=_kind(order, source))
    _check_base(order, source)
    plan = _plan(order, source, cases)
    fingerprint = content_hash(plan)
    manifest = read_manifest(order.target)
    if manifest is not None:
        if [manifest[key] for key in ("model", "form", "kind")] != [source.id, order.form, order.kind]:
            raise InputError(
                f"{order.target} holds {manifest['model']} as {manifest['form']} ({manifest['kind']}). "
                "Name another folder with --out."
            )
        if manifest["fingerprint"] == fingerprint and not lost_files(order.target, manifest["files"]):
            return manifest, False
    with told_when_full(order.target.parent, _ADVICE), unfinished(order.target, fingerprint) as draft:
        _write(order, source, draft, progress)
        checked = check_form(
            order.checks,
            source,
            cases,
            form=order.form,
            kind=str(order.kind),
            draft=draft,
            scores=scores / _scores_name(plan),
            progress=progress,
        )
        warning = licence.warning()
        record = {
            "schema": SCHEMA,
            **plan,
            "fingerprint": fingerprint,
            "licence": asdict(licence),
            "agreement": None if checked.agreement is None else asdict(checked.agreement),
            "quality": None if checked.quality is None else asdict(checked.quality),
            "warnings": [*([warning] if warning else []), *checked.warnings],
        }
        _write_words(order, source, draft, checked.facts())
        return finish(draft, order.target, record), True


def _plan(order: Order, source: Version, cases: Sequence[Example]) -> dict[str, Any]:  # Any: JSON
    """Everything that decides what comes out."""
    card = source.card
    told = [asdict(metric) for metric in card.metrics]
    return {
        "model": source.id,
        "model_sha256": source.sha256,
        "task": {"name": card.task.name, "sha256": content_hash(_task(card))},
        "form": order.form,
        "kind": order.kind,
        "use": order.use,
        "base": {
            "name": source.base.name,
            "hub_id": source.base.hub_id,
            "revision": source.base.revision,
            "sha256": {file.name: sha256_of(file) for file in sorted(source.base.folder.glob("model*.safetensors"))},
        },
        "cases": None if order.checks is None else content_hash({"ids": [case.id for case in cases]}),
        "evaluation": content_hash({"metrics": told})[:12] if told else None,
        "shard_bytes": order.shard_bytes if order.form == "merged" else None,
        "versions": {"freehold": __version__, "gguf": version("gguf"), "xllamacpp": version("xllamacpp")},
    }


def _task(card: Card) -> dict[str, Any]:  # Any: JSON
    """What an answer and its score depend on."""
    task = card.task
    schema = None if task.json_schema is None else dict(task.json_schema)
    return {"kind": task.kind, "labels": list(task.labels), "schema": schema, "prompt": task.own_prompt}


def _scores_name(plan: Mapping[str, Any]) -> str:  # Any: JSON
    """How the files begin that keep the scores of one form of one version, however its numbers are stored."""
    parts = ("model_sha256", "task", "form", "base", "versions")
    return content_hash({part: plan[part] for part in parts})[:12]


def _kind(order: Order, source: Version) -> str:
    """How numbers are stored, checked against what the form allows."""
    allowed = KINDS[order.form]
    if order.form == "merged" and order.kind is None:
        return source.weights().stored_as
    kind = order.kind or allowed[0]
    if kind not in allowed:
        raise InputError(f"--type {kind} is no way to store {order.form!r}; {', '.join(allowed)} are.")
    return kind


def _check_base(order: Order, source: Version) -> None:
    """Whether the base at hand is the one that the adapter names."""
    if source.is_whole:
        if order.form in ("adapter", "adapter-gguf"):
            raise InputError(
                f"Every weight of model {source.id!r} was trained: it has no adapter. Choose --to merged or --to gguf."
            )
        return
    config = json.loads((source.folder / CONFIG).read_text("utf-8"))
    named, revision = config.get("base_model_name_or_path"), config.get("revision")
    base = source.base
    if named != base.hub_id or (revision and base.revision and revision != base.revision):
        raise InputError(
            f"Model {source.id!r} was tuned on {named} (revision {revision or 'unknown'}); the base at hand is "
            f"{base.hub_id} (revision {base.revision or 'unknown'}). Name the right one with --base."
        )
    source.weights()  # looks at the shapes of all layers


def _write(order: Order, source: Version, draft: Path, progress: Progress) -> None:
    """The weights, and what belongs to them."""
    match order.form:
        case "adapter":
            for name in (WEIGHTS, CONFIG):
                shutil.copyfile(source.folder / name, draft / name)
            _copy_tokenizer(source.source, draft)
        case "merged":
            dtype = cast("WeightType", order.kind)
            write_merged(source.weights(), draft, kind=dtype, shard_bytes=order.shard_bytes, progress=progress)
            _write_config(source.source, draft, dtype)
            _copy_tokenizer(source.source, draft)
        case "gguf":
            target = draft / f"{source.id}-{order.kind}.gguf"
            if not target.exists():
                kind = cast("GgufType", order.kind)
                export_model(source.source, source.arrays(), target, kind=kind, progress=progress)
        case "adapter-gguf":
            export_adapter(source.folder, draft / f"{source.id}-adapter.gguf", base_folder=source.base.folder)


def _write_config(source: Path, draft: Path, kind: WeightType) -> None:
    config = json.loads((source / "config.json").read_text("utf-8"))
    config.pop("_name_or_path", None)  # a folder of the machine that the base was saved on
    config.pop("torch_dtype", None)  # as older files call it
    config["dtype"] = str(WEIGHT_TYPES[kind][1]).removeprefix("torch.")
    (draft / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _copy_tokenizer(source: Path, draft: Path) -> None:
    for file in sorted(source.iterdir()):
        if file.name.startswith(TOKENIZER) and file.is_file():
            shutil.copyfile(file, draft / file.name)


def _write_words(order: Order, source: Version, draft: Path, facts: Sequence[tuple[str, str]]) -> None:
    """Card, curve, recipe and numbers; none of them names a folder of this machine."""
    card, base = source.card, source.base
    stored = [("stored as", str(order.kind))] if order.form in ("merged", "gguf") else []
    (draft / "README.md").write_text(
        model_card(replace(card, form=order.form, form_facts=[*stored, *facts])), encoding="utf-8"
    )
    run: Mapping[str, Any] = card.run  # Any: JSON
    (draft / CURVE).write_text(loss_curve(run.get("losses") or (), run.get("validation_losses") or ()), "utf-8")
    recipe = card.recipe.model_dump(mode="json") | {"base": base.hub_id, "revision": base.revision}
    (draft / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), "utf-8")
    (draft / "run.json").write_text(json.dumps(dict(run), indent=2, sort_keys=True) + "\n", "utf-8")
