from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING

import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.tuning import states
from freehold.tuning.decoder import Decoder
from freehold.tuning.packing import pack
from freehold.tuning.predict import merge_adapter
from freehold.tuning.recipe import Recipe, load_recipe
from freehold.tuning.tokens import Tokens
from freehold.tuning.train import resolve, train
from tests.tuning.conftest import PROMPT, example

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.tuning.adapter import TrainedAdapter
    from freehold.tuning.bases import BaseModel

    Again = Callable[[list[Example], Path], TrainedAdapter]


@pytest.fixture
def trained(task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path) -> TrainedAdapter:
    return _train(task, rows, recipe, base, run_folder)


@pytest.fixture
def again(task: Task, recipe: Recipe, base: BaseModel) -> Again:
    """The same training with rows and a folder of choice."""
    return lambda rows, folder: _train(task, rows, recipe, base, folder)


def _train(task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, folder: Path) -> TrainedAdapter:
    return train(
        task=task,
        train_rows=rows,
        validation_rows=rows[:3],
        recipe=recipe,
        base=base,
        run_folder=folder,
        progress=Silent(),
    )


def test_plain_peft_loads_the_adapter_on_the_whole_base(trained: TrainedAdapter, base: BaseModel) -> None:
    line = torch.tensor([[4, 5, 6, 7, 8]])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # PEFT asks for it
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.folder), trained.folder).eval()
    decoder = Decoder(base.folder)
    untuned = decoder.logits(decoder.run(decoder.embed(line), pack(0, [5]))[0])
    merge_adapter(decoder, trained.folder)
    with torch.inference_mode():
        by_peft = model(line).logits[0]
        ours = decoder.logits(decoder.run(decoder.embed(line), pack(0, [5]))[0])
    torch.testing.assert_close(ours, by_peft, atol=1e-5, rtol=1e-4)
    assert (ours - untuned).abs().max() > 0.01


def test_the_folder_tells_where_it_comes_from_and_names_no_local_path(
    trained: TrainedAdapter, base: BaseModel, tmp_path: Path
) -> None:
    assert sorted(path.name for path in trained.folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "loss.svg",
        "recipe.yaml",
        "run.json",
    ]
    texts = {path.name: path.read_text() for path in trained.folder.iterdir() if path.suffix != ".safetensors"}
    config, run = json.loads(texts["adapter_config.json"]), json.loads(texts["run.json"])
    assert (config["base_model_name_or_path"], config["r"], config["layers_to_transform"]) == ("tiny", 4, [2, 3])
    assert run["sha256"] == trained.sha256
    assert run["losses"] == list(trained.losses)
    front = yaml.safe_load(texts["README.md"].split("---")[1])
    assert (front["base_model"], front["library_name"]) == ("tiny", "peft")
    assert PROMPT in texts["README.md"]
    assert not any(str(tmp_path) in texts[name] for name in texts if name != "recipe.yaml")
    assert load_recipe(str(trained.folder / "recipe.yaml")).precision == "float32"


def test_nothing_is_left_of_the_run_but_the_adapter(trained: TrainedAdapter, run_folder: Path) -> None:
    assert sorted(path.name for path in run_folder.iterdir()) == ["adapter", "metrics.jsonl"]


def test_a_finished_run_is_not_repeated(
    trained: TrainedAdapter, again: Again, rows: list[Example], run_folder: Path
) -> None:
    before = (trained.folder / "run.json").stat().st_mtime_ns
    assert again(rows, run_folder) == trained
    assert (trained.folder / "run.json").stat().st_mtime_ns == before
    other = again(rows[:22], run_folder)
    assert (other.examples, other.sha256 == trained.sha256) == (22, False)


def test_only_the_adapter_learns(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path
) -> None:
    before = (base.folder / "model.safetensors").read_bytes()
    _train(task, rows, recipe, base, run_folder)
    assert (base.folder / "model.safetensors").read_bytes() == before


def test_stored_states_in_a_file_give_the_same_adapter(
    trained: TrainedAdapter, again: Again, rows: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "MEMORY_BYTES", 0)
    assert again(rows, tmp_path / "other").sha256 == trained.sha256


def test_adapting_all_layers_trains_too(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path
) -> None:
    whole = recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"upper_layers": None})})
    adapter = _train(task, rows, whole, base, run_folder)
    assert adapter.losses[-1] < adapter.losses[0]


def test_too_few_rows_are_refused(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path
) -> None:
    with pytest.raises(InputError, match=r"Task 'topics' has 19 training rows; tuning needs 20 or more\. Import more"):
        _train(task, rows[:19], recipe, base, run_folder)
    assert not run_folder.exists()


def test_one_label_only_is_refused(task: Task, recipe: Recipe, base: BaseModel, run_folder: Path) -> None:
    rows = [example(f"text {number}", "card_lost", number) for number in range(30)]
    with pytest.raises(InputError, match=r"All 30 training rows of task 'topics' have one and the same label\."):
        _train(task, rows, recipe, base, run_folder)


def test_empty_answers_are_refused(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path
) -> None:
    with pytest.raises(InputError, match=r"2 training rows of task 'topics' have an empty answer\."):
        _train(task, [*rows, example("x", ""), example("y", " ")], recipe, base, run_folder)


def test_a_few_rows_that_are_too_long_are_left_out_and_counted(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path
) -> None:
    adapter = _train(task, [*rows, example("long " * 60, "card_lost")], recipe, base, run_folder)
    assert (adapter.examples, adapter.left_out) == (24, 1)


def test_many_rows_that_are_too_long_are_refused(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path
) -> None:
    short = recipe.model_copy(update={"training": recipe.training.model_copy(update={"max_tokens": 12})})
    with pytest.raises(InputError, match=r"24 of 24 rows have more than 12 tokens \(the longest \d+\)\. Raise"):
        _train(task, rows, short, base, run_folder)


def test_more_tokens_than_the_base_can_read_are_refused(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path
) -> None:
    long = recipe.model_copy(update={"training": recipe.training.model_copy(update={"max_tokens": 4096})})
    with pytest.raises(InputError, match=r"training\.max_tokens is 4096; tiny reads at most 512 tokens\."):
        _train(task, rows, long, base, run_folder)


def test_a_resolved_recipe_names_threads_and_precision(recipe: Recipe) -> None:
    resolved = resolve(recipe.model_copy(update={"threads": None, "precision": "auto"}))
    assert resolved.threads == torch.get_num_threads()
    assert resolved.precision in {"float32", "bfloat16"}
    assert resolve(resolved) == resolved


def test_prompt_and_answer_are_the_tokens_of_the_chat_template(base: BaseModel) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    row = example("lost my card 12", "card_lost")
    turns = [*(message.as_dict() for message in row.messages), {"role": "assistant", "content": row.target}]
    whole = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False))["input_ids"]
    encoded = Tokens(base.folder).example(row)
    newline = tokenizer("\n")["input_ids"]  # the template ends a turn with one; nobody generates it
    assert [*encoded.prompt, *encoded.answer, *newline] == whole
    assert len(encoded) == len(whole) - 1


def test_a_conversation_without_a_system_message_gets_an_empty_one(base: BaseModel) -> None:
    tokens = Tokens(base.folder)
    text = tokens.text(tokens.prompt(example("hi", "x").messages[1:]))
    assert "helpful" not in text
