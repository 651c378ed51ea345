"""What a model card says, and that nothing hostile in it acts on a page."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.core.task import Task
from freehold.tuning.bases import BaseModel, known_bases
from freehold.tuning.card import Card, Metric, model_card
from freehold.tuning.energy import footprint
from freehold.tuning.licences import Licence, check_use, licence_of
from freehold.tuning.recipe import load_recipe

RUN: dict[str, Any] = {
    "examples": 753,
    "left_out": 2,
    "final_loss": 0.25,
    "best_epoch": 2,
    "validation_losses": [0.5, 0.25],
    "seconds": 1800.0,
    "cpu_seconds": 3600.0,
}
DATA: dict[str, Any] = {
    "dataset": "topics-0123",
    "sha256": "f" * 64,
    "rows": {"train": 753, "validation": 100, "test": 87},
    "provenance": {"human-labelled": 900, "human-corrected": 40},
    "terms": {"train": {"own": 700, "provider": 53}, "test": {"own": 87}},
    "months": {"train": {"2026-01": 500, "2026-03": 253}, "test": {"2026-04": 87, "undated": 1}},
    "classes": {"train": {"card_lost": 600, "refund": 153}},
    "pii": {"email": 12},
    "duplicates_grouped": 31,
    "label_conflicts": None,
    "purged": {"train": 4},
}


def make_card(**more: Any) -> Card:
    base = BaseModel(
        name="tiny",
        folder=None,  # type: ignore[arg-type]  # a card may not look at it
        gguf=None,
        hub_id="acme/tiny",
        revision="abc123",
        licence="apache-2.0",
        source="test",
    )
    task = Task(name="topics", kind="classification", labels=("card_lost", "refund"), own_prompt="Name the topic.")
    recipe = load_recipe("smollm2-135m-cpu", ["devices.type=cpu", "precision=float32"])
    settings = {"model": "topics-1", "task": task, "base": base, "recipe": recipe, "run": RUN, "sha256": "a" * 64}
    return Card(**{**settings, **more})


def parts(text: str) -> tuple[dict[str, Any], str]:
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_a_card_tells_data_training_power_and_licence() -> None:
    metrics = [Metric(name="topics-1", kind="own", value=0.912345, ci_low=0.88, ci_high=0.94, n=87)]
    front, body = parts(model_card(make_card(data=DATA, metric="accuracy", metrics=metrics)))

    assert (front["base_model"], front["license"], front["library_name"]) == ("acme/tiny", "apache-2.0", "peft")
    (entry,) = front["model-index"]
    assert entry["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.9123}]
    # One hour of one core at 8 W, 1.4 times that for the room, at 470 g a kWh.
    assert front["co2_eq_emissions"]["emissions"] == pytest.approx(8 / 1000 * 1.4 * 470, rel=1e-2)
    for said in (
        "753 train, 100 validation, 87 test",
        "900 human-labelled, 40 human-corrected",
        "787 own, 53 provider",
        "2026-01 to 2026-04",
        "| contradictory labels | not counted |",
        "2; the largest has 80% of the training rows",
        "| purged since | 4 train |",
        "| topics-1 | own | 0.912 | 0.880 to 0.940 | 87 |",
        "> Name the topic.",
        "one of 2 labels: `card_lost`, `refund`",
        "lowest validation loss | 0.2500",
        "Apache License 2.0",
        "in an enterprise's own work | allowed |",
    ):
        assert said in body, said
    assert "has not been measured" not in body
    assert "did better" not in body


def test_who_did_better_stands_among_the_limits() -> None:
    metrics = [
        Metric(name="topics-1", kind="own", value=0.5, ci_low=0.4, ci_high=0.6, n=87),
        Metric(name="linear", kind="baseline", value=0.6, ci_low=0.5, ci_high=0.7, n=87),
        Metric(name="majority", kind="baseline", value=0.1, ci_low=0.0, ci_high=0.2, n=87),
    ]
    _, body = parts(model_card(make_card(metric="accuracy", metrics=metrics)))
    assert "- On the test cases linear (baseline) did better: 0.600 against 0.500." in body
    assert body.count("did better") == 1


def test_what_is_not_known_is_said() -> None:
    card = make_card(run={**RUN, "best_epoch": None, "validation_losses": []}, data=None)
    front, body = parts(model_card(replace(card, base=replace(card.base, licence="unknown", revision=None))))

    assert "model-index" not in front
    assert "How good its answers are has not been measured." in body
    assert "(revision `unknown`)" in body
    assert "unknown: read the licence before" in body
    assert "lowest validation loss | none" in body
    assert "Not known here: the dataset was not at hand" in body


@pytest.mark.parametrize(
    ("form", "recipe", "library", "relation"),
    [
        ("adapter", "method=lora", "peft", "adapter"),
        ("adapter", "method=full", "transformers", "finetune"),
        ("merged", "method=lora", "transformers", "finetune"),
        ("gguf", "method=lora", "gguf", "quantized"),
        ("adapter-gguf", "method=lora", "gguf", "adapter"),
    ],
)
def test_hubs_are_told_what_the_form_is_to_its_base(form: Any, recipe: str, library: str, relation: str) -> None:
    card = make_card(form=form, recipe=load_recipe("smollm2-135m-cpu", [recipe, "devices.type=cpu"]))
    front, _ = parts(model_card(card))
    assert (front["library_name"], front["base_model_relation"]) == (library, relation)


HOSTILE = st.text(alphabet=st.sampled_from("ab`|<>[]()#-*\n\r\t :'\"{}&\u202e\x1b"), min_size=1, max_size=40)


@given(name=HOSTILE, prompt=HOSTILE, label=HOSTILE, contender=HOSTILE)
def test_words_of_others_neither_break_the_front_matter_nor_leave_their_cell(
    name: str, prompt: str, label: str, contender: str
) -> None:
    task = Task(name=name, kind="classification", labels=(label, "b"), own_prompt=prompt)
    metrics = [Metric(name=contender, kind="own", value=0.5, ci_low=0.4, ci_high=0.6, n=9)]
    front, body = parts(model_card(make_card(task=task, metric="accuracy", metrics=metrics)))

    assert front["base_model"] == "acme/tiny"
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == name
    lines = body.splitlines()
    (row,) = [line for line in lines if line.endswith("| 0.500 | 0.400 to 0.600 | 9 |")]
    assert row.count("|") == 6
    assert "<" not in row
    headings = [line for line in lines if line.startswith("#")]
    assert len(headings) == 7
    assert "<" not in headings[0]


def test_a_run_on_devices_counts_their_hours() -> None:
    found = footprint(device="cuda", devices=8, seconds=1800.0, cpu_seconds=99.0)
    assert (found.hours, found.counted) == (4.0, "cuda devices")
    assert found.kwh[1] == pytest.approx(4.0 * 0.85 * 1.4)
    assert found.usd[1] == pytest.approx(4.0 * 0.85 * 1.4 * 0.13)
    assert found.kg_co2[0] < found.kg_co2[1] < found.kg_co2[2]
    assert all("assumption" in each for each in found.assumptions)


@pytest.mark.parametrize(
    ("name", "commercial"),
    [("apache-2.0", "yes"), ("Apache-2.0", "yes"), ("llama3.1", "conditions"), ("llama3.3", "conditions"),
     ("gemma", "conditions"), ("cc-by-nc-4.0", "no"), ("other", "unknown"), ("", "unknown"), ("acme-1", "unknown")],
)  # fmt: skip
def test_a_licence_is_known_by_the_name_that_hubs_use(name: str, commercial: str) -> None:
    licence = licence_of(name)
    assert licence.commercial == commercial
    assert (licence.source is None) == (commercial == "unknown")
    assert (licence.warning() is None) == (commercial == "yes")


def test_every_known_licence_says_where_its_text_is() -> None:
    names = yaml.safe_load((resources.files("freehold.tuning") / "licences.yaml").read_text("utf-8"))
    for name in names:
        licence = licence_of(str(name))
        assert licence.source
        assert licence.source.startswith("https://")
        assert licence.sharing in ("yes", "conditions", "no")
        assert bool(licence.conditions) or licence.sharing == "yes"


def test_every_base_that_can_be_fetched_by_name_has_a_licence_that_is_known() -> None:
    assert all(licence_of(base.licence).commercial != "unknown" for base in known_bases().values())


def test_a_use_that_the_licence_forbids_is_refused_and_research_is_not() -> None:
    with pytest.raises(InputError, match="does not allow commercial use"):
        check_use(licence_of("qwen-research"), "commercial")
    check_use(licence_of("qwen-research"), "research")
    check_use(Licence(id="x", title="X.", commercial="unknown", sharing="unknown"), "commercial")


def test_a_card_is_json_free_of_surprises() -> None:
    """The numbers of a run may hold more than a card reads: it must not print what it was not asked for."""
    secret = json.dumps({"forecast": "/home/someone"})
    assert "/home/someone" not in model_card(make_card(run={**RUN, "notes": [secret], "forecast": secret}))
