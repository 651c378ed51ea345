from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from freehold.core.errors import InputError
from freehold.serving.endpoint import ServedModel, running_endpoint, serve
from tests.serving.endpoints import Served, ask, endpoint_over, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.serving.conftest import TinyModel


def test_nothing_to_serve_a_foreign_host_and_a_taken_port_are_told(
    tiny: TinyModel, models: list[ServedModel], tmp_path: Path
) -> None:
    def message(served_models: Sequence[ServedModel], **options: Any) -> str:
        endpoint = running_endpoint(
            served_models,
            base_gguf=tiny.base_gguf,
            recorder=lambda _: None,
            log_file=tmp_path / "log",
            **options,
        )
        with pytest.raises(InputError) as caught, endpoint:
            pass
        return str(caught.value)

    assert message([]) == "There is no model to serve. Train one with: freehold tune TASK"
    for host in ("0.0.0.0", "example.org"):
        assert message(models, host=host).startswith(f"Host {host!r} is not this machine's own (127.0.0.1).")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert message(models, host="localhost", port=port).startswith(f"localhost:{port} cannot be listened on (")
    assert message(models, port=70000) == (
        "Port 70000 does not exist; choose one from 1 to 65535, or 0 for any that is free."
    )


def test_an_ipv6_loopback_address_is_written_in_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with endpoint_over(refuse, lambda _: None, host="::1") as served:
        assert served.base_url.startswith("http://[::1]:")
        assert served.send("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_in_good_order_when_told(number: signal.Signals, tiny: TinyModel, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from freehold.core.task import Task\n"
        "from freehold.serving.endpoint import ServedModel, running_endpoint, serve\n"
        "task = Task(name='topic', kind='classification', labels=('a', 'b'), own_prompt='Name it.')\n"
        "endpoint = running_endpoint(\n"
        "    [ServedModel('topic-1', task, None)], base_gguf=Path(sys.argv[1]), recorder=lambda call: None,\n"
        "    log_file=Path(sys.argv[2]), threads=1)\n"
        "serve(endpoint, on_ready=lambda url: print(url, flush=True))\n"
        "print('ended', flush=True)\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(tiny.base_gguf), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        served = Served(process.stdout.readline().strip())
        assert ask(served.client, "topic").choices[0].message.content in {"a", "b"}
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("ended\n", "", 0)


def test_signals_are_given_back_after_serving(served: Served) -> None:
    before = signal.getsignal(signal.SIGTERM)

    @contextmanager
    def endpoint() -> Iterator[str]:
        yield "http://127.0.0.1:1/v1"

    serve(endpoint(), on_ready=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is before
