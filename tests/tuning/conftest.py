"""A tiny base model, a handful of rows and a recipe that trains on them in a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load_file, save_file

from freehold.core.chat import Message
from freehold.core.dataset import Example
from freehold.core.progress import Silent
from freehold.core.task import Task
from freehold.tuning.bases import BaseModel, fetch_base
from freehold.tuning.recipe import Recipe, load_recipe
from tests.tiny_model import make_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = "Name the topic."
LABELS = ("card_lost", "card_swallowed", "refund_missing")
WORDS = (
    ("lost my card", "card_lost"),
    ("the machine ate it", "card_swallowed"),
    ("where is my money", "refund_missing"),
)
TINY = (
    "lora.upper_layers=2",
    "lora.rank=4",
    "threads=1",
    "precision=float32",
    "training.learning_rate=0.003",
    "training.batch_size=8",
    "training.max_tokens=128",
    "training.checkpoint_steps=2",
)


def example(text: str, target: str, number: int = 0) -> Example:
    """A row as the datasets room makes it."""
    return Example(
        id=str(number),
        messages=(Message("system", PROMPT), Message("user", text)),
        target=target,
        split="train",
        provenance="human-labelled",
        group=str(number),
    )


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """A model that can be sure of an answer: its last normalisation is loud, and its end token is not zero."""
    folder = make_tiny_model(tmp_path_factory.mktemp("tuning") / "tiny")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] *= 8
    weights["model.embed_tokens.weight"][2] = weights["model.embed_tokens.weight"][0].flip(0)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return fetch_base(str(folder), progress=Silent())


@pytest.fixture
def task() -> Task:
    return Task(name="topics", kind="classification", labels=LABELS, own_prompt=PROMPT)


@pytest.fixture
def rows() -> list[Example]:
    """24 rows of three labels, of different lengths."""
    return [
        example(f"{'please ' * (number % 4)}{text} {number}", target, number)
        for number, (text, target) in enumerate(WORDS * 8)
    ]


@pytest.fixture
def recipe(base: BaseModel) -> Recipe:
    return load_recipe("smollm2-135m-cpu", [f"base={base.folder}", *TINY])


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "run"
