from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from freehold.core.chat import Constraint, Message
from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.tuning.decode import greedy
from freehold.tuning.decoder import Decoder, processor
from freehold.tuning.labels import LabelTree
from freehold.tuning.predict import LocalModel
from freehold.tuning.tokens import Tokens
from freehold.tuning.train import train
from tests.tuning.conftest import LABELS, PROMPT, example

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.recipe import Recipe

QUESTIONS = ("lost my card", "the machine at Harbour Street ate it", "where", "refund 12.50 please " * 3)
NESTED = ("card", "card_lost", "card_lost_again", "refund", "card_swallowed", "Ünïcode ✓")


def conversation(text: str) -> list[Message]:
    return [Message("system", PROMPT), Message("user", text)]


@pytest.fixture(scope="module")
def model(base: BaseModel) -> LocalModel:
    return LocalModel(base, threads=1)


def slow_probabilities(base: BaseModel, text: str, labels: tuple[str, ...]) -> dict[str, float]:
    """Walk each label token by token with transformers' own pass, choosing among what labels allow."""
    plain = AutoModelForCausalLM.from_pretrained(base.folder).eval()
    tokens = Tokens(base.folder)
    prompt, answers = tokens.prompt(conversation(text)), [tokens.answer(label) for label in labels]
    found = {}
    for label, answer in zip(labels, answers, strict=True):
        score = 0.0
        for place, token in enumerate(answer):
            allowed = sorted({other[place] for other in answers if other[:place] == answer[:place]})
            with torch.inference_mode():
                logits = plain(torch.tensor([[*prompt, *answer[:place]]])).logits[0, -1]
            score += logits[allowed].log_softmax(-1)[allowed.index(token)].item()
        found[label] = math.exp(score)
    return found


@pytest.mark.parametrize("labels", [LABELS, NESTED])
def test_label_probabilities_are_those_of_the_slow_way(
    model: LocalModel, base: BaseModel, labels: tuple[str, ...]
) -> None:
    found = model.label_probabilities([conversation(text) for text in QUESTIONS], labels=labels, progress=Silent())
    for text, probabilities in zip(QUESTIONS, found, strict=True):
        expected = slow_probabilities(base, text, labels)
        assert probabilities == pytest.approx(expected, abs=1e-4)
        assert sum(probabilities.values()) == pytest.approx(1)


def test_a_label_answer_is_the_most_likely_label_with_its_probability(model: LocalModel) -> None:
    conversations = [conversation(text) for text in QUESTIONS]
    probabilities = model.label_probabilities(conversations, labels=LABELS, progress=Silent())
    answers = model.answer(conversations, constraint=Constraint(labels=LABELS), max_output_tokens=1, progress=Silent())
    for answer, row in zip(answers, probabilities, strict=True):
        assert answer.text == max(row, key=lambda label: row[label])
        assert answer.confidence == pytest.approx(row[answer.text])
        assert answer.usage.input_tokens
        assert answer.usage.output_tokens


def test_a_single_label_is_certain(model: LocalModel) -> None:
    found = model.label_probabilities([conversation("x")], labels=["only"], progress=Silent())
    assert found == [{"only": 1.0}]


@pytest.mark.parametrize("labels", [(), ("a", "a")])
def test_labels_must_be_distinct_and_some(model: LocalModel, labels: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="Labels must be distinct and at least one"):
        model.label_probabilities([conversation("x")], labels=labels, progress=Silent())


def test_decoding_in_a_batch_is_greedy_decoding_one_by_one(model: LocalModel, base: BaseModel) -> None:
    plain = AutoModelForCausalLM.from_pretrained(base.folder).eval()
    tokens = Tokens(base.folder)
    answers = model.answer(
        [conversation(text) for text in QUESTIONS], constraint=Constraint(), max_output_tokens=7, progress=Silent()
    )
    for text, answer in zip(QUESTIONS, answers, strict=True):
        line = list(tokens.prompt(conversation(text)))
        begin, score = len(line), 0.0
        for _ in range(7):
            with torch.inference_mode():
                best = plain(torch.tensor([line])).logits[0, -1].log_softmax(-1).max(-1)
            score += best.values.item()
            line.append(int(best.indices))
            if line[-1] == tokens.end:
                break
        assert answer.text == tokens.text(line[begin:])
        assert answer.confidence == pytest.approx(math.exp(score), rel=1e-3)
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (begin, len(line) - begin)


def test_rows_of_a_batch_end_when_they_say_so(base: BaseModel) -> None:
    decoder, tokens = Decoder(base.folder), Tokens(base.folder)
    for name, weight in decoder.model.named_parameters():
        weight.data *= 15 if "_proj" in name else 1  # wide weights, so that each row goes its own way
    prompts = [tokens.prompt(conversation(text)) for text in QUESTIONS]
    with torch.inference_mode():
        endless = [row.tokens for row in greedy(decoder, prompts, 3, end=-1, limit=12)]
        for end in sorted({token for row in endless for token in row}):
            cut = [row.index(end) if end in row else 12 for row in endless]
            found = greedy(decoder, prompts, 3, end=end, limit=12)
            assert [row.tokens for row in found] == [row[:place] for row, place in zip(endless, cut, strict=True)]
            assert [row.ended for row in found] == [place < 12 for place in cut]
    assert len({tuple(row) for row in endless}) == len(QUESTIONS)


def test_a_tuned_model_answers_what_it_was_taught_and_stops(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, tmp_path: Path
) -> None:
    same = [example(f"{row.messages[-1].content}", '{"amount": 12}', number) for number, row in enumerate(rows)]
    same[0] = example("other", '{"amount": 7}')
    eager = recipe.training.model_copy(update={"epochs": 40, "learning_rate": 0.01})
    adapter = train(
        task=task,
        train_rows=same,
        validation_rows=(),
        recipe=recipe.model_copy(update={"training": eager}),
        base=base,
        run_folder=tmp_path,
        progress=Silent(),
    )
    tuned = LocalModel(base, adapter.folder, name="own", threads=1)
    answers = tuned.answer(
        [row.messages for row in same[1:]],
        constraint=Constraint(json_schema={"type": "object"}),
        max_output_tokens=40,
        progress=Silent(),
    )
    assert tuned.name == "own"
    assert {answer.text for answer in answers} == {'{"amount": 12}'}
    assert min(answer.confidence or 0 for answer in answers) > 0.5
    assert all((answer.usage.output_tokens or 0) < 40 for answer in answers)


def test_nothing_asked_is_nothing_answered(model: LocalModel) -> None:
    assert model.answer([], constraint=Constraint(), max_output_tokens=5, progress=Silent()) == []


def test_a_prompt_longer_than_the_model_reads_is_refused(model: LocalModel) -> None:
    with pytest.raises(InputError, match=r"A prompt has \d+ tokens; tiny reads fewer than 512\."):
        model.answer([conversation("word " * 600)], constraint=Constraint(), max_output_tokens=5, progress=Silent())


@pytest.fixture
def adapter(task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, tmp_path: Path) -> Path:
    return train(
        task=task,
        train_rows=rows,
        validation_rows=(),
        recipe=recipe,
        base=base,
        run_folder=tmp_path / "run",
        progress=Silent(),
    ).folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, r"only plain LoRA is read here; found \['use_dora'\]"),
        ({"peft_type": "IA3"}, "only plain LoRA is read here; found IA3"),
        ({"bias": "all"}, "only plain LoRA is read here"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(
    adapter: Path, base: BaseModel, change: dict[str, Any], message: str
) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=message):
        LocalModel(base, adapter)


def test_an_adapter_of_another_model_is_refused(adapter: Path, base: BaseModel) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    moved = {name.replace("layers.3", "layers.9"): weight for name, weight in weights.items()}
    save_file(moved, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"model\.layers\.9\.mlp\.down_proj does not fit the base model"):
        LocalModel(base, adapter)


def test_a_folder_without_an_adapter_is_told(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no adapter \(adapter_config\.json and adapter_model\.safetensors\)"):
        LocalModel(base, tmp_path)


def test_a_model_of_an_unknown_type_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(InputError, match="model type 'gpt2' is not supported; known: llama, mistral"):
        Decoder(tmp_path)


def test_a_folder_without_a_model_or_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no model that transformers can read"):
        Decoder(tmp_path)
    with pytest.raises(InputError, match="holds no tokenizer that transformers can read"):
        Tokens(tmp_path)


@pytest.mark.parametrize(
    ("file", "key", "message"),
    [("chat_template.jinja", None, "has no chat template"), ("tokenizer_config.json", "eos_token", "end-of-turn")],
)
def test_a_tokenizer_that_cannot_chat_is_told(
    base: BaseModel, tmp_path: Path, file: str, key: str | None, message: str
) -> None:
    for path in base.folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    if key is None:
        (tmp_path / file).unlink()
    else:
        settings = json.loads((tmp_path / file).read_text())
        del settings[key]
        (tmp_path / file).write_text(json.dumps(settings))
    with pytest.raises(InputError, match=message):
        Tokens(tmp_path)


def test_how_the_process_computes_is_put_back(model: LocalModel) -> None:
    before = torch.get_num_threads()
    with processor(threads=1, products="bfloat16"):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    model.answer([conversation("x")], constraint=Constraint(), max_output_tokens=1, progress=Silent())
    assert torch.get_num_threads() == before


def test_the_tree_of_labels_forks_only_where_they_differ() -> None:
    tree = LabelTree([(1, 2, 3, 9), (1, 2, 4, 9), (1, 2, 9)])
    fork = tree.fork(0)
    assert fork is not None
    assert [tree.token[node] for node in reversed(tree.path(fork))] == [1, 2]
    assert [tree.token[child] for child in tree.children[fork]] == [3, 4, 9]
    assert all(tree.fork(child) is None for child in tree.children[fork])
