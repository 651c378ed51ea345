"""The ledger as the settings want it: what is kept of calls, and how a worker records them."""

from __future__ import annotations

import logging
import time
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Protocol

from freehold.core.errors import FreeholdError, InputError
from freehold.ledger.policy import Policy, TaskPolicy
from freehold.ledger.segment_files import make_private
from freehold.ledger.segments import MIB, SegmentWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.state.settings import LedgerSection, Settings, TaskLedgerSection
    from freehold.state.workspace import Workspace

_log = logging.getLogger(__name__)
_UPKEEP_EVERY_S = 600.0
_AGE_S, _MASKED_AGE_S = 300.0, 30.0


class Stop(Protocol):
    """Says when to stop, such as `threading.Event`."""

    def wait(self, timeout_s: float, /) -> bool:
        """Wait so long at most; whether to stop."""
        ...


def policy_of(settings: Settings) -> Policy:
    """What is kept of each task's calls, and for how long."""
    section = settings.ledger
    default = TaskPolicy(
        bodies=section.bodies, sample=section.sample, bodies_days=section.bodies_days, rows_days=section.rows_days
    )
    return Policy(default, {name: _task_policy(one, section) for name, one in section.tasks.items()})


def open_writer(
    workspace: Workspace, settings: Settings, *, worker: str, on_trouble: Callable[[str], None] | None = None
) -> SegmentWriter:
    """The pen of one worker process.

    Raises:
        OSError: the workspace cannot be written.
    """
    section = settings.ledger
    return SegmentWriter(
        workspace.segments,
        worker=worker,
        durability=settings.gateway.durability,
        max_segment_bytes=section.segment_mib * MIB,
        max_segment_age_s=segment_age_s(section),
        max_backlog_bytes=None if section.backlog_mib is None else section.backlog_mib * MIB,
        min_free_bytes=section.min_free_mib * MIB,
        on_trouble=on_trouble,
    )


def segment_age_s(section: LedgerSection) -> float:
    """Seconds after which a worker begins a new segment: sooner where raw text lies in it that must not stay."""
    if section.segment_age_s is not None:
        return section.segment_age_s
    masks = "mask" in {section.bodies, *(task.bodies for task in section.tasks.values())}
    return _MASKED_AGE_S if masks else _AGE_S


def check_writable(workspace: Workspace) -> None:
    """See that the workers will be able to record, before they are started.

    Raises:
        InputError: they will not.
    """
    try:
        make_private(workspace.segments)
        with NamedTemporaryFile(dir=workspace.segments, prefix="."):
            pass
    except OSError as error:
        raise InputError(
            f"{workspace.segments}: the ledger cannot be written there ({error.strerror}). "
            "Make it a folder that this user may write, or start the gateway in another workspace."
        ) from error


def take_in_recorded(workspace: Workspace, settings: Settings) -> None:
    """Ingest what segments hold, as a reader of the ledger wants it. Costs a look at a folder where there are none.

    Raises:
        InputError: the ledger's index is damaged.
    """
    if not any(workspace.segments.glob("*/*.seg")):
        return
    from freehold.ledger.ingest import ingest

    ingest(workspace.events, policy=policy_of(settings))


def keep_house(
    workspace: Workspace,
    settings: Settings,
    *,
    stop: Stop,
    every_s: float = 5.0,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Ingest every few seconds, and every ten minutes let go of what is out of date and merge small files.

    For a process of its own beside the gateway's workers, until it is told to stop, and then once more.
    What goes wrong is logged and tried again: workers hold calls back by themselves when the disk is full. `after`
    is called after each round.
    """
    from freehold.ledger.ingest import ingest  # brings Arrow along, which no worker of a gateway needs
    from freehold.ledger.memory import give_back, use_little
    from freehold.ledger.upkeep import keep_up

    use_little()
    policy, kept_at, is_over = policy_of(settings), time.monotonic(), False
    while not is_over:
        is_over = stop.wait(every_s)
        try:
            if is_over or time.monotonic() - kept_at < _UPKEEP_EVERY_S:
                ingest(workspace.events, policy=policy)
            else:
                keep_up(workspace.events, policy=policy, hot_days=settings.ledger.hot_days)
                kept_at = time.monotonic()
            after()
            give_back()
        except (OSError, FreeholdError):
            _log.exception("the ledger's housekeeping failed; it is tried again")


def _task_policy(task: TaskLedgerSection, section: LedgerSection) -> TaskPolicy:
    return TaskPolicy(
        bodies=task.bodies or section.bodies,
        sample=section.sample if task.sample is None else task.sample,
        bodies_days=task.bodies_days or section.bodies_days,
        rows_days=task.rows_days or section.rows_days,
    )
