"""Own models behind an OpenAI-compatible address on this machine: any OpenAI client can ask them."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from freehold.core.errors import InputError
from freehold.serving._app import EndpointApp
from freehold.serving.cpu_engine import CpuEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from freehold.core.call import Call
    from freehold.core.task import Task
    from freehold.serving._chat_request import Mask

_MAX_BODY_BYTES = 4 * 1024 * 1024
_GRACE_S = 10
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model version that clients can name, by its id or by its task."""

    id: str
    """Id in the registry."""
    task: Task
    """Gives the prompt the model was tuned with, and what it may answer."""
    adapter_gguf: Path | None
    """Its adapter; None serves the bare base."""


def serve(endpoint: AbstractContextManager[str], *, on_ready: Callable[[str], None]) -> None:
    """Keep an endpoint running until SIGTERM or SIGINT; calls that are under way then get ten seconds.

    Must be called from the main thread, where signals arrive.

    Args:
        endpoint: What `running_endpoint` returned; it is started here.
        on_ready: Told the address once it can be asked.

    Raises:
        InputError: as `running_endpoint` does.
        UpstreamError: as `running_endpoint` does.
    """
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in _STOP_SIGNALS}
    try:
        with endpoint as base_url:
            on_ready(base_url)
            stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def running_endpoint(
    models: Sequence[ServedModel],
    *,
    base_gguf: Path,
    recorder: Callable[[Call], None],
    log_file: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    threads: int | None = None,
    parallel: int = 4,
    context_tokens: int = 4096,
    mask: Mask | None = None,
) -> Iterator[str]:
    """The endpoint as a context: its OpenAI base address, such as `http://127.0.0.1:8080/v1`.

    Args:
        models: What can be asked for. A task's name means the first of its versions.
        base_gguf: The base of all of them.
        recorder: Receives each finished call before its last byte is sent, one at a time, on its own thread.
        log_file: Of the engine.
        host: A loopback address: there are no keys yet.
        port: 0 takes a free one.
        threads: Threads that compute; None chooses by the machine.
        parallel: Calls that are answered at once; others wait.
        context_tokens: Tokens that the calls under way share.
        mask: Hides personal data in the turns of a conversation as in training (it is `mask_texts`
            of `freehold.text.pii`). What it hid is put back into the answer.

    Raises:
        InputError: nothing to serve, a missing file, a host that others can reach, or a port that is taken.
        UpstreamError: the engine does not start.
    """
    if not models:
        raise InputError("There is no model to serve. Train one with: freehold tune TASK")
    with _listen(host, port) as listener:
        adapters = dict.fromkeys(model.adapter_gguf for model in models if model.adapter_gguf is not None)
        with CpuEngine(
            base_gguf,
            adapters=list(adapters),
            log_file=log_file,
            threads=threads,
            parallel=parallel,
            context_tokens=context_tokens,
        ) as engine:
            app = EndpointApp(models, engine=engine, recorder=recorder, mask=mask, max_body_bytes=_MAX_BODY_BYTES)
            with _running_server(app, listener) as address:
                yield f"{address}/v1"


@contextmanager
def _running_server(app: Any, listener: socket.socket) -> Iterator[str]:  # Any: ASGI
    """Run the application on a thread, so that signals stay with the caller."""
    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    # The socket listens already: a client that comes before the thread does waits, and is answered.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="freehold-endpoint")
    thread.start()
    try:
        host, port = listener.getsockname()[:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _listen(host: str, port: int) -> socket.socket:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise InputError(
            f"Host {host!r} is not this machine's own (127.0.0.1). The endpoint has no keys yet, so it may "
            "not be reached from outside; put a proxy that checks who asks in front of it."
        )
    if not 0 <= port <= 65535:
        raise InputError(f"Port {port} does not exist; choose one from 1 to 65535, or 0 for any that is free.")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        return socket.create_server((str(address), port), family=family, backlog=128)
    except OSError as error:
        raise InputError(
            f"{host}:{port} cannot be listened on ({error}). Choose another port, or 0 for any."
        ) from error
