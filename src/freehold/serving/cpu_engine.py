"""llama.cpp on the CPU, in a process of its own: one base, several adapters, chosen anew by each request."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Self

from freehold.core.errors import InputError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

_STOP_TIMEOUT_S = 5.0
_LOG_LINES_SHOWN = 5


def default_threads() -> int:
    """Threads that leave the machine usable: one on one or two cores, else half of them.

    More threads than idle cores make llama.cpp wait at every layer: a reply that took 1.4 s with one thread
    took 33 s with two on a busy machine of two cores.
    """
    return max(1, len(os.sched_getaffinity(0)) // 2)


class CpuEngine:
    """A running llama.cpp server; enter it to start, leave it to stop."""

    def __init__(
        self,
        base_gguf: Path,
        *,
        adapters: Sequence[Path] = (),
        log_file: Path,
        threads: int | None = None,
        parallel: int = 4,
        context_tokens: int = 4096,
        start_timeout_s: float = 120.0,
    ) -> None:
        """Describe the engine; nothing runs yet.

        Args:
            base_gguf: The base model.
            adapters: GGUF LoRA files of this base.
            log_file: Where the engine's own words go; it is kept.
            threads: Threads that compute; None chooses by the machine.
            parallel: Requests that are answered at once; others wait.
            context_tokens: Tokens of prompt and answer that all requests share.
            start_timeout_s: How long loading may take.
        """
        self.base_gguf = base_gguf
        self.adapters = tuple(adapters)
        self.log_file = log_file
        self.threads = default_threads() if threads is None else threads
        self.parallel = parallel
        self.context_tokens = context_tokens
        self.start_timeout_s = start_timeout_s
        self.base_url = ""
        """`http://127.0.0.1:PORT` once it runs."""
        self._api_key = secrets.token_urlsafe(32)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the process and wait until the model is loaded.

        Raises:
            InputError: a file is missing.
            UpstreamError: the engine did not start; the message ends with the last lines of its log.
        """
        for file in (self.base_gguf, *self.adapters):
            if not file.is_file():
                raise InputError(f"{file} is missing: the CPU engine loads the base and its adapters as GGUF files.")
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the process."""
        self.stop()

    @property
    def headers(self) -> dict[str, str]:
        """What a request must carry: the engine answers nobody who does not know its key."""
        return {"Authorization": f"Bearer {self._api_key}"}

    @property
    def pid(self) -> int | None:
        """Id of the process, None if it was never started or is stopped."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """The process runs."""
        return self._process is not None and self._process.poll() is None

    def lora(self, adapter: Path | None) -> list[dict[str, float]]:
        """The `lora` field of a request: this adapter at full scale, the others off; None is the bare base.

        It must stand in every request: without it llama.cpp applies them all.
        """
        return [{"id": index, "scale": float(file == adapter)} for index, file in enumerate(self.adapters)]

    def log_tail(self) -> str:
        """The last lines that the engine wrote."""
        if not self.log_file.is_file():
            return "nothing"
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LOG_LINES_SHOWN:]) or "nothing"

    def stop(self) -> None:
        """End the process: first by closing its input, then by force. Harmless when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        reading, writing = os.pipe()
        try:
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                    [sys.executable, "-m", "freehold.serving._engine_child", str(writing)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writing,),
                    start_new_session=True,
                )
        finally:
            os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as answer:
            self._send_settings()
            ready, _, _ = select.select([answer], [], [], max(0.0, deadline - time.monotonic()))
            self.base_url = answer.readline().strip() if ready else ""
        if not self.base_url:
            reason = "ended while loading" if ready else f"was not ready after {self.start_timeout_s:g} s"
            raise UpstreamError(f"The CPU engine {reason}. Its log {self.log_file} ends with: {self.log_tail()}")
        self._check_health()

    def _send_settings(self) -> None:
        settings = {
            "base_gguf": str(self.base_gguf.absolute()),
            "adapters": [str(file.absolute()) for file in self.adapters],
            "threads": self.threads,
            "parallel": self.parallel,
            "context_tokens": self.context_tokens,
            "api_key": self._api_key,
        }
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(settings).encode() + b"\n")
        self._process.stdin.flush()

    def _check_health(self) -> None:
        try:
            with urllib.request.urlopen(f"{self.base_url}/health", timeout=self.start_timeout_s) as response:  # noqa: S310 - our own loopback address
                response.read()
        except (urllib.error.URLError, OSError) as error:
            raise UpstreamError(
                f"The CPU engine loaded but does not answer ({error}). "
                f"Its log {self.log_file} ends with: {self.log_tail()}"
            ) from error
