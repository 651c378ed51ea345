"""Forms of a version: written whole, compared with PyTorch, asked the cases, described in a card."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from freehold.core.chat import Message
from freehold.core.dataset import Example
from freehold.core.errors import FreeholdError, InputError
from freehold.core.progress import Silent
from freehold.registry.artefacts import lost_files
from freehold.serving.artefacts import checks, make
from freehold.serving.artefacts.agreement import Agreement, check_agreement
from freehold.serving.artefacts.checks import Checks
from freehold.serving.artefacts.folder import MANIFEST, read_manifest, sha256_of, unfinished
from freehold.serving.artefacts.make import Order, make_artefact
from freehold.serving.artefacts.version import Version
from freehold.serving.gguf_export import export_model
from freehold.tuning.bases import FACTS, fetch_base
from freehold.tuning.card import Card, Metric
from freehold.tuning.recipe import load_recipe
from tests.serving.endpoints import TOPIC

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serving.conftest import SaveAdapter, TinyModel

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it
RUN = {
    "examples": 20,
    "left_out": 0,
    "final_loss": 0.5,
    "best_epoch": 1,
    "validation_losses": [0.6],
    "losses": [1.0, 0.5],
    "seconds": 30.0,
    "cpu_seconds": 60.0,
}
METRICS = (
    Metric(name="topic-1", kind="own", value=0.9, ci_low=0.8, ci_high=0.95, n=40),
    Metric(name="majority | <b>", kind="baseline", value=0.4, ci_low=0.3, ci_high=0.5, n=40),
)


def case(number: int) -> Example:
    words = ("lost my card", "the machine ate it", "please help", "where is my money")
    return Example(
        id=f"case-{number}",
        messages=(Message("system", TOPIC.own_prompt), Message("user", f"{words[number % 4]} {number}")),
        target=TOPIC.labels[number % len(TOPIC.labels)],
        split="validation",
        provenance="human-labelled",
        group=str(number),
    )


CASES = [case(number) for number in range(8)]


@pytest.fixture(scope="module")
def version(tiny: TinyModel, save_adapter: SaveAdapter, tmp_path_factory: pytest.TempPathFactory) -> Version:
    folder = tmp_path_factory.mktemp("version")
    base = shutil.copytree(tiny.folder, folder / "tiny")
    facts = {"hub_id": "acme/tiny", "revision": "abc123", "licence": "apache-2.0", "source": "test"}
    (base / FACTS).write_text(json.dumps(facts))
    adapter = save_adapter(base, folder / "adapter", seed=1, lora_alpha=4)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": "acme/tiny", "revision": "abc123"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    found = fetch_base(str(base), progress=Silent())
    sha256 = sha256_of(adapter / "adapter_model.safetensors")
    recipe = load_recipe("smollm2-135m-cpu", [f"base={base}", "threads=1", "devices.type=cpu"])
    card = Card(
        model="topic-1",
        task=TOPIC,
        base=found,
        recipe=recipe,
        run=RUN,
        sha256=sha256,
        metric="accuracy",
        metrics=METRICS,
    )
    return Version(id="topic-1", sha256=sha256, folder=adapter, base=found, card=card)


class Desk:
    """Makes artefacts of one version below one folder."""

    def __init__(self, folder: Path, version: Version) -> None:
        self.folder, self.version = folder, version
        self.checks = Checks(base_files=folder / "bases", log_file=folder / "log", threads=1)

    def order(self, form: Any, kind: str | None = None, **more: Any) -> Order:
        target = self.folder / "out" / f"{form}-{kind}"
        settings: dict[str, Any] = {"use": "commercial", "checks": self.checks, "target": target, **more}
        return Order(form=form, kind=kind, **settings)

    def make(
        self, form: str, kind: str | None = None, *, version: Version | None = None, **more: Any
    ) -> tuple[dict[str, Any], bool]:
        order = self.order(form, kind, **more)
        return make_artefact(order, version or self.version, CASES, scores=self.folder / "scores", progress=Silent())


@pytest.fixture
def desk(tmp_path: Path, version: Version) -> Desk:
    return Desk(tmp_path, version)


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    text = (folder / "README.md").read_text("utf-8")
    return yaml.safe_load(text.split("---")[1]), text


def test_the_adapter_comes_with_tokenizer_and_card_and_loads_in_peft(desk: Desk, version: Version) -> None:
    manifest, is_made = desk.make("adapter")
    folder = desk.folder / "out" / "adapter-None"

    assert is_made
    assert sorted(file.name for file in folder.iterdir()) == sorted([*manifest["files"], MANIFEST])
    assert {"adapter_model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md", "loss.svg"} <= set(
        manifest["files"]
    )
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("acme/tiny", "abc123")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(version.base.folder), folder)
    assert model.peft_config["default"].r == 4
    assert AutoTokenizer.from_pretrained(folder).chat_template


@pytest.mark.parametrize("form", ["adapter", "merged", "gguf", "adapter-gguf"])
def test_no_file_of_an_artefact_names_a_folder_of_this_machine(form: str, desk: Desk) -> None:
    manifest, _ = desk.make(form)
    folder = desk.folder / "out" / f"{form}-None"
    here = [str(desk.folder), str(desk.version.base.folder), str(desk.version.folder)]

    for name in [*manifest["files"], MANIFEST]:
        content = (folder / name).read_bytes()
        assert not any(path.encode() in content for path in here), name
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["base"] == "acme/tiny"


def test_a_merged_model_says_what_peft_says(desk: Desk, version: Version) -> None:
    manifest, _ = desk.make("merged")
    folder = desk.folder / "out" / "merged-None"

    assert manifest["kind"] == "f32"
    assert manifest["agreement"]["max_difference"] < manifest["agreement"]["max_tolerance"] == 0.01
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(version.base.folder), version.folder)
    line = torch.tensor([[4, 5, 6, 7, 8]])
    with torch.inference_mode():
        torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(folder)(line).logits, peft(line).logits)


@pytest.mark.parametrize(("form", "file"), [("gguf", "topic-1-q8_0.gguf"), ("adapter-gguf", "topic-1-adapter.gguf")])
def test_what_the_engine_reads_is_compared_with_pytorch_and_with_16_bits(form: str, file: str, desk: Desk) -> None:
    manifest, _ = desk.make(form, "q8_0")

    assert file in manifest["files"]
    assert not any(name.endswith("f16.gguf") for name in manifest["files"])
    agreement, quality = manifest["agreement"], manifest["quality"]
    assert agreement["places"] > 20
    assert 0 < agreement["mean_difference"] <= agreement["mean_tolerance"]
    assert agreement["mean_difference"] < agreement["max_difference"] <= agreement["max_tolerance"]
    assert (quality["n"], quality["metric"], quality["split"]) == (8, "accuracy", "validation")
    assert quality["difference_ci_low"] <= quality["difference"] <= quality["difference_ci_high"]
    assert quality["reference"] == f"topic-1-{form}-f16"
    assert 0 <= quality["same_answers"] <= 1
    _, text = card_of(desk.folder / "out" / f"{form}-q8_0")
    assert "verified against PyTorch" in text
    assert f"difference to topic-1-{form}-f16" in text


def test_the_same_order_again_makes_nothing_and_a_changed_file_is_made_again(desk: Desk) -> None:
    first, _ = desk.make("gguf", "f16")
    folder = desk.folder / "out" / "gguf-f16"
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}

    again, is_made = desk.make("gguf", "f16")
    assert (again, is_made) == (first, False)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before

    (folder / "README.md").write_text("mine")
    assert lost_files(folder, first["files"]) == ["README.md"]
    mended, is_made = desk.make("gguf", "f16")
    assert (mended, is_made) == (first, True)
    assert lost_files(folder, mended["files"]) == []


def test_what_was_interrupted_goes_on_and_never_looks_whole(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checks, "quality_of", cut)
        with pytest.raises(KeyboardInterrupt):
            desk.make("gguf", "f16")
    target = desk.folder / "out" / "gguf-f16"
    draft = target.with_name(".gguf-f16.partial")
    assert not target.exists()
    assert not (draft / MANIFEST).exists()
    written = (draft / "topic-1-f16.gguf").stat().st_mtime_ns

    _, is_made = desk.make("gguf", "f16")

    assert is_made
    assert (target / "topic-1-f16.gguf").stat().st_mtime_ns == written
    assert [file.name for file in target.parent.iterdir()] == ["gguf-f16"]


def test_what_another_order_left_behind_is_thrown_away(desk: Desk) -> None:
    target = desk.folder / "out" / "gguf-f16"
    with unfinished(target, "another") as draft:
        (draft / "topic-1-f16.gguf").write_bytes(b"of another base")
    desk.make("gguf", "f16")
    assert (target / "topic-1-f16.gguf").read_bytes()[:4] == b"GGUF"


def test_two_at_once_do_not_write_one_folder(desk: Desk) -> None:
    with (
        unfinished(desk.folder / "out" / "adapter-None", "x"),
        pytest.raises(InputError, match="Another process is writing"),
    ):
        desk.make("adapter")


def test_scores_of_cases_that_were_asked_are_kept_and_half_a_line_is_asked_again(desk: Desk) -> None:
    first, _ = desk.make("gguf", "f16")
    (scores,) = (desk.folder / "scores").iterdir()
    lines = scores.read_text().splitlines()
    assert len(lines) == len(CASES)
    assert set(json.loads(lines[0])) == {"id", "score", "answer"}
    scores.write_text("\n".join([*lines[:3], lines[3][:10]]))
    shutil.rmtree(desk.folder / "out")

    again, _ = desk.make("gguf", "f16")

    assert again["quality"] == first["quality"]
    assert sorted(scores.read_text().splitlines()) == sorted(lines)


def test_a_folder_of_somebody_else_or_of_another_model_is_left_alone(desk: Desk, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match=re.escape("exists and is no artefact of Freehold's")):
        desk.make("adapter", target=mine)
    assert [file.name for file in mine.iterdir()] == ["notes.txt"]

    desk.make("adapter")
    other = replace(desk.version, id="topic-2")
    taken = re.escape("holds topic-1 as adapter (f32). Name another folder with --out.")
    with pytest.raises(InputError, match=taken):
        desk.make("adapter", version=other)
    with pytest.raises(InputError, match=taken):
        desk.make("merged", target=desk.folder / "out" / "adapter-None")


def test_a_place_that_cannot_be_written_is_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        desk.make("adapter", target=tmp_path / "file" / "out")


FILL = """
import resource, sys
from pathlib import Path
from freehold.core.errors import FreeholdError
from freehold.core.progress import Silent
from freehold.serving.gguf_export import export_base
from freehold.tuning._files import told_when_full
from freehold.tuning.merge import MergedWeights, write_merged
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (
    lambda: export_base(folder, out / "model.gguf"),
    lambda: write_merged(MergedWeights(folder), out, kind="f32", shard_bytes=10**9, progress=Silent()),
):
    try:
        with told_when_full(out, "run it again."):
            write()
    except FreeholdError as error:
        print(error.exit_code, error)
"""


def test_a_full_disk_is_told_and_leaves_no_file_that_looks_whole(tiny: TinyModel, tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that is full: both end a write in the middle."""
    done = subprocess.run(
        [sys.executable, "-c", FILL, tiny.folder, tmp_path], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(f"1 The disk of {tmp_path} is full: model.gguf could not be written whole")
    assert second.startswith(f"1 The disk of {tmp_path} is full.")
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith(".")] == []


def test_without_checks_or_cases_an_artefact_says_that_nothing_was_checked(desk: Desk) -> None:
    unchecked, _ = desk.make("gguf", "q4_0", checks=None)
    assert unchecked["warnings"] == ["It was not checked against PyTorch: --no-check."]
    assert (unchecked["agreement"], unchecked["quality"]) == (None, None)
    assert "It was not checked against PyTorch" in card_of(desk.folder / "out" / "gguf-q4_0")[1]

    none, _ = make_artefact(desk.order("merged"), desk.version, [], scores=desk.folder / "scores", progress=Silent())
    assert none["warnings"] == ["It was not checked: there are no cases of its dataset left to ask."]


def test_weights_that_came_out_wrong_are_found_and_not_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(folder: Path, weights: Any, target: Path, **more: Any) -> Path:
        whole = weights.read

        class Spoilt:
            shapes = weights.shapes

            def read(self, name: str) -> Any:
                return whole(name) * (1.5 if name == "model.layers.1.self_attn.v_proj.weight" else 1)

        return export_model(folder, Spoilt(), target, **more)

    monkeypatch.setattr(make, "export_model", spoilt)
    with pytest.raises(FreeholdError, match=r"does not say what PyTorch says: at \d+ places log-probabilities"):
        desk.make("gguf", "f16")
    assert read_manifest(desk.folder / "out" / "gguf-f16") is None


@pytest.mark.parametrize(
    ("mean", "largest"), [(0.0, 0.11), (0.006, 0.01), (float("nan"), 0.0), (0.0, float("nan")), (0.0, float("inf"))]
)
def test_a_difference_beyond_the_tolerance_or_no_number_is_refused(mean: float, largest: float) -> None:
    near = Agreement(
        places=1,
        compared=1,
        mean_difference=0.005,
        max_difference=0.1,
        same_first=1.0,
        mean_tolerance=0.005,
        max_tolerance=0.1,
    )
    check_agreement(near, name="topic-1")
    with pytest.raises(FreeholdError, match="It was not kept"):
        check_agreement(replace(near, mean_difference=mean, max_difference=largest), name="topic-1")


def test_a_base_of_another_name_or_revision_is_refused(desk: Desk, version: Version) -> None:
    for base in (replace(version.base, revision="fff"), replace(version.base, hub_id="acme/other")):
        other = replace(version, base=base)
        with pytest.raises(InputError) as caught:
            desk.make("merged", version=other)
        assert "was tuned on acme/tiny (revision abc123); the base at hand is" in str(caught.value)


def test_a_base_of_another_shape_is_refused(desk: Desk, version: Version, tmp_path: Path) -> None:
    folder = shutil.copytree(version.base.folder, tmp_path / "narrow")
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.2.mlp.down_proj.weight"
    weights[name] = weights[name][:, :64].contiguous()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    other = replace(version, base=replace(version.base, folder=folder))
    with pytest.raises(InputError, match="does not fit: the base has one of 64 x 64"):
        desk.make("merged", version=other)


def test_a_licence_that_forbids_the_use_stops_it_and_an_unknown_one_is_told(desk: Desk, version: Version) -> None:
    def of(licence: str) -> Version:
        base = replace(version.base, licence=licence)
        return replace(version, base=base, card=replace(version.card, base=base))

    with pytest.raises(InputError, match="does not allow commercial use"):
        desk.make("adapter", version=of("cc-by-nc-4.0"))
    research, _ = desk.make("adapter", version=of("cc-by-nc-4.0"), use="research")
    assert research["licence"]["commercial"] == "no"
    front, text = card_of(desk.folder / "out" / "adapter-None")
    assert (front["license"], "NOT allowed" in text) == ("cc-by-nc-4.0", True)

    unknown, _ = desk.make("adapter", version=of("unknown"), target=desk.folder / "unknown")
    assert unknown["warnings"][0].startswith("Nobody has told the licence of the base.")
    conditions, _ = desk.make("adapter", version=of("llama3.1"), target=desk.folder / "llama")
    assert "700 million" in conditions["warnings"][0]
    assert 'says "Built with Llama"' in card_of(desk.folder / "llama")[1].replace("\n", " ")


def test_a_way_to_store_that_a_form_does_not_have_is_refused(desk: Desk) -> None:
    for form, kind, allowed in (
        ("merged", "q4_0", "f32, bf16, f16"),
        ("gguf", "bf16", "f16, q8_0, q4_0"),
        ("adapter", "f16", "f32"),
    ):
        with pytest.raises(InputError, match=re.escape(f"--type {kind} is no way to store '{form}'; {allowed} are.")):
            desk.make(form, kind)


def test_a_whole_model_is_stored_from_its_own_weights_and_has_no_adapter(
    desk: Desk, version: Version, tmp_path: Path
) -> None:
    folder = shutil.copytree(version.base.folder, tmp_path / "whole")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.down_proj.weight"] *= 2
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    whole = replace(version, folder=folder)

    desk.make("merged", version=whole)
    found = load_file(desk.folder / "out" / "merged-None" / "model.safetensors")
    assert all(torch.equal(found[name], weights[name]) for name in found)
    assert desk.make("gguf", "f16", version=whole)[0]["agreement"]["max_difference"] < 0.05
    for form in ("adapter", "adapter-gguf"):
        with pytest.raises(InputError, match=r"it has no adapter\. Choose --to merged or --to gguf"):
            desk.make(form, version=whole)
