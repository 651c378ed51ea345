"""LiteLLM as a client of a gateway: whole, streamed, tools, embeddings, Anthropic's dialect, cancelled midway.

LiteLLM asks for an older `openai` than Freehold's tests do, so it lives in an environment of its own:

    python -m venv build/litellm && build/litellm/bin/pip install litellm
    build/litellm/bin/python tools/litellm_client.py http://127.0.0.1:8080

The gateway must stand before a provider that answers as `tests/gateway/provider.py` does. Prints what it got as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

QUESTION = [{"role": "user", "content": "hi"}]
WEATHER = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}


def ask(address: str) -> dict[str, Any]:  # Any: JSON
    """What each way of asking brought."""
    import litellm  # type: ignore[import-not-found]  # noqa: PLC0415 (of an environment of its own)

    openai: dict[str, Any] = {"model": "openai/gpt-5-mini", "api_base": f"{address}/v1", "api_key": "none"}
    claude: dict[str, Any] = {"model": "anthropic/claude-sonnet-4-5", "api_base": address, "api_key": "none"}
    told: dict[str, Any] = {}
    for name, options in (("openai", openai), ("anthropic", claude)):
        whole = litellm.completion(messages=QUESTION, **options)
        told[name] = whole.choices[0].message.content
        told[f"{name} tokens"] = whole.usage.prompt_tokens
        called = litellm.completion(messages=QUESTION, tools=[TOOL], tool_choice="required", **options)
        told[f"{name} tool"] = called.choices[0].message.tool_calls[0].function.arguments
        events = litellm.completion(messages=QUESTION, stream=True, stream_options={"include_usage": True}, **options)
        chunks = list(events)
        told[f"{name} stream"] = _text(chunks)
        told[f"{name} stream usage"] = [one.usage.completion_tokens for one in chunks if getattr(one, "usage", None)]
        told[f"{name} async"] = asyncio.run(_asked_at_once(litellm, options))
    vectors = litellm.embedding(input=["a", "b"], **{**openai, "model": "openai/text-embedding-3-small"})
    told["embeddings"] = [one["embedding"] for one in vectors.data]
    told["responses"] = litellm.responses(input="hi", **openai).output[0].content[0].text
    try:
        litellm.completion(messages=QUESTION, extra_headers={"x-freehold-task": "../x"}, **openai)
    except litellm.BadRequestError as error:
        told["refused"] = error.status_code
    return told


async def _asked_at_once(litellm: Any, options: dict[str, Any]) -> str:  # Any: a module, and settings
    """Ten streams at once, and one that is left in its middle."""
    left = await litellm.acompletion(messages=QUESTION, stream=True, **options)
    async for _ in left:
        break
    await left.aclose()

    async def one() -> str:
        return _text([chunk async for chunk in await litellm.acompletion(messages=QUESTION, stream=True, **options)])

    texts = set(await asyncio.gather(*(one() for _ in range(10))))
    return texts.pop() if len(texts) == 1 else repr(texts)


def _text(chunks: list[Any]) -> str:  # Any: LiteLLM's chunks
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


if __name__ == "__main__":
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would be fetched from elsewhere
    print(json.dumps(ask(sys.argv[1])))
