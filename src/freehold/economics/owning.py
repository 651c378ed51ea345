"""Cost lines of whoever owns: on rented devices, on bought ones, or with unsure cases sent to the rented model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from freehold.economics.labour import (
    engineer_usd_per_month,
    own_run_usd,
    own_setup_usd,
    retraining_usd_per_month,
)
from freehold.economics.levels import MONTHS_PER_YEAR, annuity_months, annuity_of, level, mean_volume
from freehold.economics.terms import CostLine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray

SECONDS_PER_HOUR = 3600.0
WATTS_PER_KW = 1000.0

MACHINE_TERMS = ("machines", "storage, egress, idle images")
"""Terms that move with the rent of devices."""

TOKEN_TERMS = ("escalated queries", "spot fallback")
"""Terms of owning that move with the price of rented tokens."""


@dataclass(frozen=True, slots=True)
class Replica:
    """What one replica of the plan is: requests per second when saturated (measured or predicted), and devices."""

    requests_per_s: float
    devices: int


def own_line(replica: Replica, values: Mapping[str, FloatArray], *, fallback_usd: FloatArray | None) -> CostLine:
    """Owning on rented devices.

    Args:
        replica: What one replica delivers and consists of.
        values: Every assumption by name.
        fallback_usd: A rented query, for spot machines that are taken away; None: no rented price is known.
    """
    device_usd = values["gpu_usd_per_hour"] * (1.0 - values["spot_discount"]) * hours_on(values) * replica.devices
    device_usd = device_usd * level(values["gpu_drift_per_year"], values)
    per_query = {"errors": _error_usd(values)}
    if fallback_usd is not None:
        per_query["spot fallback"] = values["spot_outage_share"] * fallback_usd
    return CostLine(
        fixed=_fixed(replica.devices, values),
        per_replica={
            "machines": device_usd,
            "storage, egress, idle images": device_usd * (values["overhead_factor"] - 1.0),
        },
        per_query=per_query,
        replica_queries=_replica_queries(replica, values, peak=_peak_to_mean(values)),
        replicas_minimum=values["replicas_minimum"],
        credit=values["sovereignty_usd_per_month"],
    )


def bought_line(replica: Replica, values: Mapping[str, FloatArray]) -> CostLine:
    """Owning on bought devices, which are always on.

    A device costs (P - S / (1 + r)^(life/12)) / annuity(life) a month, so that it may outlive the horizon and is
    then replaced at the same terms; plus power, the rack that it stands in, and its maintenance.
    """
    life, rate = values["life_months"], values["discount_rate_per_year"]
    lost_share = 1.0 - values["residual_share"] * (1.0 + rate) ** (-life / MONTHS_PER_YEAR)
    kilowatts = values["watts"] / WATTS_PER_KW * replica.devices
    paid = values["purchase_usd"] * replica.devices
    energy_usd = values["hours_per_month"] * values["pue"] * values["usd_per_kwh"]
    return CostLine(
        fixed=_fixed(replica.devices, values),
        per_replica={
            "purchase less residual value": paid * lost_share / annuity_of(rate, life),
            "power": kilowatts * energy_usd,
            "hosting": kilowatts * values["usd_per_kw_month"],
            "maintenance": paid * values["maintenance_per_year"] / MONTHS_PER_YEAR,
        },
        per_query={"errors": _error_usd(values)},
        replica_queries=_replica_queries(replica, values, peak=values["peak_to_mean"]),
        replicas_minimum=values["replicas_minimum"],
        credit=values["sovereignty_usd_per_month"],
    )


def hybrid_line(own: CostLine, rented_usd: FloatArray, values: Mapping[str, FloatArray]) -> CostLine:
    """Owning plus the rented answers of the escalated share: the own model reads every query first.

    What leaves the house is not sovereign, so the premium for that is not credited.
    """
    share = values["escalated_share"]
    errors = own.per_query["errors"] * (1.0 - share)
    return CostLine(
        fixed=own.fixed,
        per_replica=own.per_replica,
        per_query={**own.per_query, "errors": errors, "escalated queries": share * rented_usd},
        replica_queries=own.replica_queries,
        replicas_minimum=own.replicas_minimum,
    )


def hours_on(values: Mapping[str, FloatArray]) -> FloatArray:
    """Hours a month for which a rented device is paid: the busy ones and its starts, or all of them."""
    hours = values["hours_per_month"]
    starting = values["cold_starts_per_month"] * values["cold_start_minutes"] / 60.0
    return np.minimum(hours, values["hours_on_share"] * hours + starting)


def _peak_to_mean(values: Mapping[str, FloatArray]) -> FloatArray:
    """Whoever answers a month in a share h of its hours is at least 1/h times as busy in them."""
    return np.maximum(values["peak_to_mean"], 1.0 / values["hours_on_share"])


def _replica_queries(replica: Replica, values: Mapping[str, FloatArray], *, peak: FloatArray) -> FloatArray:
    sustained = replica.requests_per_s * values["capacity_error"] * values["planned_load"] / peak
    # As many of today's queries as grow to what a replica carries in the mean month of the horizon.
    return sustained * SECONDS_PER_HOUR * values["hours_per_month"] / mean_volume(values)


def _fixed(devices: int, values: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {
        "people": values["fte"] * engineer_usd_per_month(values),
        "retraining": retraining_usd_per_month(own_run_usd(devices, values), values),
        "set-up": own_setup_usd(devices, values) / annuity_months(values),
    }


def _error_usd(values: Mapping[str, FloatArray]) -> FloatArray:
    """Errors that owning adds per query, half of what the rented model gains between two retrainings included."""
    with np.errstate(divide="ignore"):
        between = np.minimum(1.0 / values["retrainings_per_year"], values["horizon_months"] / MONTHS_PER_YEAR)
    added = values["error_difference"] + values["error_growth_per_year"] * between / 2.0
    return np.maximum(0.0, added) * values["usd_per_error"] * mean_volume(values)
