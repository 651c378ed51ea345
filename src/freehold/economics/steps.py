"""What one step of a replica costs in seconds, in parts that a closed form or a simulation can put together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.economics.machine import engine_of
from freehold.economics.precision import BYTES_PER_WEIGHT, EIGHT_BIT, FOUR_BIT, kv_bytes, resident_bytes

if TYPE_CHECKING:
    from freehold.economics.decoder import ModelFacts
    from freehold.economics.machine import Engine, Hardware
    from freehold.economics.precision import Precision

NETWORK_GB_PER_S = 50.0
"""Between servers, per device, one way: one 400 Gbit/s card each, as in DGX H100 SuperPOD's reference design."""

NETWORK_US = 30.0
"""Latency of an all-reduce between servers: NCCL's own estimate for a few kilobytes on H100s is 26 µs
(github.com/NVIDIA/nccl, issue 1453)."""

SERVER_DEVICES = 8
"""Nobody published a rate of a replica that is split wider than one server of eight."""

RESIDUAL_LOG_SD = 0.12
"""Spread of measured over predicted throughput for dense models where the GPU or the model was not fitted."""

EXPERT_LOG_SD = 0.22
"""The same for mixtures: engines differ far more in them."""

FAR_LOG_SD = 0.5
"""The same where a replica takes more devices than a server has: no published rate of one could be trusted."""

CRAMPED_LOG_SD = 0.8
"""The same where few requests fit in memory: misses of five times were seen."""

CRAMPED_REQUESTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCosts:
    """Plain numbers: seconds, and tokens that fit.

    A step that prefills prompts of p tokens each (all of them, or chunks that sum to them) and decodes B requests
    whose contexts sum to C tokens takes

        Σ p · prefill_s_per_token + Σ p² · prefill_s_per_token2
        + decode_fixed_s + experts_s · (1 − missed_share ** B) + B · decode_s_per_request
        + C · decode_s_per_context_token

    where the second line is left out while nothing decodes. A prompt sends its tokens to all experts, so the step
    in which one is prefilled takes experts_s · missed_share ** B more; for a dense model that is nothing.
    """

    prefill_s_per_token: float
    prefill_s_per_token2: float
    """Attention: times the squared length of a prompt."""
    decode_fixed_s: float
    """Weights that every step reads, launches, and the latency of the links; at any batch."""
    decode_experts_s: float
    """Reading all experts of a mixture; 0 for a dense model."""
    decode_missed_share: float
    """Share of the experts that one request leaves alone; B requests leave this to the power of B."""
    decode_s_per_request: float
    """Arithmetic, links, the server's own work, and caches of a fixed size (windows, running states)."""
    decode_s_per_context_token: float
    """Reading the keys and values of one token, and attending to them where that takes time of its own."""
    kv_tokens: float
    """Tokens whose keys and values fit in memory together."""
    most_requests: float
    """Requests that the engine decodes together at most."""
    log_sd: float
    """Standard deviation of the logarithm of measured over predicted throughput."""
    decode_read_s: float
    """Part of `decode_fixed_s` that reads weights."""
    decode_compute_s_per_request: float
    """Part of `decode_s_per_request` that multiplies."""
    decode_cache_s_per_request: float
    """Part of `decode_s_per_request` that reads caches of a fixed size."""
    decode_compute_s_per_context_token: float = 0.0
    """Part of `decode_s_per_context_token` that multiplies: latent attention only, others just wait for memory."""

    def prefill_s(self, tokens: float, *, decoding: float = 0.0) -> float:
        """Seconds that prefilling one prompt adds to a step in which so many other requests decode."""
        missed = self.decode_experts_s * float(self.decode_missed_share**decoding) if self.decode_experts_s else 0.0
        return tokens * self.prefill_s_per_token + tokens**2 * self.prefill_s_per_token2 + missed

    def decode_s(self, requests: float, context_tokens: float) -> float:
        """Seconds of one step that decodes so many requests, whose contexts sum to `context_tokens`."""
        fixed = self.decode_fixed_s + self.experts_s(requests)
        return fixed + requests * self.decode_s_per_request + context_tokens * self.decode_s_per_context_token

    def experts_s(self, requests: float) -> float:
        """Seconds to read the experts that so many requests are sent to, spread evenly."""
        return self.decode_experts_s * (1.0 - float(self.decode_missed_share**requests))


def step_costs(
    model: ModelFacts,
    hardware: Hardware,
    *,
    gpus: int = 1,
    precision: Precision | None = None,
    context_tokens: float = 2048.0,
    is_streamed: bool = True,
    engine: Engine | None = None,
) -> StepCosts:
    """Costs of one replica spread over `gpus` devices.

    With N active weights of b bytes, L layers of width d, on g devices:
    prefill of p tokens = 2 N p / (g · FLOPS · e_prefill) + 2 W p² / (g · FLOPS · e_prefill) + all-reduce
    decode step of B requests = (N b + B · cache) / (g · bandwidth · e_bandwidth)
    + 2 N B / (g · FLOPS · e_decode) + L · layer time + 2 L · all-reduce + B · server time.
    Keys and values are divided among devices by whole heads (`kv_shards`). Latent attention compares each query head
    with the whole compressed vector, which takes as long as reading it: that is added.

    Args:
        model: the decoder.
        hardware: one device.
        gpus: devices of one replica, tensor parallel.
        precision: of the weights; None takes the hardware's usual one.
        context_tokens: length at which window layers are counted; what they cache stops growing at their window.
        is_streamed: a server sends each token to its client; False for a batch job.
        engine: shares of the data sheet; None takes the fitted ones.

    Raises:
        InputError: the weights do not fit, or the devices do not divide the attention heads.
    """
    check_degree(model, gpus)
    chosen = precision or hardware.default_precision
    reached = engine or engine_of(hardware)
    free = free_bytes(model, hardware, gpus, chosen, reached)
    if free <= 0.0:
        raise InputError(does_not_fit(model, hardware, gpus, chosen, reached))
    # numbers cached for one token, and for one request whatever its length
    cached = model.cached_values(context_tokens) * kv_bytes(chosen)
    per_token = model.kv_values * kv_bytes(chosen)
    shards = kv_shards(model, gpus)
    bandwidth = hardware.bandwidth_gb_per_s * 1e9 * reached.bandwidth_efficiency
    fixed_cache_s = (cached - per_token * context_tokens) / (shards * bandwidth)
    peak_s = _peak_s(model, hardware, gpus, chosen, reached)
    resident_read_s, experts_read_s = _read_s(model, gpus * bandwidth, chosen, reached)
    link_s, latency_s = _link_s(model, hardware, gpus, reached)
    server_s = 1e-6 * reached.request_us if is_streamed else 0.0
    attention_flops = gpus * hardware.flops("bf16") * hardware.sustained_share * reached.prefill_efficiency
    attending_s = model.latent_width * 2.0 / attention_flops
    return StepCosts(
        prefill_s_per_token=peak_s / reached.prefill_efficiency + link_s,
        prefill_s_per_token2=2.0 * model.attention_width / attention_flops,
        decode_fixed_s=resident_read_s + _layers_s(model, hardware, chosen, reached) + latency_s,
        decode_experts_s=experts_read_s,
        decode_missed_share=1.0 - model.experts_per_token / model.experts if model.experts else 0.0,
        decode_s_per_request=peak_s / reached.decode_efficiency + link_s + fixed_cache_s + server_s,
        decode_s_per_context_token=per_token / (shards * bandwidth) + attending_s,
        kv_tokens=free * (shards / gpus) * context_tokens / cached,
        most_requests=float(reached.most_requests),
        log_sd=_log_sd(model, gpus),
        decode_read_s=resident_read_s,
        decode_compute_s_per_request=peak_s / reached.decode_efficiency,
        decode_cache_s_per_request=fixed_cache_s,
        decode_compute_s_per_context_token=attending_s,
    )


def _peak_s(model: ModelFacts, hardware: Hardware, gpus: int, precision: Precision, engine: Engine) -> float:
    """Seconds to multiply one token through the model at the peak that this precision leaves in practice."""

    def rate(multiplied: str) -> float:
        share = 1.0 if hardware.multiplies(multiplied) == "bf16" else engine.low_precision_share
        return gpus * hardware.flops(multiplied) * hardware.sustained_share * share

    routed = model.routed_parameters
    if not routed:
        return 2.0 * model.active_parameters / rate(precision)
    # each device multiplies its slice of an expert; thin slices leave tensor units idle
    width = model.expert_width / gpus
    share = width / (width + engine.half_rate_width) * (engine.int4_expert_share if precision == "int4" else 1.0)
    resident = "bf16" if precision in FOUR_BIT else precision
    return 2.0 * (model.active_parameters - routed) / rate(resident) + 2.0 * routed / (rate(precision) * share)


def _read_s(model: ModelFacts, bandwidth: float, precision: Precision, engine: Engine) -> tuple[float, float]:
    """Seconds to read what every step reads, and all the experts."""
    resident = model.resident_parameters * resident_bytes(precision, has_experts=model.experts > 0) / bandwidth
    share = engine.int4_expert_share if precision == "int4" else 1.0
    return resident, model.expert_parameters * BYTES_PER_WEIGHT[precision] / (bandwidth * share)


def _link_s(model: ModelFacts, hardware: Hardware, gpus: int, engine: Engine) -> tuple[float, float]:
    """All-reduces, two a layer: seconds for each token's activations, and for the latency of a step."""
    if gpus == 1:
        return 0.0, 0.0
    # each device's part is summed first, and sent to all others then
    summed_s = 2.0 * 2.0 * model.hidden_size * shared_s_per_byte(hardware, gpus) / engine.link_share
    is_far = gpus > max(SERVER_DEVICES, hardware.link_devices)
    latency_s = 1e-6 * (NETWORK_US if is_far else engine.all_reduce_us)
    return 2.0 * model.layers * summed_s, 2.0 * model.layers * latency_s


def shared_s_per_byte(hardware: Hardware, gpus: int) -> float:
    """Seconds until all of so many devices have a byte of which each holds a part, at the data sheets' rates.

    Devices that a link joins share among themselves; of what other groups hold each takes its part from the network.
    """
    joined = min(gpus, hardware.link_devices)
    groups = gpus / joined
    inside_s = (joined - 1) / joined / (1e9 * hardware.link_gb_per_s)
    return inside_s + (groups - 1) / groups / joined / (1e9 * min(NETWORK_GB_PER_S, hardware.link_gb_per_s))


def _layers_s(model: ModelFacts, hardware: Hardware, precision: Precision, engine: Engine) -> float:
    is_quantised = model.experts > 0 and precision in EIGHT_BIT and hardware.multiplies(precision) != "bf16"
    each = engine.layer_us
    each += engine.quantised_layer_us if is_quantised else 0.0
    each += engine.latent_layer_us if model.is_latent else 0.0
    each += engine.indexed_layer_us if model.is_indexed else 0.0
    each += engine.state_layer_us if model.state_values else 0.0
    return model.layers * each * 1e-6


def _log_sd(model: ModelFacts, gpus: int) -> float:
    if gpus > SERVER_DEVICES:
        return FAR_LOG_SD
    return EXPERT_LOG_SD if model.experts else RESIDUAL_LOG_SD


def check_degree(model: ModelFacts, gpus: int) -> None:
    """Refuse a tensor-parallel degree that engines cannot run: each device takes the same number of whole heads.

    Latent attention is left out, since its requests may be divided instead.

    Raises:
        InputError: they cannot; the nearest numbers of devices that can are named.
    """
    if model.is_latent or model.heads % gpus == 0:
        return
    able = [degree for degree in range(1, model.heads + 1) if model.heads % degree == 0]
    below, above = max(each for each in able if each < gpus), [each for each in able if each > gpus]
    nearest = f"{below} or {above[0]}" if above else f"{below}"
    raise InputError(
        f"{model.name} has {model.heads} attention heads, which {gpus} devices cannot share evenly; engines refuse "
        f"that. Use {nearest} devices per replica."
    )


def kv_shards(model: ModelFacts, gpus: int) -> float:
    """Among so many devices keys and values are divided; the rest of the devices hold copies.

    A device holds whole heads, as many as the fullest one needs: of 8 heads on 16 devices each holds one, twice in
    all; of 10 on 4 devices each has room for 3.
    """
    if model.is_latent:
        return float(gpus)
    return model.kv_heads / math.ceil(model.kv_heads / gpus)


def weight_bytes(model: ModelFacts, precision: str) -> float:
    """All weights as an engine holds them."""
    outside = (model.parameters - model.expert_parameters) * resident_bytes(precision, has_experts=model.experts > 0)
    return outside + model.expert_parameters * BYTES_PER_WEIGHT[precision]


def free_bytes(model: ModelFacts, hardware: Hardware, gpus: int, precision: str, engine: Engine) -> float:
    """What the weights leave for keys and values on all devices together; negative where they do not fit.

    Operators give the engine more than its usual share when little is left: up to 95 % less 2 GB, as long as that
    leaves 3 % of the memory at most.
    """
    weights = weight_bytes(model, precision)
    usual = gpus * (engine.usable_memory * hardware.memory_gb - engine.reserved_gb) * 1e9 - weights
    tight = gpus * (0.95 * hardware.memory_gb - min(2.0, engine.reserved_gb)) * 1e9 - weights
    return max(usual, min(tight, gpus * 0.03 * hardware.memory_gb * 1e9))


def does_not_fit(model: ModelFacts, hardware: Hardware, gpus: int, precision: str, engine: Engine) -> str:
    """Why, in numbers, and what to do."""
    weights_gb = weight_bytes(model, precision) / 1e9
    usable_gb = gpus * (engine.usable_memory * hardware.memory_gb - engine.reserved_gb)
    return (
        f"{model.name} in {precision} needs {weights_gb:.1f} GB for weights and room for one call, but "
        f"{gpus} × {hardware.name} leave {usable_gb:.1f} GB. Use more devices per replica, a smaller "
        "precision or a smaller model."
    )
