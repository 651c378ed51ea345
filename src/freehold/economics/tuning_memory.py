"""The memory that tuning takes on one device, and what would make a run fit.

Counted, not fitted: weights, gradients and Adam's states, the adapter, activations, and logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.decoder import ModelFacts

Method = Literal["qlora", "lora", "full"]
METHODS: tuple[Method, ...] = get_args(Method)

LEARNING_BYTES = 16.0
"""Per weight that learns: 2 for it, 2 for its gradient, 12 for Adam's copy and moments in 32 bits."""

HALF_BYTES = 2.0
PACKED_BYTES = 0.5625
"""Per weight in 4 bits, with a 32-bit scale for each 64 of them; embeddings stay in 16 bits."""

BASE_BYTES: Mapping[Method, float] = {"full": LEARNING_BYTES, "lora": HALF_BYTES, "qlora": PACKED_BYTES}
KEPT_BYTES = 2.0
"""Per hidden number, token and layer: the input of a layer, from which the rest is computed again."""

WHOLE_LAYER_BYTES = 34.0
"""The same where nothing is computed again (Korthikanti et al. 2022, without the scores of attention)."""

LOGIT_BYTES = 10.0
"""Per token and word of the vocabulary: in 16 bits, and for the loss twice in 32. In eight pieces it is an eighth."""

GATHERED_LAYERS = 2.0
"""Layers that a device holds whole where weights are shared: the one at work and the next."""

MATRICES = 7.0
"""Of one layer: query, key, value, output, gate, up, down; each has the hidden size on one side."""

USABLE_MEMORY = 0.97
"""Of the data sheet's GB; cards have up to 7 % more, as makers count 1,024 to the thousand."""

WORKSPACE_GB = 1.5
FEWEST_TOKENS = 128
"""Fewer in a micro-batch are no remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """What one device works on at a time, and what is kept of it."""

    tokens: int
    rank: int
    """Of the adapter."""
    recompute: bool = True
    """Whether activations are computed again in the backward pass, not kept."""
    logit_bytes: float = LOGIT_BYTES


def embedding_weights(model: ModelFacts) -> float:
    """Input and output embeddings; counted once where they are the same."""
    one = float(model.vocabulary_tokens * model.hidden_size)
    multiplied_or_expert = model.resident_parameters + model.expert_parameters
    return one + model.parameters - multiplied_or_expert


def packed_weights(model: ModelFacts) -> float:
    """Weights that a base in 4 bits keeps in 4 bits."""
    return model.parameters - embedding_weights(model)


def adapter_weights(model: ModelFacts, rank: int) -> float:
    """Two thin matrices beside each matrix that all tokens meet: rank × (in + out)."""
    multiplied = model.resident_parameters - model.vocabulary_tokens * model.hidden_size
    return rank * (MATRICES * model.layers * model.hidden_size + multiplied / model.hidden_size)


def state_gb(model: ModelFacts, method: Method, *, rank: int) -> float:
    """Weights, gradients and optimizer states, once: what devices can share."""
    if method == "full":
        return LEARNING_BYTES * model.parameters / 1e9
    whole = embedding_weights(model) if method == "qlora" else 0.0
    base = BASE_BYTES[method] * (model.parameters - whole) + HALF_BYTES * whole
    return (base + LEARNING_BYTES * adapter_weights(model, rank)) / 1e9


def memory_gb(model: ModelFacts, method: Method, batch: MicroBatch, *, shards: int) -> float:
    """Peak on one device: its share of the state, layers gathered whole, activations, logits and a workspace.

    Args:
        model: the base.
        method: of tuning.
        batch: what one device works on.
        shards: devices that share one copy of the state; 1 where each has its own.
    """
    state = state_gb(model, method, rank=batch.rank) / shards
    weight_bytes = PACKED_BYTES if method == "qlora" else HALF_BYTES
    gathered = GATHERED_LAYERS * weight_bytes * packed_weights(model) / model.layers if shards > 1 else 0.0
    kept = (KEPT_BYTES if batch.recompute else WHOLE_LAYER_BYTES) * batch.tokens * model.layers * model.hidden_size
    working = batch.tokens * (WHOLE_LAYER_BYTES * model.hidden_size + batch.logit_bytes * model.vocabulary_tokens)
    return state + (gathered + kept + working) / 1e9 + WORKSPACE_GB


def remedy(
    model: ModelFacts, method: Method, batch: MicroBatch, *, room_gb: float, gpus: int, least_logit_bytes: float
) -> str:
    """The changes that would make it fit, gentlest first; each alone would do.

    `least_logit_bytes` is what remains where the loss is computed in pieces.
    """

    def fits(how: Method = method, what: MicroBatch = batch, devices: int = gpus) -> bool:
        return memory_gb(model, how, what, shards=devices) <= room_gb

    more = next((2**power for power in range(1, 11) if 2**power > gpus and fits(devices=2**power)), None)
    lighter = METHODS[: METHODS.index(method)][::-1]
    halves = (batch.tokens // 2**power for power in range(1, 20))
    fewer = next((part for part in halves if part >= FEWEST_TOKENS and fits(what=replace(batch, tokens=part))), None)
    ways = [] if batch.recompute or not fits(what=replace(batch, recompute=True)) else ["activations computed again"]
    pieces = replace(batch, logit_bytes=least_logit_bytes)
    ways += ["a loss computed in pieces"] if pieces != batch and fits(what=pieces) else []
    ways += [f"{more} devices"] if more else []
    ways += [other for other in lighter if fits(how=other)]
    ways += [f"{fewer} tokens in a micro-batch"] if fewer else []
    return " or ".join(ways) or "a device with more memory, or a smaller model"
