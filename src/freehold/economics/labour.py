"""What people cost: engineers by the year and by the day, labels, training runs and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.economics.levels import MONTHS_PER_YEAR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray


def engineer_usd_per_month(values: Mapping[str, FloatArray]) -> FloatArray:
    """One full-time engineer, overhead included."""
    return values["salary_usd_per_year"] * (1.0 + values["salary_overhead"]) / MONTHS_PER_YEAR


def engineer_usd_per_day(values: Mapping[str, FloatArray]) -> FloatArray:
    """One working day of that engineer."""
    return engineer_usd_per_month(values) * MONTHS_PER_YEAR / values["working_days_per_year"]


def own_run_usd(devices: int, values: Mapping[str, FloatArray]) -> FloatArray:
    """One training run on all devices of a replica, and the test of what it gave."""
    return values["training_hours"] * values["gpu_usd_per_hour"] * devices + values["evaluation_usd"]


def tuned_run_usd(values: Mapping[str, FloatArray]) -> FloatArray:
    """One training at the provider's fee, and the test of what it gave."""
    return values["tuned_training_mtok"] * values["tuned_training_usd_per_mtok"] + values["evaluation_usd"]


def retraining_usd_per_month(run_usd: FloatArray, values: Mapping[str, FloatArray]) -> FloatArray:
    """k/12 times a run, the engineer's days and the labels that it takes."""
    turn_usd = run_usd + values["days_per_retraining"] * engineer_usd_per_day(values)
    turn_usd = turn_usd + values["labels_per_retraining"] * values["usd_per_label"]
    return values["retrainings_per_year"] / MONTHS_PER_YEAR * turn_usd


def own_setup_usd(devices: int, values: Mapping[str, FloatArray]) -> FloatArray:
    """Spent once, before the first query: engineers' days and the runs until one is good."""
    runs_usd = values["first_trainings"] * own_run_usd(devices, values)
    return values["setup_days"] * engineer_usd_per_day(values) + runs_usd


def tuned_setup_usd(values: Mapping[str, FloatArray]) -> FloatArray:
    """The same where a provider trains and serves."""
    runs_usd = values["first_trainings"] * tuned_run_usd(values)
    return values["tuned_setup_days"] * engineer_usd_per_day(values) + runs_usd


def revalidation_usd_per_month(values: Mapping[str, FloatArray]) -> FloatArray:
    """Whoever rents tests again whenever the provider retires or replaces the model."""
    turn_usd = values["days_per_revalidation"] * engineer_usd_per_day(values) + values["evaluation_usd"]
    return values["revalidations_per_year"] / MONTHS_PER_YEAR * turn_usd
