"""The official SDKs' whole range, LiteLLM and the published suites, in front of a provider that answers by the book."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pydantic
import pytest
from tools.comply import SUITES, comply

from tests.gateway.conftest import running_gateway
from tests.gateway.provider import ARGUMENTS, LABEL, TEXT, THOUGHT, VECTOR, faithful
from tests.gateway.upstream import STREAM_HEAD, ScriptedUpstream, Seen, answer, chat_events, chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import Running

QUESTION: Any = [{"role": "user", "content": "hi"}]
PARAMETERS = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"],
              "additionalProperties": False}  # fmt: skip
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS, "strict": True}}
RESPONSES_TOOL: Any = {"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": True}
CLAUDES_TOOL: Any = {"name": "get_weather", "input_schema": PARAMETERS}
LITELLM = Path(os.environ.get("LITELLM_PYTHON", "build/litellm/bin/python"))


class Label(pydantic.BaseModel):
    """What a structured answer is read into."""

    label: str
    urgent: bool


@pytest.fixture
def provider() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream([faithful]) as upstream:
        yield upstream


@pytest.fixture
def both(provider: ScriptedUpstream, tmp_path: Path) -> Iterator[Running]:
    """A gateway whose one provider speaks both dialects."""
    base = f"http://127.0.0.1:{provider.port}"
    settings = {
        "providers": {
            "openai": {"base_url": f"{base}/v1", "retries": 0},
            "anthropic": {"base_url": base, "dialect": "anthropic", "prefixes": ["claude-"], "retries": 0},
        },
        "gateway": {"default_provider": "openai"},
    }
    with running_gateway(tmp_path, settings) as gateway:
        yield gateway


def openai_at(gateway: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="none", max_retries=0)


def claude_at(gateway: Running) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0)


def test_the_openai_client_reads_structured_output_tools_and_streams_into_its_own_types(both: Running) -> None:
    with openai_at(both) as client:
        parsed = client.chat.completions.parse(model="gpt-5-mini", messages=QUESTION, response_format=Label)
        assert parsed.choices[0].message.parsed == Label.model_validate_json(LABEL)
        with client.chat.completions.stream(model="gpt-5-mini", messages=QUESTION, response_format=Label) as events:
            kinds = [one.type for one in events]
            assert events.get_final_completion().choices[0].message.parsed == Label.model_validate_json(LABEL)
        assert {"chunk", "content.delta", "content.done"} <= set(kinds)
        options: Any = {"model": "gpt-5-mini", "messages": QUESTION, "tools": [TOOL], "tool_choice": "required"}
        with client.chat.completions.stream(**options) as events:
            done = [one for one in events if one.type == "tool_calls.function.arguments.done"]
            (called,) = events.get_final_completion().choices[0].message.tool_calls or []
        assert [one.arguments for one in done] == [ARGUMENTS] == [called.function.arguments]
        with client.chat.completions.with_streaming_response.create(model="m", messages=QUESTION) as raw:
            assert raw.headers["x-freehold-call-id"]
            assert raw.parse().choices[0].message.content == TEXT


def test_the_openai_client_uses_responses_embeddings_and_completions(both: Running) -> None:
    with openai_at(both) as client:
        parsed = client.responses.parse(model="gpt-5-mini", input="hi", text_format=Label)
        assert parsed.output_parsed == Label.model_validate_json(LABEL)
        with client.responses.stream(model="gpt-5-mini", input="hi", reasoning={"effort": "low"}) as events:
            deltas = [one.delta for one in events if one.type == "response.output_text.delta"]
            final = events.get_final_response()
        assert ("".join(deltas), final.output_text) == (TEXT, TEXT)
        assert final.output[0].to_dict()["summary"] == [{"type": "summary_text", "text": THOUGHT}]
        called = client.responses.create(
            model="gpt-5-mini", input="hi", tools=[RESPONSES_TOOL], tool_choice="required", stream=True
        )
        assert [one.arguments for one in called if one.type == "response.function_call_arguments.done"] == [ARGUMENTS]
        # Without a format the client asks for base64 and unpacks it itself.
        assert client.embeddings.create(model="e", input=["a", "b"]).data[1].embedding == VECTOR
        assert client.completions.create(model="m", prompt="p").choices[0].text == TEXT
        parts = client.completions.create(model="m", prompt="p", stream=True)
        assert "".join(part.choices[0].text for part in parts) == TEXT
    rows = both.closed_rows(6)
    assert {row.open.dialect for row in rows if row.open} == {
        "openai-responses", "openai-embeddings", "openai-completions"
    }  # fmt: skip
    assert [row.close.input_tokens for row in rows if row.close] == [9, 9, 9, 8, 5, None]


def test_the_async_openai_client_does_the_same_many_times_at_once(both: Running) -> None:
    async def walk() -> None:
        async with openai.AsyncOpenAI(base_url=both.url + "/v1", api_key="none", max_retries=0) as client:

            async def one(number: int) -> None:
                match number % 4:
                    case 0:
                        told = await client.chat.completions.parse(model="m", messages=QUESTION, response_format=Label)
                        assert told.choices[0].message.parsed == Label.model_validate_json(LABEL)
                    case 1:
                        async with client.responses.stream(model="m", input="hi", text_format=Label) as events:
                            final = await events.get_final_response()
                        assert final.output_parsed == Label.model_validate_json(LABEL)
                    case 2:
                        options: Any = {"tools": [TOOL], "tool_choice": "required"}
                        async with client.chat.completions.stream(model="m", messages=QUESTION, **options) as stream:
                            whole = await stream.get_final_completion()
                        (called,) = whole.choices[0].message.tool_calls or []
                        assert called.function.arguments == ARGUMENTS
                    case _:
                        found = await client.embeddings.create(model="e", input="a")
                        assert found.data[0].embedding == VECTOR

            await asyncio.gather(*(one(number) for number in range(40)))

    asyncio.run(walk())
    assert len(both.closed_rows(40)) == 40


def test_an_async_call_that_is_cancelled_in_its_stream_closes_the_provider(
    both: Running, provider: ScriptedUpstream
) -> None:
    async def held(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(STREAM_HEAD + b"".join(map(chunk, chat_events("a")[:2])))
        await writer.drain()

    held.watches = True  # type: ignore[attr-defined]
    provider.scripts = [held]

    async def walk() -> None:
        async with openai.AsyncOpenAI(base_url=both.url + "/v1", api_key="none", max_retries=0) as client:
            begun = asyncio.Event()

            async def reads() -> None:
                async for _ in await client.chat.completions.create(model="m", messages=QUESTION, stream=True):
                    begun.set()

            reading = asyncio.ensure_future(reads())
            await asyncio.wait_for(begun.wait(), 10)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    asyncio.run(walk())
    assert provider.peer_left.wait(10)
    (row,) = both.closed_rows(1)
    assert row.close is not None
    assert (row.close.status, row.close.client_closed) == (499, True)
    assert row.response == b"".join(chat_events("a")[:2])


def test_the_anthropic_client_uses_tools_thinking_and_its_stream_helpers(both: Running) -> None:
    with claude_at(both) as client:
        options: Any = {"model": "claude-x", "max_tokens": 4096, "messages": QUESTION}
        (called,) = client.messages.create(**options, tools=[CLAUDES_TOOL], tool_choice={"type": "any"}).content
        assert called.type == "tool_use"
        assert called.input == json.loads(ARGUMENTS)
        with client.messages.stream(**options, tools=[CLAUDES_TOOL], tool_choice={"type": "any"}) as events:
            kinds = {one.type for one in events}
            final = events.get_final_message()
        assert final.content[0].to_dict()["input"] == json.loads(ARGUMENTS)
        assert (final.stop_reason, "input_json" in kinds) == ("tool_use", True)
        with client.messages.stream(**options, thinking={"type": "enabled", "budget_tokens": 2048}) as events:
            thought = events.get_final_message().content[0]
        assert (thought.type, thought.to_dict()["thinking"]) == ("thinking", THOUGHT)
        assert client.messages.count_tokens(model="claude-x", messages=QUESTION).input_tokens == 11
        with pytest.raises(anthropic.BadRequestError, match="max_tokens: Field required"):
            client.post("/v1/messages", body={"model": "claude-x"}, cast_to=object)
    rows = [row.close for row in both.closed_rows(4) if row.close]  # counting tokens is no call
    assert [(one.input_tokens, one.output_tokens, one.cache_read_tokens) for one in rows[:3]] == [(13, 3, 3)] * 3


def test_the_async_anthropic_client_streams_many_calls_at_once_and_cancels_one(
    both: Running, provider: ScriptedUpstream
) -> None:
    async def walk() -> list[str]:
        async with anthropic.AsyncAnthropic(base_url=both.url, api_key="none", max_retries=0) as client:

            async def one() -> str:
                options: Any = {"model": "claude-x", "max_tokens": 9, "messages": QUESTION}
                async with client.messages.stream(**options) as events:
                    return await events.get_final_text()

            texts = await asyncio.gather(*(one() for _ in range(20)))
            async with client.messages.stream(model="claude-x", max_tokens=9, messages=QUESTION) as events:
                async for _ in events:
                    break  # and leaves
            return texts

    assert asyncio.run(walk()) == [TEXT] * 20
    assert len(both.closed_rows(21)) == 21
    assert len(provider.seen) == 21


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
def test_curl_of_any_version_of_http_is_answered_or_refused_in_order(both: Running, version: str) -> None:
    sent = '{"model":"m","messages":[]}'
    done = subprocess.run(
        ["curl", "-sS", version, "--max-time", "10", "-w", "\n%{http_code}", f"{both.url}/v1/chat/completions",
         "-H", "content-type: application/json", "-d", sent],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    if version == "--http2-prior-knowledge":
        assert done.returncode != 0  # HTTP/2 is not spoken; the connection ends instead of hanging
        return
    body, _, status = done.stdout.rpartition("\n")
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == ("200", TEXT)


def test_curl_may_ask_before_it_sends_a_large_body(both: Running, provider: ScriptedUpstream, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(b'{"model":"m","messages":[{"role":"user","content":"' + b"a" * (3 << 20) + b'"}]}')
    done = subprocess.run(
        ["curl", "-sS", "-v", "--max-time", "20", f"{both.url}/v1/chat/completions", "-H", "Expect: 100-continue",
         "-H", "content-type: application/json", "--data-binary", f"@{body}"],
        capture_output=True, check=True,
    )  # fmt: skip

    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == TEXT
    assert b"HTTP/1.1 100 Continue" in done.stderr
    assert provider.seen[0].body == body.read_bytes()
    assert provider.seen[0].header("expect") is None


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_the_published_suites_are_green_through_the_gateway(both: Running, suite: str) -> None:
    found = comply(f"{both.url}/v1", suite)

    told = {one["id"]: [*one.get("errors", ()), *one.get("warnings", ())] for one in found["results"]}
    assert {name: errors for name, errors in told.items() if errors} == {}
    assert found["summary"]["failed"] == found["summary"]["skipped"] == 0
    assert found["summary"]["total"] >= 9


def test_the_published_suites_notice_a_provider_that_answers_nonsense(
    both: Running, provider: ScriptedUpstream
) -> None:
    provider.scripts = [answer({"id": "x", "choices": []})]

    assert comply(f"{both.url}/v1", "openai-chat")["summary"]["failed"] >= 8


@pytest.mark.skipif(not LITELLM.exists(), reason="LiteLLM needs an older openai: see tools/litellm_client.py")
def test_litellm_is_a_client_like_any_other(both: Running) -> None:
    command = [str(LITELLM), "tools/litellm_client.py", both.url]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, env=environment)

    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for name, tokens in (("openai", 9), ("anthropic", 13)):
        assert (told[name], told[f"{name} stream"], told[f"{name} async"]) == (TEXT, TEXT, TEXT)
        assert json.loads(told[f"{name} tool"]) == json.loads(ARGUMENTS)
        assert (told[f"{name} tokens"], told[f"{name} stream usage"]) == (tokens, [3])
    assert (told["embeddings"], told["responses"], told["refused"]) == ([VECTOR, VECTOR], TEXT, 400)
