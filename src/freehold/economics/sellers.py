"""Who sold a call: what logs, gateways and instrumentations call a provider, and what the price catalogue calls it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from freehold.economics.catalogue import provider_named

if TYPE_CHECKING:
    from collections.abc import Mapping

LITELLM: Mapping[str, str] = {
    "azure_ai": "azure", "azure_text": "azure", "bedrock": "aws", "bedrock_converse": "aws", "bedrock_mantle": "aws",
    "cohere_chat": "cohere", "fireworks_ai": "fireworks", "fireworks_ai-embedding-models": "fireworks",
    "gemini": "google", "github_copilot": "github-copilot", "moonshot": "moonshotai", "bigmodel": "zhipuai",
    "text-completion-openai": "openai", "together_ai": "together", "vertex_ai": "google", "vertex_ai_beta": "google",
    "vertex_ai-anthropic_models": "google", "vertex_ai-embedding-models": "google",
    "vertex_ai-language-models": "google", "voyage": "voyageai", "xai": "x-ai", "codestral": "mistral",
}  # fmt: skip
"""LiteLLM's name of a seller -> the catalogue's, where they differ."""

CONVENTIONS: Mapping[str, str] = {
    "aws.bedrock": "aws", "az.ai.inference": "azure", "az.ai.openai": "azure", "azure.ai.inference": "azure",
    "azure.ai.openai": "azure", "gcp.gemini": "google", "gcp.gen_ai": "google", "gcp.vertex_ai": "google",
    "mistral_ai": "mistral", "moonshot_ai": "moonshotai", "x_ai": "x-ai",
}  # fmt: skip
"""OpenTelemetry's well-known values of `gen_ai.provider.name`, and of `gen_ai.system` before it."""

SPELLINGS: Mapping[str, str] = {
    "amazon": "aws", "amazon bedrock": "aws", "amazon_bedrock": "aws", "azure-openai": "azure", "azure_openai": "azure",
    "azureopenai": "azure", "fireworks-ai": "fireworks", "fireworks.ai": "fireworks", "google-vertex": "google",
    "google_genai": "google", "google_vertexai": "google", "googlevertex": "google", "mistralai": "mistral",
    "moonshot-ai": "moonshotai", "togetherai": "together", "together-ai": "together", "together.ai": "together",
    "vertex": "google", "vertexai": "google", "voyage-ai": "voyageai",
}  # fmt: skip
"""How else tools write them."""


@cache
def seller_of(provider: str) -> str | None:
    """The catalogue's id of a provider that a log names; None: the catalogue has none of that name.

    Exact names alone: `my-openai-proxy` may sell anything.
    """
    name = provider.strip().lower()
    for names in (LITELLM, CONVENTIONS, SPELLINGS):
        name = names.get(name, name)
    return provider_named(name)
