"""Learned rules at the gateway's workers: loaded when they start, and again when somebody changes tasks."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from freehold.tasks.learned import Learned
from freehold.tasks.rules import TaskRules
from freehold.tasks.store import learned_rules, rules_version, task_names

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from freehold.state.settings import TasksSection

_LOG = logging.getLogger(__name__)
LOOK_EVERY_S = 5.0
"""A changed rule or name is obeyed within this time and what it takes to load it."""

_Loaded = tuple[tuple[int, str, int, str], Learned, dict[str, str]]


class TasksOfWorker:
    """The rules by which one worker gives calls their task."""

    def __init__(self, engine: Engine) -> None:
        """Load what is known now."""
        self._engine = engine
        self._version, self._learned, self._names = self._load()
        self._rules: TaskRules | None = None

    def rules_of(self, section: TasksSection) -> TaskRules:
        """Rules of the settings, with all that was learned; they are kept up to date until others take their place."""
        self._rules = TaskRules(section, self._learned, self._names)
        return self._rules

    async def watch(self) -> None:
        """Look now and then whether tasks have changed. The database is asked beside the calls, never before one."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                loaded = await asyncio.to_thread(self._load_if_changed)
            except SQLAlchemyError as error:
                _LOG.warning("learned rules stay as they are: the database cannot be asked (%s)", type(error).__name__)
                continue
            if loaded is not None:
                self.take(loaded)

    def take(self, loaded: _Loaded) -> None:
        """Obey what was loaded from now on."""
        self._version, self._learned, self._names = loaded
        if self._rules is not None:
            self._rules.relearn(self._learned, self._names)

    def _load_if_changed(self) -> _Loaded | None:
        return None if rules_version(self._engine) == self._version else self._load()

    def _load(self) -> _Loaded:
        version = rules_version(self._engine)
        return version, Learned(learned_rules(self._engine)), task_names(self._engine)
