"""The capacity formula over many points at once, and the fit of its constants by robust least squares.

`log_ratios` says the same as `freehold.economics.capacity` and is compared with it before each fit; over arrays a fit
takes a second in place of half an hour, so that every GPU and every model can be left out in turn.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

from freehold.economics.machine import GPU_ENGINE, Engine
from freehold.economics.precision import BYTES_PER_WEIGHT, EIGHT_BIT, FOUR_BIT, kv_bytes, resident_bytes
from freehold.economics.steps import NETWORK_GB_PER_S, NETWORK_US, SERVER_DEVICES, step_costs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from capacity import Point

    Arrays = Mapping[str, np.ndarray]

FITTED = {  # the constants, and neutral values to start from, which a constant that no point tells of keeps
    "prefill_efficiency": 0.7,
    "bandwidth_efficiency": 0.85,
    "low_precision_share": 0.65,
    "half_rate_width": 1000.0,
    "int4_expert_share": 0.6,
    "layer_us": 50.0,
    "quantised_layer_us": 20.0,
    "latent_layer_us": 20.0,
    "indexed_layer_us": 40.0,
    "state_layer_us": 20.0,
    "request_us": 20.0,
}
BOUNDS = {"prefill_efficiency": 0.95, "bandwidth_efficiency": 0.95, "low_precision_share": 1.0, "int4_expert_share": 1}
PULL = 0.3
"""Weight of the neutral values: that of a point or less, where a group of points has 64."""
SCALE = 0.4
"""Logarithmic error beyond which a point counts less and less."""


def arrays(points: Sequence[Point]) -> Arrays:
    """What the formula needs to know of each point, whatever the constants."""
    rows = [_row(point) for point in points]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _row(point: Point) -> dict[str, float]:
    model, gpu, gpus, precision = point.model, point.gpu, point.gpus, point.precision
    given, written = point.tokens
    context = given + written / 2
    costs = step_costs(model, gpu, gpus=gpus, precision=precision, context_tokens=context)
    fitting = costs.kv_tokens / context
    cached, per_token = model.cached_values(context), model.kv_values
    outside = "bf16" if model.experts and precision in FOUR_BIT else precision
    joined = min(gpus, gpu.link_devices)
    groups = gpus / joined
    inside = (joined - 1) / joined / gpu.link_gb_per_s
    between = (groups - 1) / groups / joined / min(NETWORK_GB_PER_S, gpu.link_gb_per_s)
    is_far = gpus > max(SERVER_DEVICES, gpu.link_devices)
    return {
        "measured": point.measured,
        "given": given,
        "written": written,
        "context": context,
        "batch": max(1.0, min(point.concurrency or costs.most_requests, fitting)),
        "streamed": point.concurrency is not None,
        "is_on_its_way": point.concurrency is not None and point.concurrency <= max(1.0, fitting),
        "gpus": gpus,
        "bandwidth": gpu.bandwidth_gb_per_s * 1e9,
        "shards": gpus if model.is_latent else min(gpus, model.kv_heads),
        "token_bytes": per_token * kv_bytes(precision),
        "request_bytes": (cached - per_token * context) * kv_bytes(precision),
        "resident_bytes": model.resident_parameters * resident_bytes(precision, has_experts=model.experts > 0),
        "expert_bytes": model.expert_parameters * BYTES_PER_WEIGHT[precision],
        "missed": costs.decode_missed_share,
        "flops": gpus * gpu.sustained_share * gpu.flops("bf16"),
        "outside_flops": gpus * gpu.sustained_share * gpu.flops(outside),
        "expert_flops": gpus * gpu.sustained_share * gpu.flops(precision),
        "outside_low": gpu.multiplies(outside) != "bf16",
        "expert_low": gpu.multiplies(precision) != "bf16",
        "outside": 2 * model.resident_parameters,
        "routed": 2 * model.routed_parameters,
        "attention": 2 * model.attention_width,
        "attending": 2 * model.latent_width,
        "width": max(1.0, model.expert_width / gpus),
        "int4": precision == "int4" and model.experts > 0,
        "layers": model.layers,
        "moved": 8 * model.layers * model.hidden_size * (inside + between) / 1e9,
        "latency": 2e-6 * model.layers * (gpus > 1) * (NETWORK_US if is_far else GPU_ENGINE.all_reduce_us),
        "quantised": model.experts > 0 and precision in EIGHT_BIT and gpu.multiplies(precision) != "bf16",
        "latent": model.is_latent,
        "indexed": model.is_indexed,
        "state": model.state_values > 0,
    }


def log_ratios(known: Arrays, engine: Engine) -> np.ndarray:
    """Logarithm of predicted over measured, with these constants."""
    a, e = known, engine
    bandwidth = a["bandwidth"] * e.bandwidth_efficiency
    unpacked = np.where(a["int4"], e.int4_expert_share, 1.0)
    thin = a["width"] / (a["width"] + e.half_rate_width) * unpacked
    low, low_outside = (np.where(a[name], e.low_precision_share, 1.0) for name in ("expert_low", "outside_low"))
    peak = a["outside"] / (a["outside_flops"] * low_outside) + a["routed"] / (a["expert_flops"] * low * thin)
    link = a["moved"] / e.link_share
    layer = e.layer_us + e.quantised_layer_us * a["quantised"] + e.latent_layer_us * a["latent"]
    layer = layer + e.indexed_layer_us * a["indexed"] + e.state_layer_us * a["state"]
    experts = a["expert_bytes"] / (a["gpus"] * bandwidth * unpacked)
    missed = a["missed"] ** a["batch"]
    each = peak / e.decode_efficiency + link + a["request_bytes"] / (a["shards"] * bandwidth)
    each = each + 1e-6 * e.request_us * a["streamed"]
    step = a["resident_bytes"] / (a["gpus"] * bandwidth) + 1e-6 * layer * a["layers"] + a["latency"]
    step = step + experts * (1 - missed) + a["batch"] * each
    attending = a["attending"] / (a["flops"] * e.prefill_efficiency)
    step = step + a["batch"] * a["context"] * (a["token_bytes"] / (a["shards"] * bandwidth) + attending)
    prompt = a["given"] * (peak / e.prefill_efficiency + link) + experts * missed
    prompt = prompt + a["given"] ** 2 * a["attention"] / (a["flops"] * e.prefill_efficiency)
    trip = 1e-3 * e.round_trip_ms * a["is_on_its_way"]
    rate = a["batch"] * a["written"] / (a["batch"] * prompt + a["written"] * step + trip)
    return np.log(rate / a["measured"])


def refit(points: Sequence[Point]) -> Engine:
    """Constants by robust least squares of log ratios; a group of n points weighs as much as √n points."""
    known = arrays(points)
    groups = [(point.model.name, point.gpu.name, point.precision) for point in points]
    sizes = Counter(groups)
    weights = np.array([8.0 / math.sqrt(sizes[group]) for group in groups])
    start = np.log(list(FITTED.values()))
    upper = np.log([BOUNDS.get(name, 1e5) for name in FITTED])

    def residuals(logs: np.ndarray) -> np.ndarray:
        off = np.clip(log_ratios(known, with_values(np.exp(logs))), -5.0, 5.0) * weights
        return np.concatenate([off, PULL * (logs - start)])

    found = least_squares(
        residuals, np.minimum(start, upper - 1e-3), bounds=(-20.0, upper), loss="cauchy", f_scale=SCALE, max_nfev=100
    )
    return with_values(np.exp(found.x))


def with_values(values: Sequence[float] | np.ndarray) -> Engine:
    """The engine with these constants in place of the shipped ones."""
    return replace(GPU_ENGINE, **dict(zip(FITTED, (float(value) for value in values), strict=True)))


def fitted_text(engine: Engine) -> str:
    """The fitted constants in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in asdict(engine).items() if name in FITTED)
