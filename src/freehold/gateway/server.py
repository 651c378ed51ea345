"""Runs the gateway: the socket, and in each worker the server around the application."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from typing import TYPE_CHECKING

import uvloop

from freehold.core.errors import InputError
from freehold.gateway.http.server import HttpServer
from freehold.gateway.workers import HELD

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.gateway.app import Gateway, Setup
    from freehold.gateway.http.outbox import Outbox

_LOG = logging.getLogger(__name__)
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can reach from now on; they wait until a worker is there.

    Raises:
        InputError: the address is taken or not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InputError(
            f"{host}:{port} cannot be listened on ({error.strerror}). Choose another --port, or 0 for any that is free."
        ) from error


def is_loopback(host: str) -> bool:
    """Only programs of this machine can reach an address of this host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_of(listener: socket.socket) -> str:
    """The address of the gateway, without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_worker(
    app: Gateway, listener: socket.socket, *, outbox: Outbox, drain_s: float, load: Callable[[], Setup]
) -> int:
    """Serve until SIGTERM or SIGINT, then end the calls that are under way.

    Args:
        app: The application.
        listener: The socket, shared with the other workers.
        outbox: Through which answers leave, and requests to providers.
        drain_s: Time that calls under way have at the end.
        load: Reads the settings anew, on SIGHUP. If they are wrong the log says so and nothing changes.

    Returns:
        The exit code.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, HttpServer(app.serve, outbox=outbox), listener, drain_s=drain_s, load=load))
    return 0


async def _serve(
    app: Gateway, server: HttpServer, listener: socket.socket, *, drain_s: float, load: Callable[[], Setup]
) -> None:
    loop = asyncio.get_running_loop()
    told_to_stop = asyncio.Event()

    def stop() -> None:
        if told_to_stop.is_set():
            server.hurry()  # told twice
        told_to_stop.set()

    async with app.alive():
        await server.start(listener)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, _reload, app, load)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        await told_to_stop.wait()
        await server.stop(drain_s)


def _reload(app: Gateway, load: Callable[[], Setup]) -> None:
    try:
        app.reload(load())
    except InputError as error:
        _LOG.error("the settings are wrong, the old ones stay: %s", error)
    else:
        _LOG.info("the settings were read again")
