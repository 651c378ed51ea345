from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from freehold.core.errors import InputError, UpstreamError
from freehold.serving import cpu_engine
from freehold.serving.cpu_engine import CpuEngine, default_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.serving.conftest import TinyModel


def ended(pid: int) -> bool:
    """No process has this id, or only its exit status is left."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_an_engine_starts_answers_and_stops(tiny: TinyModel, tmp_path: Path, post: Callable[..., Any]) -> None:
    engine = CpuEngine(tiny.base_gguf, log_file=tmp_path / "logs" / "engine.log", threads=1)
    assert (engine.pid, engine.is_alive, engine.log_tail()) == (None, False, "nothing")
    with engine:
        pid = engine.pid
        assert engine.is_alive
        assert post(engine, "/tokenize", {"content": "Hello"})["tokens"]
    assert pid is not None
    assert ended(pid)
    assert (engine.pid, engine.is_alive) == (None, False)
    engine.stop()
    assert (tmp_path / "logs" / "engine.log").is_file()


def test_an_engine_answers_only_who_knows_its_key(engine: CpuEngine) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{engine.base_url}/v1/models/x", timeout=10)
    assert caught.value.code == 401
    caught.value.close()


def test_the_chosen_adapter_is_on_and_all_others_off(engine: CpuEngine, tiny: TinyModel) -> None:
    one, two = tiny.adapters_gguf
    assert engine.lora(one) == [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}]
    assert engine.lora(two) == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
    assert engine.lora(None) == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 0.0}]


def test_a_missing_file_is_told_before_anything_starts(tiny: TinyModel, tmp_path: Path) -> None:
    missing = tmp_path / "adapter.gguf"
    with (
        pytest.raises(InputError) as caught,
        CpuEngine(tiny.base_gguf, adapters=[missing], log_file=tmp_path / "log"),
    ):
        pass
    assert str(caught.value) == (f"{missing} is missing: the CPU engine loads the base and its adapters as GGUF files.")


def test_a_base_that_cannot_be_loaded_is_told_with_the_end_of_the_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    engine = CpuEngine(broken, log_file=tmp_path / "log")
    with pytest.raises(UpstreamError) as caught, engine:
        pass
    message = str(caught.value)
    assert message.startswith(f"The CPU engine ended while loading. Its log {tmp_path / 'log'} ends with: ")
    assert "failed to load model" in message
    assert message.endswith("Failed to init server, please check the input params.")
    assert engine.pid is None


def test_an_engine_that_is_not_ready_in_time_is_stopped(tiny: TinyModel, tmp_path: Path) -> None:
    engine = CpuEngine(tiny.base_gguf, log_file=tmp_path / "log", start_timeout_s=0.0)
    with (
        pytest.raises(UpstreamError, match=r"^The CPU engine was not ready after 0 s\. Its log .* ends with: "),
        engine,
    ):
        pass
    assert engine.pid is None


def test_an_engine_that_loaded_and_does_not_answer_is_told(
    tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("refused")

    monkeypatch.setattr(cpu_engine.urllib.request, "urlopen", refuse)  # type: ignore[attr-defined]
    engine = CpuEngine(tiny.base_gguf, log_file=tmp_path / "log", threads=1)
    with (
        pytest.raises(UpstreamError, match=r"^The CPU engine loaded but does not answer \(.*refused.*\)\."),
        engine,
    ):
        pass
    assert engine.pid is None


def test_an_engine_that_hangs_is_ended_by_force(
    tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_engine, "_STOP_TIMEOUT_S", 0.01)
    with CpuEngine(tiny.base_gguf, log_file=tmp_path / "log", threads=1) as engine:
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    assert ended(pid)


def test_an_engine_does_not_outlive_a_parent_that_was_killed(tiny: TinyModel, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from freehold.serving.cpu_engine import CpuEngine\n"
        "with CpuEngine(Path(sys.argv[1]), log_file=Path(sys.argv[2]), threads=1) as engine:\n"
        "    print(engine.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tiny.base_gguf), str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        watch = os.pidfd_open(pid)
        assert not ended(pid)
        parent.kill()
    os.set_blocking(watch, True)
    import select

    assert select.select([watch], [], [], 10)[0] == [watch]
    os.close(watch)
    assert ended(pid)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (64, 32)])
def test_threads_leave_the_machine_usable(cores: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert default_threads() == threads
