"""Runs the gateway: the socket, and in each worker uvicorn around the application."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from freehold.core.errors import InputError
from freehold.gateway.http_server import uvicorn_options
from freehold.gateway.workers import HELD

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.gateway.app import Gateway, Setup

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


def run_worker(app: Gateway, listener: socket.socket, *, drain_s: float, load: Callable[[], Setup]) -> int:
    """Serve until SIGTERM or SIGINT, then end the calls that are under way.

    Args:
        app: The application.
        listener: The socket, shared with the other workers.
        drain_s: Time that calls under way have at the end.
        load: Reads the settings anew, on SIGHUP. If they are wrong the log says so and nothing changes.

    Returns:
        The exit code.
    """
    server = uvicorn.Server(uvicorn.Config(app, **uvicorn_options(drain_s=drain_s)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises them again when it has ended in order
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().add_signal_handler(signal.SIGHUP, _reload, app, load)
        runner.run(_serve(server, listener))
    return 0 if server.started else 1


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve, and heed signals from the moment on in which the server knows what to do with them."""
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    await serving


def _reload(app: Gateway, load: Callable[[], Setup]) -> None:
    try:
        app.reload(load())
    except InputError as error:
        _LOG.error("the settings are wrong, the old ones stay: %s", error)
    else:
        _LOG.info("the settings were read again")
