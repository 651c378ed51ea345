"""The table of formulas that a claim may name, and of the quantities that go into them.

An entry is one line of arithmetic. Its value, the line that a reader checks and the list of its inputs are all made
from that one text, so that they cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.economics.claims.expression import Expression, expression

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY_UNIT = "any"
"""Of quantities and results whose unit the claim itself names."""

EQUAL = "equal"
"""Unit of the answer to whether some numbers are all the same: 1 or 0."""

NAME = "name"
"""Unit of inputs that are words: a model, a machine, a precision."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One input: what people call it, its unit, and the range in which a solution is looked for."""

    label: str
    unit: str
    low: float = 0.0
    high: float = 1e15
    is_whole: bool = False
    """There are only whole ones: no 2.3 GPUs."""


@dataclass(frozen=True, slots=True)
class Formula:
    """One way to compute a claim again."""

    name: str
    about: str
    unit: str
    expression: Expression

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of its inputs, each a key of `QUANTITIES`."""
        return self.expression.names


QUANTITIES: Mapping[str, Quantity] = {
    "queries_per_month": Quantity("queries a month", "queries/month", 1.0, 1e12),
    "input_tokens": Quantity("input tokens", "tokens/query", 0.0, 2e6),
    "output_tokens": Quantity("output tokens", "tokens/query", 0.0, 2e6),
    "input_usd_per_mtok": Quantity("price of input", "USD/Mtok", 0.0, 1e4),
    "output_usd_per_mtok": Quantity("price of output", "USD/Mtok", 0.0, 1e4),
    "gpus": Quantity("GPUs", "GPUs", 1.0, 1e5, is_whole=True),
    "gpu_usd_per_hour": Quantity("rent of a GPU", "USD/GPU-h", 0.0, 1e3),
    "hours_per_month": Quantity("hours a month", "h/month", 0.0, 744.0),
    "hours_per_year": Quantity("hours a year", "h/year", 0.0, 8784.0),
    "finetune_usd": Quantity("fine-tune", "USD", 0.0, 1e9),
    "first_year_usd": Quantity("first year", "USD", 0.0, 1e9),
    "adaptation_usd": Quantity("adaptation", "USD", 0.0, 1e9),
    "other_usd_per_month": Quantity("other costs", "USD/month", 0.0, 1e9),
    "fte": Quantity("engineers", "full-time engineers", 0.0, 1e4),
    "salary_usd_per_year": Quantity("salary", "USD/year", 0.0, 1e7),
    "salary_overhead": Quantity("overhead on salaries", "share of salary", 0.0, 10.0),
    "gpu_hours": Quantity("GPU-hours", "GPU-h", 0.0, 1e8),
    "compute_usd": Quantity("compute", "USD", 0.0, 1e9),
    "labour_hours": Quantity("labour", "h", 0.0, 1e6),
    "working_hours_per_year": Quantity("working hours a year", "h/year", 1.0, 8784.0),
    "examples": Quantity("examples", "examples", 1.0, 1e12),
    "tokens_per_example": Quantity("tokens of an example", "tokens/example", 1.0, 1e7),
    "epochs": Quantity("epochs", "epochs", 0.01, 1e4),
    "training_tokens": Quantity("tokens trained on", "tokens", 1.0, 1e15),
    "parameters": Quantity("parameters", "parameters", 1e6, 1e14),
    "flop_per_parameter": Quantity("FLOP per parameter and token", "FLOP/parameter/token", 1.0, 24.0),
    "tflops": Quantity("peak of a GPU", "TFLOP/s", 0.1, 1e5),
    "mfu": Quantity("utilisation of the peak", "share of peak FLOP/s", 0.001, 1.0),
    "bytes_per_parameter": Quantity("bytes per parameter", "bytes/parameter", 0.25, 32.0),
    "memory_gb": Quantity("memory of a GPU", "GB/GPU", 1.0, 1e4),
    "leader": Quantity("leader", ANY_UNIT, 0.0, 1e5),
    "follower": Quantity("follower", ANY_UNIT, 0.0, 1e5),
    "total_fall": Quantity("fall", "share", 0.0, 1.0),
    "years": Quantity("years", "years", 0.01, 100.0),
    "part": Quantity("part", ANY_UNIT, 0.0, 1e15),
    "whole": Quantity("whole", ANY_UNIT, 0.0, 1e15),
    "value": Quantity("number", ANY_UNIT, 0.0, 1e18),
    "in_text": Quantity("in the text", "USD/Mtok", 0.0, 1e4),
    "first_catalogue": Quantity("first catalogue", "USD/Mtok", 0.0, 1e4),
    "second_catalogue": Quantity("second catalogue", "USD/Mtok", 0.0, 1e4),
    "third_catalogue": Quantity("third catalogue", "USD/Mtok", 0.0, 1e4),
    "model": Quantity("model", NAME),
    "hardware": Quantity("machine", NAME),
    "precision": Quantity("precision", NAME),
}

_QUERY = "(input_tokens * input_usd_per_mtok + output_tokens * output_usd_per_mtok) / 1000000"
_MACHINE = "gpus * gpu_usd_per_hour * hours_per_month"
_TRAINING_FLOPS = "(tflops * 1e12 * mfu)"
_SERVED = "requests_per_s(model, hardware, gpus, precision, input_tokens, output_tokens) * 3600 * hours_per_month"

_TABLE = (
    ("api_usd_per_query", "price of one call per token", "USD/query", _QUERY),
    ("api_usd_per_month", "bill of calls per token", "USD/month", f"queries_per_month * ({_QUERY})"),
    ("api_usd_per_year", "the same for twelve months", "USD/year", f"12 * queries_per_month * ({_QUERY})"),
    ("machine_usd_per_month", "rent of GPUs", "USD/month", _MACHINE),
    (
        "first_year_usd",
        "one fine-tune and a year of GPUs",
        "USD",
        "finetune_usd + gpus * gpu_usd_per_hour * hours_per_year",
    ),
    (
        "breakeven_queries_per_month",
        "volume at which rented GPUs cost what calls per token cost",
        "queries/month",
        f"{_MACHINE} / ({_QUERY})",
    ),
    (
        "breakeven_of_first_year",
        "volume at which calls per token cost what the first year of owning costs",
        "queries/month",
        f"first_year_usd / 12 / ({_QUERY})",
    ),
    (
        "breakeven_with_people",
        "volume at which rented GPUs and engineers cost what calls per token cost",
        "queries/month",
        f"({_MACHINE} + fte * salary_usd_per_year * (1 + salary_overhead) / 12) / ({_QUERY})",
    ),
    (
        "people_usd_per_month",
        "engineers",
        "USD/month",
        "fte * salary_usd_per_year * (1 + salary_overhead) / 12",
    ),
    (
        "payback_months",
        "months until the saved calls have paid the adaptation",
        "months",
        f"adaptation_usd / positive(queries_per_month * ({_QUERY}) - {_MACHINE} - other_usd_per_month)",
    ),
    ("gpu_hours_usd", "rent of some GPU-hours", "USD", "gpu_hours * gpu_usd_per_hour"),
    (
        "adaptation_usd",
        "a fine-tune with the labour around it",
        "USD",
        "compute_usd + labour_hours * salary_usd_per_year * (1 + salary_overhead) / working_hours_per_year",
    ),
    (
        "trained_tokens",
        "tokens that pass through training in some GPU-hours",
        "tokens",
        f"gpu_hours * 3600 * {_TRAINING_FLOPS} / (flop_per_parameter * parameters)",
    ),
    (
        "training_usd",
        "training on a number of tokens",
        "USD",
        f"training_tokens * flop_per_parameter * parameters / {_TRAINING_FLOPS} / 3600 * gpu_usd_per_hour",
    ),
    (
        "finetune_on_examples_usd",
        "training on a number of examples",
        "USD",
        "examples * tokens_per_example * epochs * flop_per_parameter * parameters"
        f" / {_TRAINING_FLOPS} / 3600 * gpu_usd_per_hour",
    ),
    ("days_for_usd", "days of GPUs that a sum rents", "days", "finetune_usd / (gpus * gpu_usd_per_hour) / 24"),
    (
        "tokens_for_usd",
        "tokens trained on with the GPUs that a sum rents",
        "tokens",
        f"finetune_usd / gpu_usd_per_hour * 3600 * {_TRAINING_FLOPS} / (flop_per_parameter * parameters)",
    ),
    (
        "training_state_gb",
        "weights, gradients and optimizer states",
        "GB",
        "parameters * bytes_per_parameter / 1000000000",
    ),
    ("memory_of_gpus_gb", "memory of all GPUs together", "GB", "gpus * memory_gb"),
    ("served_queries_per_month", "calls that a saturated replica serves", "queries/month", _SERVED),
    (
        "share_of_served",
        "share of a saturated replica that a volume fills",
        "%",
        f"100 * queries_per_month / ({_SERVED})",
    ),
    ("difference", "how far one score lies above another", ANY_UNIT, "leader - follower"),
    (
        "elo_expected_share",
        "share of wins that an Elo difference promises (Elo 1978, section 1.7)",
        "share of wins",
        "1 / (1 + 10 ** ((follower - leader) / 400))",
    ),
    ("yearly_fall", "a fall over several years, by the year", "%/year", "100 * (1 - (1 - total_fall) ** (1 / years))"),
    ("share", "part of a whole", "%", "100 * part / whole"),
    ("given", "the number itself, such as another claim's", ANY_UNIT, "value"),
    (
        "same_in_all_catalogues",
        "1 if a price is the same in a text and in three catalogues",
        EQUAL,
        "all_equal(in_text, first_catalogue, second_catalogue, third_catalogue)",
    ),
)

FORMULAS: Mapping[str, Formula] = {
    name: Formula(name, about, unit, expression(text)) for name, about, unit, text in _TABLE
}

_TOGETHER = {
    "tokens_per_query": "length of a query",
    "output_tokens_of_total": "output among its tokens",
}
_ENDS = {"low": "lower end", "high": "upper end", "both": "both ends", "stated": "as stated"}


def label_of(name: str) -> str:
    """What people call an input, one end of it, or two moved together."""
    stem, _, end = name.partition(".")
    label = QUANTITIES[stem].label if stem in QUANTITIES else _TOGETHER.get(stem, stem)
    return f"{label}, {_ENDS[end]}" if end in _ENDS else label


def formulas_record() -> dict[str, Any]:  # Any: JSON
    """The table as the record of schema freehold.formulas/1."""
    return {
        "schema": "freehold.formulas/1",
        "formulas": [
            {
                "name": formula.name,
                "about": formula.about,
                "unit": formula.unit,
                "expression": formula.expression.words({}),
                "inputs": [
                    {"name": name, "label": QUANTITIES[name].label, "unit": QUANTITIES[name].unit}
                    for name in formula.inputs
                ],
            }
            for formula in FORMULAS.values()
        ],
    }
