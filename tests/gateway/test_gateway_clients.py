"""The official clients, against a provider that answers as the real ones do."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from tests.gateway.conftest import running_gateway
from tests.gateway.upstream import (
    DONE,
    ScriptedUpstream,
    Seen,
    answer,
    chat_events,
    chunk_body,
    completion,
    event,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.conftest import Running

QUESTION: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": '{"id": 1}'}}

MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-served",
    "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 1},
}  # fmt: skip
MESSAGE_EVENTS = [
    event({"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}}, "message_start"),
    event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
          "content_block_start"),
    event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}},
          "content_block_delta"),
    event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
          "content_block_delta"),
    event({"type": "content_block_stop", "index": 0}, "content_block_stop"),
    event({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
           "usage": {"output_tokens": 9}}, "message_delta"),
    event({"type": "message_stop"}, "message_stop"),
]  # fmt: skip


def client_of(gateway: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="the client's own", max_retries=0)


def test_a_chat_passes_and_the_provider_sees_its_own_key_and_the_same_bytes(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    body = json.dumps(completion("hello")).encode()
    upstream.scripts = [answer(body, x_ratelimit_remaining_requests="7")]
    sent = b'{ "messages": [{"role":"user","content":"h\\u00e9"}],\n "unknown": 1.000, "model":"m"}'
    status, headers, got = gateway.post(
        "/v1/chat/completions?beta=1", sent, authorization="Bearer client", x_request_id="mine-1", cookie="a=b",
        openai_beta="x", x_freehold_task="support", x_forwarded_for="10.0.0.1",
    )  # fmt: skip

    assert (status, got) == (200, body)
    assert headers["x-request-id"] == "mine-1"
    assert headers["x-ratelimit-remaining-requests"] == "7"
    seen = upstream.seen[0]
    assert (seen.target, seen.body) == ("/v1/chat/completions?beta=1", sent)
    assert seen.header("authorization") == "Bearer sk-upstream"
    assert seen.header("openai-beta") == "x"
    assert {seen.header(name) for name in ("cookie", "x-freehold-task", "x-forwarded-for")} == {None}
    row = gateway.rows()[0]
    assert row.open is not None
    assert row.close is not None
    assert (row.request, row.response) == (sent, body)
    assert (row.open.task, row.open.provider, row.open.model_requested) == ("support", "fake", "m")
    assert (row.open.request_id, row.open.endpoint, row.open.dialect) == (
        "mine-1",
        "/v1/chat/completions",
        "openai-chat",
    )
    assert (row.close.status, row.close.error_type) == (200, None)
    assert row.id == headers["x-freehold-call-id"]
    assert b"sk-upstream" not in (row.request + row.response)


def test_the_openai_client_streams_and_gets_no_usage_that_it_did_not_ask_for(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    upstream.scripts = [stream(chat_events("a", "b"))]
    chunks = list(client_of(gateway).chat.completions.create(model="m", messages=QUESTION, stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "ab"
    assert all(chunk.usage is None for chunk in chunks)
    assert upstream.seen[0].json["stream_options"] == {"include_usage": True}
    row = gateway.closed_rows(1)[0]
    assert row.response == b"".join(chat_events("a", "b"))
    assert "stream_options" not in json.loads(row.request)
    assert row.close is not None
    assert row.close.ttft_ms is not None


def test_who_asks_for_usage_gets_the_stream_byte_for_byte(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [stream(chat_events("a"))]
    sent = b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}'
    _, _, got = gateway.post("/v1/chat/completions", sent)

    assert got == b"".join(chat_events("a"))
    assert upstream.seen[0].body == sent


@pytest.mark.parametrize("usage", [True, False])
def test_the_async_openai_client_streams_many_calls_at_once(
    gateway: Running, upstream: ScriptedUpstream, usage: bool
) -> None:
    upstream.scripts = [stream(chat_events(*"abcdefghij"))]

    async def one(client: openai.AsyncOpenAI) -> str:
        options: Any = {"stream_options": {"include_usage": True}} if usage else {}
        events = await client.chat.completions.create(model="m", messages=QUESTION, stream=True, **options)
        chunks = [chunk async for chunk in events]
        assert [chunk.usage.prompt_tokens for chunk in chunks if chunk.usage] == [7] * usage
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    async def many() -> list[str]:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0) as client:
            return await asyncio.gather(*(one(client) for _ in range(30)))

    assert asyncio.run(many()) == ["abcdefghij"] * 30
    assert len(gateway.closed_rows(30)) == 30


def test_tools_and_structured_output_pass_untouched(gateway: Running, upstream: ScriptedUpstream) -> None:
    deltas = [{"tool_calls": [{"index": 0, **TOOL_CALL}]}, {}]
    upstream.scripts = [
        answer(completion(choices=[{"index": 0, "finish_reason": "tool_calls", "logprobs": None,
                                    "message": {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}}])),
        stream([event(chunk_body(delta, None if delta else "tool_calls")) for delta in deltas] + [DONE]),
        answer(completion('{"label": "x"}')),
    ]  # fmt: skip
    client = client_of(gateway)
    called = client.chat.completions.create(model="m", messages=QUESTION, tools=[TOOL]).choices[0].message.tool_calls
    assert called is not None
    assert called[0].to_dict() == TOOL_CALL
    chunks = list(client.chat.completions.create(model="m", messages=QUESTION, tools=[TOOL], stream=True))
    assert chunks[0].choices[0].delta.tool_calls is not None
    schema: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
    told = client.chat.completions.create(model="m", messages=QUESTION, response_format=schema)
    assert told.choices[0].message.content == '{"label": "x"}'
    assert upstream.seen[2].json["response_format"] == schema


def test_completions_embeddings_responses_and_models_pass(gateway: Running, upstream: ScriptedUpstream) -> None:
    model = {"id": "m", "object": "model", "created": 1, "owned_by": "o"}
    text = {"id": "c", "object": "text_completion", "created": 1, "model": "m",
            "choices": [{"text": "t", "index": 0, "finish_reason": "stop", "logprobs": None}]}  # fmt: skip
    vector = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
              "usage": {"prompt_tokens": 4, "total_tokens": 4}}  # fmt: skip
    said = {"type": "message", "id": "1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "hey", "annotations": []}]}  # fmt: skip
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
                "output": [said], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                "usage": {"input_tokens": 6, "output_tokens": 2, "total_tokens": 8,
                          "input_tokens_details": {"cached_tokens": 0},
                          "output_tokens_details": {"reasoning_tokens": 1}}}  # fmt: skip
    done = event({"type": "response.completed", "sequence_number": 0, "response": response}, "response.completed")
    upstream.scripts = [
        answer(text), answer(vector), answer(response), stream([done]), answer({"object": "list", "data": [model]}),
        answer(model), answer({"id": "file-1"}),
    ]  # fmt: skip
    client = client_of(gateway)
    assert client.completions.create(model="m", prompt="p").choices[0].text == "t"
    assert client.embeddings.create(model="m", input="a", encoding_format="float").data[0].embedding == [0.1, 0.2]
    assert client.responses.create(model="m", input="hi").output_text == "hey"
    assert [one.type for one in client.responses.create(model="m", input="hi", stream=True)] == ["response.completed"]
    assert [one.id for one in client.models.list()] == ["m"]
    assert client.models.retrieve("m").id == "m"
    status, _, body = gateway.post("/v1/files", b"--x\r\n", content_type="multipart/form-data; boundary=x")

    assert (status, json.loads(body)) == (200, {"id": "file-1"})
    assert [(seen.method, seen.target) for seen in upstream.seen][-3:] == [
        ("GET", "/v1/models"), ("GET", "/v1/models/m"), ("POST", "/v1/files")
    ]  # fmt: skip
    page = gateway.post("/metrics", b"", method="GET")[2].decode()
    assert 'route="rent",model="m",provider="fake",direction="input"} 16' in page  # 4 embedded, twice 6 asked
    assert 'direction="reasoning"} 2' in page
    # Four calls asked a model. Lists and files passed, are counted, and are no calls of a task.
    assert {row.open.endpoint for row in gateway.closed_rows(4) if row.open} == {
        "/v1/completions", "/v1/embeddings", "/v1/responses"
    }  # fmt: skip
    assert len(gateway.rows()) == 4
    assert 'freehold_unrecorded_requests_total{endpoint="models",status="200"} 2' in page
    assert 'freehold_unrecorded_requests_total{endpoint="files",status="200"} 1' in page


@pytest.fixture
def claude(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Running]:
    provider = {"base_url": f"http://127.0.0.1:{upstream.port}", "dialect": "anthropic", "api_key_env": "KEY"}
    with running_gateway(
        tmp_path, {"providers": {"a": {**provider, "retries": 0}}}, environment={"KEY": "sk-ant"}
    ) as g:
        yield g


def test_the_anthropic_client_asks_streams_and_counts(claude: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [answer(MESSAGE), stream(MESSAGE_EVENTS), answer({"input_tokens": 11})]
    client = anthropic.Anthropic(base_url=claude.url, api_key="client's", max_retries=0)
    told = client.messages.create(model="claude", max_tokens=9, messages=QUESTION)
    assert told.to_dict()["content"] == MESSAGE["content"]
    with client.messages.stream(model="claude", max_tokens=9, messages=QUESTION) as events:
        assert "".join(events.text_stream) == "hello"
    assert client.messages.count_tokens(model="claude", messages=QUESTION).input_tokens == 11

    assert [seen.target.partition("?")[0] for seen in upstream.seen] == [
        "/v1/messages", "/v1/messages", "/v1/messages/count_tokens"
    ]  # fmt: skip
    assert {seen.header("x-api-key") for seen in upstream.seen} == {"sk-ant"}
    assert upstream.seen[0].header("anthropic-version") is not None
    assert "stream_options" not in upstream.seen[1].json
    page = claude.post("/metrics", b"", method="GET")[2].decode()
    assert 'direction="input"} 18' in page  # (5 + 3 + 1) of each of the two answers
    assert 'direction="output"} 11' in page
    assert [row.open.endpoint for row in claude.closed_rows(2) if row.open] == ["/v1/messages", "/v1/messages"]
    assert len(claude.rows()) == 2  # a count of tokens is no call
    assert 'freehold_unrecorded_requests_total{endpoint="count_tokens",status="200"} 1' in page


def test_the_async_anthropic_client_gets_errors_in_its_own_shape(claude: Running, upstream: ScriptedUpstream) -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    upstream.scripts = [answer(overloaded, status=529, retry_after="9999")]

    async def ask(**more: Any) -> Any:
        async with anthropic.AsyncAnthropic(base_url=claude.url, api_key="k", max_retries=0) as client:
            return await client.messages.create(model="claude", max_tokens=9, messages=QUESTION, **more)

    with pytest.raises(anthropic.APIStatusError, match="busy") as caught:
        asyncio.run(ask())
    assert caught.value.status_code == 529
    with pytest.raises(anthropic.BadRequestError, match="task"):
        asyncio.run(ask(extra_headers={"x-freehold-task": "../x"}))


def test_a_client_that_hangs_up_closes_the_provider_and_what_came_is_kept(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    first, second = chat_events("a", "b")[:2]

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await stream([first, second], ends=True)(seen, HeldBack(writer))  # type: ignore[arg-type]  # all that a script uses

    script.watches = True  # type: ignore[attr-defined]
    upstream.scripts = [script]
    client = client_of(gateway)
    events = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
    next(iter(events))
    events.close()
    client.close()

    assert upstream.peer_left.wait(10)
    row = gateway.closed_rows(1)[0]
    assert row.close is not None
    assert (row.close.status, row.close.client_closed, row.close.error_type) == (499, True, "client_closed")
    assert row.response.startswith(first)


class HeldBack:
    """Passes everything on but the end of the answer."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def write(self, data: bytes) -> None:
        if data != b"0\r\n\r\n":
            self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()


def test_a_client_that_leaves_while_the_provider_thinks_stops_it(gateway: Running, upstream: ScriptedUpstream) -> None:
    async def thinks(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen, writer

    thinks.watches = True  # type: ignore[attr-defined]
    upstream.scripts = [thinks]
    with pytest.raises(openai.APITimeoutError):
        client_of(gateway).with_options(timeout=0.3).chat.completions.create(model="m", messages=QUESTION)

    assert upstream.peer_left.wait(10)
    row = gateway.closed_rows(1)[0]
    assert row.close is not None
    assert (row.close.status, row.close.client_closed) == (499, True)


def test_curl_asks_through_the_gateway(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [stream(chat_events("a"))]
    sent = '{"model":"m","stream":true,"messages":[]}'
    done = subprocess.run(
        ["curl", "-sS", "-N", f"{gateway.url}/v1/chat/completions", "-H", "content-type: application/json", "-d", sent],
        capture_output=True,
        check=True,
    )

    assert done.stdout == b"".join(chat_events("a", usage=False))


def test_azures_client_reaches_azure_and_any_other_provider(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer(completion())]
    base = f"http://127.0.0.1:{upstream.port}"
    settings = {
        "providers": {
            "azure": {"base_url": base, "dialect": "azure", "api_key_env": "A", "models": {"fast": "gpt-deployed"}},
            "plain": {"base_url": base, "api_key_env": "P", "prefixes": ["own-"]},
        },
        "gateway": {"default_provider": "azure"},
    }
    with running_gateway(tmp_path, settings, environment={"A": "key-a", "P": "key-p"}) as gateway:
        client = openai.AzureOpenAI(azure_endpoint=gateway.url, api_key="x", api_version="2026-01-01", max_retries=0)
        client.chat.completions.create(model="fast", messages=QUESTION)
        client.chat.completions.create(model="own-model", messages=QUESTION)
        gateway.post("/openai/deployments/own-other/chat/completions", b'{"messages":[]}')
        gateway.post("/v1/chat/completions", b'{"messages":[],"model":"some deployment"}')

    targets = [seen.target for seen in upstream.seen]
    assert targets[0] == "/openai/deployments/gpt-deployed/chat/completions?api-version=2026-01-01"
    assert targets[1:] == [
        "/v1/chat/completions", "/v1/chat/completions", "/openai/deployments/some%20deployment/chat/completions"
    ]  # fmt: skip
    assert [seen.header("api-key") for seen in upstream.seen] == ["key-a", None, None, "key-a"]
    assert upstream.seen[1].header("authorization") == "Bearer key-p"
    assert [seen.json.get("model") for seen in upstream.seen[1:]] == ["own-model", "own-other", "some deployment"]
