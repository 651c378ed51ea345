"""What the capacity formula must know about a decoder, and how it follows from a Hugging Face `config.json`.

Weights are counted from the shapes that the configuration implies: dense, mixture of experts, latent attention,
sliding windows and linear attention. Vision and audio towers are left out: they do not take part in decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from freehold.economics._config_fields import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.precision import Precision

PLAIN_MLP = frozenset(
    {"gpt2", "gpt_neox", "gptj", "gpt_bigcode", "falcon", "phi", "opt", "bloom", "mpt", "starcoder2", "nemotron"}
)
"""Model types whose feed-forward has two matrices; all others gate it with a third."""

BIASED_QKV = frozenset({"qwen2", "qwen2_moe", "qwen"})
NORMED_QK = frozenset({"qwen3", "qwen3_moe", "gemma3", "gemma3_text", "minimax_m2"})
TIED_BY_DEFAULT = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "opt", "bloom", "falcon"})
INDEXED = frozenset({"glm_moe_dsa", "deepseek_v32"})
DENSE_WIDTH = ("intermediate_size_mlp", "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
PER_TOKEN = ("num_experts_per_tok", "experts_per_token", "moe_topk", "num_experts_per_token", "moe_k", "moe_top_k")
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
ONE_SHARED = frozenset({"llama4", "llama4_text"})
"""Their mixtures have one shared expert beside the routed ones, and do not say so."""

FOUR_NORMS = frozenset({"gemma2", "gemma3", "gemma3_text"})
"""Their blocks are normed before and after; others only before."""

GATED_ATTENTION = frozenset({"qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"})
"""Their query projection also makes a gate of its own width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A decoder in numbers; all counts are of weights or of cached numbers, never of bytes."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    parameters: float
    """All weights; a tied embedding counts once."""
    active_parameters: float
    """Weights that one token is multiplied with: without the input embedding and the experts left alone."""
    expert_parameters: float
    """Weights of all routed experts of all layers; 0 for a dense model."""
    experts: int
    """Routed experts of one layer; 0 for a dense model."""
    experts_per_token: int
    expert_width: int
    """Inner width of one expert; 0 for a dense model."""
    layers: int
    hidden_size: int
    heads: int
    """Query heads of one layer; tensor parallelism divides them evenly."""
    kv_heads: int
    head_dim: int
    kv_values: float
    """Numbers cached for each token over all layers that attend to the whole context."""
    window_values: float
    """The same over the layers that attend to the last `window_tokens` only."""
    window_tokens: int
    state_values: float
    """Numbers kept for each request whatever its length, by layers with linear attention."""
    attention_width: float
    """Query heads times their size, summed over the layers that attend to the whole context."""
    latent_width: float
    """Latent attention: query heads times what each compares and sums of one cached vector, over all layers; 0 for
    plain attention, which waits for memory alone, and where an index picks a few tokens."""
    is_latent: bool
    """Keys and values are one compressed vector; engines then divide requests, not heads, among the devices."""
    is_indexed: bool
    """A small index in each layer picks the tokens that are attended to."""
    vocabulary_tokens: int
    context_tokens: int
    published_precision: Precision
    """How the weights were published."""
    source: str

    @property
    def resident_parameters(self) -> float:
        """Weights that every step reads, whatever the batch."""
        return self.active_parameters - self.routed_parameters

    @property
    def routed_parameters(self) -> float:
        """Weights of the experts that one token is sent to."""
        return self.expert_parameters * self.experts_per_token / self.experts if self.experts else 0.0

    def kv_bytes_per_token(self, kv_bytes: float) -> float:
        """Keys and values of one token over all layers, window layers included, as long as it is in their window."""
        return (self.kv_values + self.window_values) * kv_bytes

    def cached_values(self, context: float) -> float:
        """Numbers cached for one request with so many tokens behind it."""
        return self.kv_values * context + self.window_values * min(context, self.window_tokens) + self.state_values


def model_from_config(record: Mapping[str, object], *, name: str, source: str) -> ModelFacts:
    """Facts of any decoder from the content of its `config.json`.

    Args:
        record: the parsed file; a multimodal model's `text_config` is taken.
        name: how results call the model.
        source: where the file came from.

    Raises:
        InputError: a field is missing or no plausible number; the message names it.
    """
    config = Fields(record, source)
    shape = _Shape.of(config)
    layers = tuple(_layer(config, shape, index) for index in range(shape.layers))
    embedding = shape.vocabulary * shape.hidden
    is_tied = config.flag("tie_word_embeddings", config.kind in TIED_BY_DEFAULT)
    routed = sum(layer.experts for layer in layers)
    body = sum(layer.resident for layer in layers) + shape.hidden
    share = shape.experts_per_token / shape.experts if shape.experts else 0.0
    is_indexed = config.kind in INDEXED or config.count("index_topk", default=0) > 0
    full, near = [[layer for layer in layers if layer.kind == kind] for kind in ("full", "window")]
    return ModelFacts(
        name=name,
        parameters=float(body + routed + embedding * (1 if is_tied else 2)),
        active_parameters=float(body + embedding + routed * share),
        expert_parameters=float(routed),
        experts=shape.experts,
        experts_per_token=shape.experts_per_token,
        expert_width=shape.expert_width,
        layers=shape.layers,
        hidden_size=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        kv_values=float(len(full) * shape.cached),
        window_values=float(len(near) * shape.cached),
        window_tokens=shape.window,
        state_values=float(sum(layer.state for layer in layers)),
        attention_width=float(len(full) * shape.attended),
        latent_width=0.0 if is_indexed else float(len(full) * shape.compared),
        is_latent=shape.is_latent,
        is_indexed=is_indexed,
        vocabulary_tokens=shape.vocabulary,
        context_tokens=shape.context,
        published_precision=config.precision(),
        source=source,
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one layer, and how it attends: to all, to a window, or by a running state."""

    kind: str
    resident: int
    experts: int
    state: int


@dataclass(frozen=True, slots=True)
class _Shape:
    """The sizes that all layers share."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    cached: int
    """Numbers cached for one token by one layer."""
    attended: int
    """Width of all query heads of one layer."""
    compared: int
    """Of one cached vector, by all query heads of one layer of latent attention; 0 for plain attention."""
    vocabulary: int
    context: int
    experts: int
    experts_per_token: int
    expert_width: int
    window: int
    is_latent: bool

    @classmethod
    def of(cls, config: Fields) -> _Shape:
        hidden = config.count("hidden_size", "n_embd", "d_model")
        heads = config.count("num_attention_heads", "n_head", "n_heads")
        kv_heads = config.count("num_key_value_heads", default=1 if config.flag("multi_query", False) else heads)
        head_dim = config.count("head_dim", default=max(1, hidden // heads))
        cached, attended, compared = 2 * kv_heads * head_dim, heads * head_dim, 0
        rank = config.count("kv_lora_rank", default=0)
        if rank:
            # one compressed vector and one rotary key stand for all heads; prefill unfolds them
            rotary = config.count("qk_rope_head_dim")
            kv_heads, head_dim, cached = 1, rank + rotary, rank + rotary
            # while answers are written it stays folded: each head compares all of it, and sums all but the rotary key
            compared = heads * (2 * rank + rotary)
            attended = heads * (config.count("qk_nope_head_dim") + rotary + config.count("v_head_dim")) // 2
        experts = config.count("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", default=0)
        return cls(
            layers=config.count("num_hidden_layers", "n_layer", "n_layers", "num_layers", most=10_000),
            hidden=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            cached=cached,
            attended=attended,
            compared=compared,
            vocabulary=config.count("vocab_size"),
            context=config.count("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", default=2048),
            experts=experts,
            experts_per_token=config.count(*PER_TOKEN, most=experts) if experts else 0,
            expert_width=config.count("moe_intermediate_size", "intermediate_size") if experts else 0,
            window=config.count("sliding_window", default=0),
            is_latent=rank > 0,
        )


def _layer(config: Fields, shape: _Shape, index: int) -> _Layer:
    kind = config.attention_kind(index, shape.layers, has_window=shape.window > 0)
    attention, state = _linear_attention(config, shape) if kind == "linear" else (_attention(config, shape), 0)
    gates = 2 if config.kind in PLAIN_MLP else 3
    norms = (4 if config.kind in FOUR_NORMS else 2) * shape.hidden
    if not config.has_experts(index, shape.experts):
        width = config.count(*DENSE_WIDTH, default=4 * shape.hidden)
        return _Layer(kind, attention + norms + gates * shape.hidden * width, 0, state)
    width = shape.expert_width
    shared = config.count(*SHARED, default=int(config.kind in ONE_SHARED)) * width
    shared = config.count("shared_expert_intermediate_size", "shared_intermediate_size", default=shared)
    resident = attention + norms + gates * shape.hidden * shared + shape.hidden * shape.experts
    return _Layer(kind, resident, gates * shape.hidden * width * shape.experts, state)


def _attention(config: Fields, shape: _Shape) -> int:
    """Weights of one attention block."""
    if shape.is_latent:
        return _latent_attention(config, shape)
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    gated = 2 if config.kind in GATED_ATTENTION else 1
    weights = shape.hidden * (gated * query + 2 * key) + query * shape.hidden
    if config.flag("attention_bias", config.kind in BIASED_QKV):
        weights += query + 2 * key
    return weights + (2 * shape.head_dim if config.kind in NORMED_QK else 0)


def _latent_attention(config: Fields, shape: _Shape) -> int:
    rank, rotary = config.count("kv_lora_rank"), config.count("qk_rope_head_dim")
    plain, value = config.count("qk_nope_head_dim"), config.count("v_head_dim")
    query_rank = config.count("q_lora_rank", default=0)
    query = shape.heads * (plain + rotary)
    into = shape.hidden * query_rank + query_rank * query if query_rank else shape.hidden * query
    keys = shape.hidden * (rank + rotary) + rank * shape.heads * (plain + value)
    return into + keys + shape.heads * value * shape.hidden


def _linear_attention(config: Fields, shape: _Shape) -> tuple[int, int]:
    """Weights and running state of one gated delta-rule block (Qwen3-Next)."""
    key = config.count("linear_num_key_heads") * config.count("linear_key_head_dim")
    heads, width = config.count("linear_num_value_heads"), config.count("linear_value_head_dim")
    value = heads * width
    weights = shape.hidden * (2 * key + 2 * value + 2 * heads) + value * shape.hidden
    return weights, value * config.count("linear_key_head_dim")
