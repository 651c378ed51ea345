"""The gateway put together: which objects a worker is made of."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.cli.gateway_limits import LateLimits, price_finder
from freehold.cli.gateway_settings import Reading, bring_state_up, packed, unpacked
from freehold.cli.gateway_spans import check_spans
from freehold.cli.gateway_tasks import TasksOfWorker
from freehold.cli.recording import check_writable, keep_house, open_writer, policy_of
from freehold.core.errors import InputError
from freehold.gateway.admin.token import admin_token_of
from freehold.gateway.app import Gateway, Setup
from freehold.gateway.http.outbox import Outbox
from freehold.gateway.http.pool import Pool
from freehold.gateway.limits.guard import Guard
from freehold.gateway.limits.keys import KeyRing
from freehold.gateway.providers.breaker import Breaker
from freehold.gateway.providers.routes import routes_of
from freehold.gateway.server import is_loopback, listen, run_worker, url_of
from freehold.gateway.watch.board import Board
from freehold.gateway.watch.live import note_process
from freehold.gateway.watch.live_page import LivePage
from freehold.gateway.watch.logs import start_logging
from freehold.gateway.watch.metrics import Counters
from freehold.gateway.watch.spans import SpanFeed, channel
from freehold.gateway.watch.watched import WatchedWriter
from freehold.gateway.workers import Companion, Workers
from freehold.state.database import open_state
from freehold.state.subject_key import subjects_of
from freehold.tasks.rules import TaskRules

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from freehold.core.subject import Subjects
    from freehold.gateway.admin.token import AdminToken
    from freehold.gateway.limits.admission import Admission
    from freehold.gateway.providers.routes import Routes
    from freehold.gateway.workers import Stop
    from freehold.state.settings import Settings
    from freehold.state.workspace import Workspace

_LOG = logging.getLogger(__name__)
_MIB = 1 << 20
_NICE = 10
"""Housekeeping gives way to calls."""


@dataclass(slots=True, kw_only=True)
class Blueprint:
    """What every worker is made from."""

    workspace: Workspace
    file: Path
    settings: Settings
    routes: Routes
    host: str
    port: int
    workers: int
    token: AdminToken | None
    subjects: Subjects
    _listener: socket.socket = field(init=False)
    _admin_listener: socket.socket | None = field(init=False, default=None)
    _spans: tuple[socket.socket, socket.socket] | None = field(init=False, default=None)
    """Where workers tell of attempts, and where that is read."""
    _folder: Path = field(init=False)
    """Of this run: the workers' counters, and settings that were read anew."""

    @classmethod
    def of(
        cls, workspace: Workspace, settings: Settings, file: Path, *, port: int | None, workers: int | None,
        host: str | None,
    ) -> Blueprint:  # fmt: skip
        """A blueprint of the settings; what the command line says goes first.

        Raises:
            InputError: a provider or a rule cannot be used, the state database cannot be opened, or the ledger cannot
                be written.
        """
        gateway = settings.gateway
        routes = routes_of(settings, file.parent)
        TaskRules(settings.tasks)
        if gateway.spans.endpoint is not None:
            check_spans(gateway.spans.endpoint)
        bring_state_up(workspace, _state_url(workspace, settings))
        check_writable(workspace)
        return cls(
            workspace=workspace,
            file=file,
            settings=settings,
            routes=routes,
            host=host or gateway.host,
            port=gateway.port if port is None else port,
            workers=workers or gateway.workers,
            token=admin_token_of(gateway.admin, file.parent),
            subjects=subjects_of(workspace),
        )

    def listen(self) -> tuple[str, str | None]:
        """Take the ports; the address of the gateway, and that of its admin API if it has one.

        Raises:
            InputError: one is taken.
        """
        self._listener = listen(self.host, self.port)
        if self.token is None:
            return url_of(self._listener), None
        admin = self.settings.gateway.admin
        self._admin_listener = listen(admin.host, admin.port)
        return url_of(self._listener), url_of(self._admin_listener)

    def warnings(self) -> list[str]:
        """What whoever starts the gateway should know."""
        told = []
        if not is_loopback(self.host):
            told.append(
                f"{self.host} can be reached from other machines, over plain HTTP. Until a key is made "
                "(freehold keys create NAME) everybody there can spend your providers' money."
            )
        admin = self.settings.gateway.admin
        if self.token is not None and not is_loopback(admin.host):
            told.append(
                f"the admin API at {admin.host} can be reached from other machines, over plain HTTP: its token can be "
                "read on the way. Leave [gateway.admin] host at 127.0.0.1, or put TLS in front of it."
            )
        told += [
            f"provider {one.name!r} is asked over plain HTTP, and a key is sent to it."
            for one in self.routes.providers.values()
            if one.base_url.startswith("http://") and one.own_headers and not _is_near(one.base_url)
        ]
        return told

    def run(self) -> int:
        """Serve until a signal ends it; the exit code."""
        self._folder = Path(tempfile.mkdtemp(prefix="freehold-gateway-"))
        start_logging()
        note_process(self._folder, "parent")
        gateway = self.settings.gateway
        if gateway.spans.endpoint is not None:
            self._spans = channel()
        try:
            return Workers(
                self.workers, self._work, drain_s=gateway.drain_s, companions=self._companions(), reload=self._reload
            ).run()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _companions(self) -> list[Companion]:
        found = []
        if self.settings.gateway.housekeeping:
            found.append(Companion("the ledger's housekeeping", self._keep_house, heeds_reload=True))
        if self.token is not None:
            found.append(Companion("the admin API", self._serve_admin))
        if self._spans is not None:
            found.append(Companion("the exporter of spans", self._export_spans, after_s=0.0))
        return found

    def _close_listeners(self, *, but: socket.socket | None = None) -> None:
        """A process that does not answer at a port lets go of it: else clients would wait there."""
        for listener in (self._listener, self._admin_listener):
            if listener is not None and listener is not but:
                listener.close()

    def _serve_admin(self, stop: Stop) -> None:
        from freehold.cli.gateway_admin import serve_admin

        assert self._admin_listener is not None
        assert self.token is not None
        self._close_listeners(but=self._admin_listener)
        note_process(self._folder, "admin")
        serve_admin(self._admin_listener, _state_url(self.workspace, self.settings), self.token, self._folder, stop)

    def _export_spans(self, stop: Stop) -> None:
        from freehold.cli.gateway_spans import export

        assert self._spans is not None
        self._close_listeners()
        os.nice(_NICE)
        note_process(self._folder, "spans")
        export(self._spans[0], self.settings, stop)

    def _keep_house(self, stop: Stop) -> None:
        self._close_listeners()
        os.nice(_NICE)
        note_process(self._folder, "housekeeping")
        keep_house(self.workspace, self.settings, stop=stop, after=self._cost_counter())

    def _cost_counter(self) -> Callable[[], None]:
        from freehold.cli.gateway_costs import CostCounters, pricing_of  # with the catalogue, which no worker needs

        try:
            pricing = pricing_of(self.settings, self.file.parent)
        except (InputError, OSError) as error:
            _LOG.error("what calls cost is not counted: %s", error)
            return lambda: None
        return CostCounters(self.workspace.calls, Counters(self._folder, "housekeeping"), pricing).count

    def _reload(self) -> bool:
        from freehold.cli.gateway_admin import note_reload

        fault = self._read_again()
        note_reload(self._folder, fault)
        return fault is None

    def _read_again(self) -> str | None:
        """Read the settings anew and leave them for the workers; if they are wrong all stays as it is, and why."""
        try:
            settings = Reading(self.workspace, self.file).result()
            routes = routes_of(settings, self.file.parent)
            TaskRules(settings.tasks)
        except (InputError, OSError) as error:
            _LOG.error("the settings are wrong, the old ones stay: %s", error)
            return str(error)
        self.settings, self.routes = settings, routes
        new = self._new_settings.with_suffix(".new")
        new.write_bytes(packed(settings))
        new.rename(self._new_settings)
        return None

    def _work(self, name: str) -> int:
        gateway = self.settings.gateway
        self._close_listeners(but=self._listener)
        note_process(self._folder, name)
        board = Board(self._folder, name)
        recorded = open_writer(self.workspace, self.settings, worker=name)
        counters = Counters(self._folder, name)
        feed = None if self._spans is None else SpanFeed(self._spans[1], counters, sample=gateway.spans.sample)
        writer = WatchedWriter(recorded, board, log_calls=gateway.log_calls, listener=feed)
        stack = AsyncExitStack()
        guard, tasks = self._guard(stack)

        @asynccontextmanager
        async def lifetime() -> AsyncIterator[None]:
            stack.callback(guard.keys.close)
            watching = asyncio.create_task(tasks.watch())
            stack.callback(watching.cancel)
            async with stack:
                yield
            recorded.seal()

        outbox = Outbox(recorded)
        app = Gateway(
            setup_of(self.settings, self.routes, guard, self.subjects),
            writer=writer,
            counters=counters,
            open_upstream=lambda provider: Pool(provider, outbox),
            spool=self.workspace.data,
            lifetime=lifetime,
            live=self._live_page(guard),
            new_breaker=lambda provider: Breaker(note=board.health_of(provider)),
        )

        def load() -> Setup:
            setup = self._load(guard, tasks)
            writer.log_calls = setup.log_calls
            return setup

        return run_worker(app, self._listener, outbox=outbox, drain_s=gateway.drain_s, load=load)

    def _live_page(self, guard: Guard) -> LivePage:
        return LivePage(
            self._folder,
            token=self.token,
            is_loopback=is_loopback(self.host),
            has_keys=guard.keys.has_keys,
            runs=self.workspace.runs,
        )

    @property
    def _new_settings(self) -> Path:
        return self._folder / "settings"

    def _guard(self, stack: AsyncExitStack) -> tuple[Guard, TasksOfWorker]:
        """Keys, rules and limits. The database is opened by each worker: connections do not outlive a fork."""
        engine = open_state(_state_url(self.workspace, self.settings))
        limits = LateLimits(engine, stack, lambda: price_finder(self.settings, self.file.parent))
        tasks = TasksOfWorker(engine)
        rules = tasks.rules_of(self.settings.tasks)
        return Guard(KeyRing(engine, is_open_without_keys=True), rules, limits), tasks

    def _load(self, guard: Guard, tasks: TasksOfWorker) -> Setup:
        settings = unpacked(self._new_settings.read_bytes())
        rules = guard.with_rules(tasks.rules_of(settings.tasks))
        return setup_of(settings, routes_of(settings, self.file.parent), rules, self.subjects)


def setup_of(settings: Settings, routes: Routes, admission: Admission, subjects: Subjects) -> Setup:
    """What a worker does, as the settings have it."""
    gateway = settings.gateway
    return Setup(
        routes=routes,
        admission=admission,
        policy=policy_of(settings),
        subjects=subjects,
        max_body_bytes=int(gateway.max_body_mb * _MIB),
        client_timeout_s=gateway.client_timeout_s,
        max_calls=gateway.max_connections,
        log_calls=gateway.log_calls,
    )


def _state_url(workspace: Workspace, settings: Settings) -> str:
    return settings.state.url or workspace.default_state_url


def _is_near(base_url: str) -> bool:
    from urllib.parse import urlsplit

    return is_loopback(urlsplit(base_url).hostname or "")
