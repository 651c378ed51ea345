"""The memory that our engine takes on one device at its peak, part by part, from a recipe alone.

Every part is counted, none fitted: what is kept of each weight, of each token in each layer, and of each word of the
vocabulary. `economics.tuning_memory` counts the same more coarsely, for any library; here the recipe says what is done.
docs/decisions/0021-recipe-and-plan.md has the count and what it was compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from freehold.economics.tuning_memory import WORKSPACE_GB, embedding_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.decoder import ModelFacts
    from freehold.tuning.recipe import Recipe

GIB = 2.0**30
FLOAT32, BFLOAT16 = 4.0, 2.0
NF4_BYTES = 0.5
SCALE_BYTES: Mapping[bool, float] = {False: 4 / 64, True: 1 / 64 + 4 / (64 * 256)}
"""Per weight: a 32-bit scale for each block of 64, or an 8-bit one and a 32-bit scale for each 256 of those
(Dettmers et al. 2023)."""

MOMENT_BYTES: Mapping[str, float] = {"adamw": 8.0, "adamw_8bit": 2.0 * (1 + 4 / 256)}
"""Per weight that learns: two moments in 32 bits, or in 8 with a 32-bit scale for each block of 256."""

MOST_LOGITS = 2**27
"""Logits that stand in memory at a time; the loss of more is computed in pieces (`answers.MOST_LOGITS`)."""

LOSS_BYTES = 12.0
"""Per logit, beside itself where it is in 16 bits: in 32 bits, as log-probability, and its gradient."""

GATHERED_LAYERS = 2.0
"""Layers that a device holds whole where weights are shared: the one at work and the next."""

CPU_WORKSPACE_BYTES = 1.2 * GIB
"""Python, torch and transformers on a processor (0.45 GiB), and what the allocator and kernels for ever new lengths
keep in the course of a run: 0.75 GiB after 30 steps of SmolLM2-135M. One run measured; it grows on slowly."""

WIDTH_STEP = 8
"""Widths are multiples of it; what norms and biases add to a layer's weights is less."""

STORED_IN_MEMORY_BYTES = 2.0 * GIB
"""More states of frozen lower layers than this go to a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one device has to hold of the data at its peak."""

    tokens: int
    """Of the largest micro-batch."""
    sequence_tokens: int
    """Of the longest row."""
    answer_tokens: int
    """Of the largest micro-batch: places at which there is a loss."""
    stored_tokens: int = 0
    """Of all rows, whose states below the lowest learning layer are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on one device at the peak, by what takes them."""

    weights: float
    """The base and the adapter in the precision in which they lie there."""
    quantization: float
    """Scales of 4-bit blocks, and one matrix unpacked at a time."""
    gradients: float
    optimizer: float
    activations: float
    """What is kept for the backward pass, and the layer at work."""
    logits: float
    """Of the places whose loss is computed at a time."""
    gathered: float
    """Layers that are whole for a moment where weights are shared, and buffers of what devices exchange."""
    stored: float
    """States of frozen lower layers."""
    workspace: float
    """Libraries' own."""

    @property
    def total(self) -> float:
        """All parts."""
        return float(sum(getattr(self, field.name) for field in fields(self)))

    def gib(self) -> dict[str, float]:
        """The parts and their total in GiB."""
        parts = {field.name: getattr(self, field.name) / GIB for field in fields(self)}
        return {**parts, "total": self.total / GIB}


def plan_memory(recipe: Recipe, model: ModelFacts, load: Load, *, on_gpu: bool) -> tuple[Memory, float]:
    """What one device holds at the peak, and the bytes that all devices together keep in the host's memory.

    Args:
        recipe: the run.
        model: the base.
        load: of the data.
        on_gpu: base weights and products are in 16 bits there unless the recipe says otherwise.
    """
    compute = compute_bytes(recipe, on_gpu=on_gpu)
    learning = learning_weights(recipe, model)
    is_packed, is_full = recipe.weights == "qlora", recipe.weights == "full"
    embedding = embedding_weights(model)
    blocks = model.parameters - embedding
    largest = model.hidden_size * max(_mlp_width(model), model.expert_width, _widths(model)[0])
    base = NF4_BYTES * blocks + compute * embedding if is_packed else compute * model.parameters
    states = {
        "weights": FLOAT32 * learning if is_full else base + FLOAT32 * learning,
        "quantization": SCALE_BYTES[recipe.quantization.double] * blocks if is_packed else 0.0,
        "gradients": FLOAT32 * learning,
        "optimizer": MOMENT_BYTES[recipe.training.optimizer] * learning,
    }
    devices, is_shared = recipe.devices, recipe.devices.parallel == "fsdp"
    gathered = 0.0
    if is_shared:
        layer = (NF4_BYTES if is_packed else compute) * blocks / model.layers
        gathered = GATHERED_LAYERS * layer + compute * embedding
        gathered += (compute + FLOAT32) * blocks / model.layers if is_full else 0.0  # gradients of one layer
    elif devices.count > 1:
        gathered = states["gradients"]  # buckets in which they are summed
    if is_full and not is_shared and compute < FLOAT32:
        gathered += compute * model.parameters  # copies in which products are computed
    parts = {name: size / (devices.count if is_shared else 1) for name, size in states.items()}
    host = 0.0
    if devices.cpu_offload:
        host = sum(parts.values()) * devices.count
        parts = dict.fromkeys(parts, 0.0)
    if is_packed:
        parts["quantization"] += compute * largest
    stored = float(FLOAT32 * load.stored_tokens * model.hidden_size) if first_learning_layer(recipe, model) else 0.0
    memory = Memory(
        **parts,
        activations=_activations(recipe, model, load, compute=compute, on_gpu=on_gpu),
        logits=min(load.answer_tokens * model.vocabulary_tokens, MOST_LOGITS) * (LOSS_BYTES + compute % FLOAT32),
        gathered=gathered,
        stored=stored if stored <= STORED_IN_MEMORY_BYTES else 0.0,
        workspace=WORKSPACE_GB * 1e9 if on_gpu else CPU_WORKSPACE_BYTES,
    )
    return memory, host


def compute_bytes(recipe: Recipe, *, on_gpu: bool) -> float:
    """Of one number in a product. On a processor tensors stay in 32 bits, whatever multiplies them."""
    return BFLOAT16 if on_gpu and recipe.precision != "float32" else FLOAT32


def learning_weights(recipe: Recipe, model: ModelFacts) -> float:
    """How many weights learn."""
    if recipe.weights == "full":
        return model.parameters
    layers = model.layers - first_learning_layer(recipe, model)
    query, key = _widths(model)
    hidden, mlp = model.hidden_size, _mlp_width(model)
    sides = {
        "q_proj": hidden + query, "k_proj": hidden + key, "v_proj": hidden + key, "o_proj": query + hidden,
        "qkv_proj": hidden + query + 2 * key, "gate_proj": hidden + mlp, "up_proj": hidden + mlp,
        "down_proj": mlp + hidden, "gate_up_proj": hidden + 2 * mlp,
    }  # fmt: skip
    if mlp == 0:  # experts alone, which PEFT does not adapt by these names
        sides |= dict.fromkeys(("gate_proj", "up_proj", "down_proj", "gate_up_proj"), 0)
    # a name that is not known here is taken for the widest matrix
    return recipe.lora.rank * layers * float(sum(sides.get(name, hidden + mlp) for name in recipe.lora.target_modules))


def first_learning_layer(recipe: Recipe, model: ModelFacts) -> int:
    """Index of the lowest layer with an adapter; the ones below are run once, and their states kept."""
    upper = recipe.lora.upper_layers
    return 0 if upper is None or recipe.weights == "full" else max(0, model.layers - upper)


def _activations(recipe: Recipe, model: ModelFacts, load: Load, *, compute: float, on_gpu: bool) -> float:
    """Kept of the layers that learn and of the one at work, in bytes."""
    query, key = _widths(model)
    hidden, mlp = model.hidden_size, _experts_width(model)
    # two norms keep their input in 32 bits; then: their outputs, queries and what attention gives twice, keys and
    # values rotated or not, and of the gated block its two halves, the gate's output and the product
    numbers = 2 * hidden + 3 * query + 2 * key + 4 * mlp
    if recipe.weights == "full":
        numbers += 2 * hidden  # a norm that learns keeps its output before it is weighed
    each = 2 * FLOAT32 * hidden + compute * numbers
    if recipe.lora.dropout and recipe.weights != "full":
        each += (compute + 1) * (3 * hidden + query + 2 * hidden + mlp)  # each input again, and which were left out
    if not on_gpu:
        each += 2 * FLOAT32 * model.heads * load.sequence_tokens  # scores are kept, before and after the exponential
    at_work = 4 * compute * mlp + 2 * FLOAT32 * hidden  # gradients on their way down
    layers = model.layers - first_learning_layer(recipe, model)
    if recipe.training.gradient_checkpointing:
        return load.tokens * (layers * compute * hidden + each + at_work)
    return load.tokens * (layers * each + at_work)


def _widths(model: ModelFacts) -> tuple[int, int]:
    """Of all queries, and of all keys, of one layer."""
    return model.heads * model.head_dim, model.kv_heads * model.head_dim


def _mlp_width(model: ModelFacts) -> int:
    """Inner width of the gated block that all tokens meet, read off the weights of a layer; 0 where there is none."""
    query, key = _widths(model)
    hidden = model.hidden_size
    each = (model.resident_parameters - model.vocabulary_tokens * hidden) / model.layers
    attention = hidden * (2 * query + 2 * key) if not model.is_latent else 0.0
    return max(0, round((each - attention) / (3 * hidden) / WIDTH_STEP) * WIDTH_STEP)


def _experts_width(model: ModelFacts) -> int:
    """Inner width that one token meets, its experts included."""
    return _mlp_width(model) + model.experts_per_token * model.expert_width
