"""What to do first: every saving of every task, the surest and largest on top."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from freehold.audit.examine import Examined

Action = Literal["exact-cache", "prompt-caching", "batch", "cheaper-model", "own", "fewer-failures"]
Certainty = Literal["measured", "sampled", "if-it-can-wait", "if-good-enough"]

SURENESS: dict[Action, float] = {
    "exact-cache": 1.0,
    "prompt-caching": 0.9,
    "fewer-failures": 0.5,
    "batch": 0.5,
    "cheaper-model": 0.3,
    "own": 0.3,
}
"""What an action is weighted with in the order (assumption): counted in the log, estimated from a sample, or waiting
for a test that may fail. Owning is weighted with its own chance and replaceability where they are known."""

MOST = 100
_LEAST_USD = 0.01
"""A month; less is not worth a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do."""

    task: str
    action: Action
    usd_per_month: float
    certainty: Certainty
    sureness: float
    sentence: str
    next: str
    """The command that takes it further, or what to do."""

    def as_record(self, rank: int) -> dict[str, Any]:  # Any: JSON
        """As the audit lists it."""
        return {
            "rank": rank,
            "task": self.task,
            "action": self.action,
            "usd_per_month": self.usd_per_month,
            "expected_usd_per_month": self.usd_per_month * self.sureness,
            "certainty": self.certainty,
            "sentence": self.sentence,
            "next": self.next,
        }


def ranked(tasks: Sequence[Examined]) -> list[Step]:
    """The hundred best steps; what they save overlaps, and is not to be added up within a task."""
    steps = [step for task in tasks for step in _steps(task) if step.usd_per_month >= _LEAST_USD]
    return sorted(steps, key=lambda step: (-step.usd_per_month * step.sureness, step.task, step.action))[:MOST]


def _steps(task: Examined) -> Iterator[Step]:
    yield from _about_repeats(task)
    yield from _about_prices(task)
    yield from _about_owning(task)
    yield from _about_failures(task)


def _about_repeats(task: Examined) -> Iterator[Step]:
    """What is asked or sent again."""
    name, saved = task.audit.task, task.savings
    if saved.repeats_usd and saved.repeated_share:
        said = (
            f"{saved.repeated_share:.0%} of the calls ask what was asked within the week before: answer them from a "
            "cache of exact requests."
        )
        todo = "put a cache keyed by the whole request before the provider"
        yield _step(name, "exact-cache", saved.repeats_usd, "measured", (said, todo))
    if task.prompt_caching_usd and task.prefixes is not None:
        said = (
            f"{task.prefixes.cacheable_share:.0%} of the input was sent within five minutes before and "
            f"{task.prefixes.cached_share:.0%} is read from the provider's cache."
        )
        todo = "put what is always the same first, and switch the provider's prompt caching on"
        yield _step(name, "prompt-caching", task.prompt_caching_usd, "sampled", (said, todo))


def _about_prices(task: Examined) -> Iterator[Step]:
    """The same calls, paid less for."""
    name, saved = task.audit.task, task.savings
    if saved.batch_usd and saved.batchable_share:
        said = (
            f"{saved.batchable_share:.0%} of the calls are at the list price and not streamed: they cost less through "
            "the batch API, where an answer may wait for a day."
        )
        yield _step(name, "batch", saved.batch_usd, "if-it-can-wait", (said, "ask who waits for these answers"))
    if saved.cheaper_usd and saved.cheaper_model:
        said = f"{saved.cheaper_model} would answer the same calls for less, if its answers are good enough."
        todo = f"send a share of the calls to {saved.cheaper_model} and compare"
        yield _step(name, "cheaper-model", saved.cheaper_usd, "if-good-enough", (said, todo))


def _about_owning(task: Examined) -> Iterator[Step]:
    """Weighted with its own chance, and with how ordinary the task is."""
    own = task.owning
    if own is None or own.saved_usd <= 0:
        return
    fits = SURENESS["own"] if task.replaceability is None else task.replaceability.score
    yield Step(
        task=task.audit.task,
        action="own",
        usd_per_month=own.saved_usd,
        certainty="if-good-enough",
        sureness=own.probability * fits,
        sentence=f"{own.plan} costs less in {own.probability:.0%} of the draws, if it is good enough.",
        next=f"freehold breakeven {quote(task.audit.task)}",
    )


def _about_failures(task: Examined) -> Iterator[Step]:
    """Calls that failed and were billed all the same. What repeats one that was not is no waste."""
    audit = task.audit
    wasted = audit.errors_usd
    if wasted and audit.calls_per_month and audit.calls:
        usd = float(wasted) * audit.calls_per_month / audit.calls
        again = f", and {audit.retries:,} calls repeat failed ones" if audit.retries else ""
        said = f"Of {audit.errors:,} failed calls some were billed{again}."
        todo = f"look at the errors: freehold ledger export --task {quote(audit.task)}"
        yield _step(audit.task, "fewer-failures", usd, "measured", (said, todo))


def _step(task: str, action: Action, usd: float, certainty: Certainty, said: tuple[str, str]) -> Step:
    sentence, todo = said
    return Step(
        task=task,
        action=action,
        usd_per_month=usd,
        certainty=certainty,
        sureness=SURENESS[action],
        sentence=sentence,
        next=todo,
    )
