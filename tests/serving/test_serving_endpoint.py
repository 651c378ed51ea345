from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import openai
import pytest

from freehold.core.task import Task
from freehold.serving.endpoint import ServedModel, running_endpoint
from tests.serving.endpoints import LABELS, Served, ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from freehold.core.call import Call
    from tests.serving.conftest import TinyModel


def test_a_task_is_answered_by_its_first_version_with_one_of_its_labels(served: Served) -> None:
    answer = ask(served.client, "topic")
    assert answer.choices[0].message.content in LABELS
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", "topic-111111111111")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 2


def test_the_clients_instructions_are_replaced_by_the_tasks_own_prompt(served: Served) -> None:
    tokens = {
        ask(served.client, "topic").usage.prompt_tokens,
        served.client.chat.completions.create(
            model="topic",
            messages=[
                {"role": "developer", "content": "Something much longer than that " * 5},
                {"role": "user", "content": "My card is gone"},
            ],
        ).usage.prompt_tokens,  # type: ignore[union-attr]
    }
    assert len(tokens) == 1


def test_an_extraction_is_a_json_object_of_the_tasks_fields(served: Served) -> None:
    text = ask(served.client, "dispute").choices[0].message.content
    value = json.loads(text)
    assert list(value) == ["currency", "wants"]
    assert text == json.dumps(value)


def test_streamed_pieces_are_the_whole_answer_and_are_recorded_as_one(served: Served) -> None:
    whole = ask(served.client, "dispute").choices[0].message.content
    chunks = list(ask(served.client, "dispute", stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len([piece for piece in pieces if piece]) > 1
    assert "".join(pieces) == whole
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    call = served.calls[-1]
    assert call.stream is True
    assert call.response is not None
    assert call.response["choices"][0]["message"]["content"] == whole
    assert chunks[-1].usage.completion_tokens == call.output_tokens


def test_a_stream_tells_its_tokens_only_when_asked(served: Served) -> None:
    assert all(chunk.usage is None for chunk in ask(served.client, "topic", stream=True))


def test_a_text_task_is_answered_freely_and_cut_where_the_client_wants(served: Served) -> None:
    answer = ask(served.client, "reply", max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_several_calls_at_once_get_the_adapter_they_asked_for(served: Served) -> None:
    names = ["topic", "topic-222222222222", "dispute"] * 3
    alone = {name: ask(served.client, name).choices[0].message.content for name in names}
    answers: dict[int, str] = {}

    def one(index: int) -> None:
        answers[index] = ask(served.client, names[index]).choices[0].message.content

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[index] for index in range(len(names))] == [alone[name] for name in names]


def test_models_are_listed_by_task_and_by_id(served: Served) -> None:
    names = [model.id for model in served.client.models.list()]
    assert names == [
        "topic",
        "topic-111111111111",
        "topic-222222222222",
        "dispute",
        "dispute-333333333333",
        "reply",
        "reply-base",
    ]
    assert served.client.models.retrieve("dispute").owned_by == "freehold"
    with pytest.raises(openai.NotFoundError, match="Model 'nobody' is not served"):
        served.client.models.retrieve("nobody")


def test_health_says_what_is_served(served: Served) -> None:
    status, body = served.send("GET", "/healthz")
    assert (status, body["status"]) == (200, "ok")
    assert "topic" in body["models"]


def mask_numbers(texts: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    hidden = {"[CARD_1]": '41"11'} if any("4111" in text for text in texts) else {}
    return [text.replace("4111", "[CARD_1]") for text in texts], hidden


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_masked_in_the_question_stands_again_in_the_answer(
    stream: bool, tiny: TinyModel, tmp_path: Path
) -> None:
    schema = {"type": "object", "properties": {"card": {"const": "[CARD_1]"}}, "required": ["card"]}
    task = Task(name="dispute", kind="extraction", json_schema=schema, own_prompt="Extract.")
    words = Task(name="topic", kind="classification", labels=("card [CARD_1]",), own_prompt="Name it.")
    calls: list[Call] = []
    models = [ServedModel("d", task, None), ServedModel("t", words, None)]
    with running_endpoint(
        models,
        base_gguf=tiny.base_gguf,
        recorder=calls.append,
        log_file=tmp_path / "log",
        threads=1,
        mask=mask_numbers,
    ) as base_url:
        client = Served(base_url).client

        def text(model: str, question: str) -> str:
            messages: Any = [{"role": "user", "content": question}]
            answer: Any = client.chat.completions.create(model=model, messages=messages, stream=stream)
            if stream:
                return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
            return str(answer.choices[0].message.content)

        assert json.loads(text("dispute", "I lost 4111")) == {"card": '41"11'}
        assert text("topic", "I lost 4111") == 'card 41"11'
        assert text("topic", "I lost it") == "card [CARD_1]"
    assert calls[0].request is not None
    assert calls[0].request["messages"] == [{"role": "user", "content": "I lost 4111"}]
