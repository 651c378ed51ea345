"""Which known task a cluster is, and which known tasks turned out to be one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_AT_HOME = 0.2
"""A cluster with a smaller share of a task's calls is not that task: some calls stray."""
_WHOLE = 0.8
"""A task is part of another if so large a share of its calls lies where the other is."""


def owners_of(
    clusters: Sequence[Sequence[str | None]], size: Mapping[str, int], joinable: Collection[str]
) -> tuple[list[str | None], dict[str, str]]:
    """The known task that each cluster is, None for a new one; and the known tasks that are another one -> that one.

    Args:
        clusters: Of each cluster the tasks that its calls have already; None: none.
        size: Calls of each task in the ledger.
        joinable: Tasks that may turn out to be one.
    """
    within = [Counter(task for task in cluster if task is not None) for cluster in clusters]
    total = sum(within, Counter[str]())
    owners = []
    for cluster in within:
        here = [task for task, count in cluster.items() if task not in joinable or count >= _AT_HOME * total[task]]
        owners.append(min(here, key=lambda task: (task in joinable, -size[task], task), default=None))
    lies_with: dict[str, Counter[str]] = {task: Counter() for task in total}
    for cluster, owner in zip(within, owners, strict=True):
        for task, count in cluster.items():
            if owner is not None:
                lies_with[task][owner] += count
    joined = {
        task: owner
        for task, owners_of_it in lies_with.items()
        for owner, count in owners_of_it.items()
        if owner != task and {task, owner} <= {*joinable} and count >= _WHOLE * total[task]
    }
    return owners, {task: owner for task, owner in joined.items() if owner not in joined}
