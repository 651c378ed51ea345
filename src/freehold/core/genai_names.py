"""Names of span attributes by OpenTelemetry's conventions for generative models: today's, later ones, earlier ones.

The conventions are still being developed. The names here are those of 1.41, which instrumentations use today.
`LATER` has what `semantic-conventions-genai` 0.1.0 renamed; `EARLIER` what meant the same before 1.41, and what
OpenLLMetry and OpenInference call it. The gateway writes spans by one of the first two; the ledger reads spans by any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK_S = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
"""All input, cached included."""
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
PROMPT_NAME = "gen_ai.prompt.name"
ERROR = "error.type"
STATUS = "http.response.status_code"
ADDRESS = "server.address"
PORT = "server.port"

TASK = "freehold.task"
ROUTE = "freehold.route"
OWN_PROVIDER = "freehold.provider"
KEY = "freehold.key_id"
REQUEST = "freehold.request_id"
PARENT = "freehold.parent_id"

LATER: Mapping[str, str] = {CACHE_WRITE_TOKENS: "gen_ai.usage.cache_write.input_tokens"}

EARLIER: Mapping[str, tuple[str, ...]] = {
    OPERATION: ("llm.request.type",),
    PROVIDER: ("gen_ai.system", "llm.provider", "llm.system", "llm.vendor"),
    CONVERSATION: (
        "session.id",
        "gen_ai.thread.id",
        "traceloop.association.properties.session_id",
        "traceloop.association.properties.conversation_id",
    ),
    REQUEST_MODEL: ("llm.request.model",),
    REQUEST_STREAM: ("gen_ai.is_streaming", "llm.is_streaming"),
    RESPONSE_MODEL: ("llm.response.model", "llm.model_name", "embedding.model_name"),
    FINISH_REASONS: ("llm.response.finish_reason", "gen_ai.completion.0.finish_reason"),
    FIRST_CHUNK_S: ("gen_ai.server.time_to_first_token", "gen_ai.response.time_to_first_token"),
    INPUT_TOKENS: ("gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens", "llm.token_count.prompt"),
    OUTPUT_TOKENS: ("gen_ai.usage.completion_tokens", "llm.usage.completion_tokens", "llm.token_count.completion"),
    CACHE_READ_TOKENS: (
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.input_tokens.cached",
        "gen_ai.usage.details.cached_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.openai.usage.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    CACHE_WRITE_TOKENS: (
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.details.cache_write_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    REASONING_TOKENS: (
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
    SYSTEM_INSTRUCTIONS: ("gen_ai.system.instructions",),
    TOOL_DEFINITIONS: ("gen_ai.request.tools",),
    STATUS: ("http.status_code",),
}


def names_of(attribute: str) -> tuple[str, ...]:
    """Every name that an attribute may stand under, the name of 1.41 first."""
    later = LATER.get(attribute)
    return (attribute, *([] if later is None else [later]), *EARLIER.get(attribute, ()))


def name_in(attribute: str, *, latest: bool) -> str:
    """What an attribute is called by 1.41, or by the conventions after it."""
    return LATER.get(attribute, attribute) if latest else attribute
