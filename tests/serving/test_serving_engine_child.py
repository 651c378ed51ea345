from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import pytest
import xllamacpp

from freehold.serving import _engine_child

SETTINGS = {
    "base_gguf": "/models/base.gguf",
    "adapters": ["/models/one.gguf", "/models/two.gguf"],
    "threads": 3,
    "parallel": 2,
    "context_tokens": 512,
    "api_key": "secret",
}


class FakeServer:
    """Takes the parameters that llama.cpp's server would, and loads nothing."""

    listening_address = "http://127.0.0.1:4711"
    params: Any = None

    def __init__(self, params: Any) -> None:
        FakeServer.params = params


@pytest.fixture(autouse=True)
def _no_real_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xllamacpp, "Server", FakeServer)


def run_main(monkeypatch: pytest.MonkeyPatch, pipe: int) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(SETTINGS) + "\n"))
    monkeypatch.setattr(sys, "argv", ["_engine_child", str(pipe)])
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as caught:
        _engine_child.main()
    assert caught.value.code == 0


def test_settings_reach_llama_cpp() -> None:
    _engine_child.start_server(SETTINGS)
    params = FakeServer.params
    assert params.model.path == "/models/base.gguf"
    assert [adapter.path for adapter in params.lora_adapters] == ["/models/one.gguf", "/models/two.gguf"]
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 3)
    assert (params.n_parallel, params.n_ctx, params.kv_unified) == (2, 512, True)
    assert (list(params.hostnames), params.port, list(params.api_keys)) == (["127.0.0.1"], 0, ["secret"])


def test_a_prompt_computed_with_one_adapter_is_never_kept_for_another() -> None:
    _engine_child.start_server(SETTINGS)
    assert FakeServer.params.cache_ram_mib == 0


def test_the_address_is_told_to_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    run_main(monkeypatch, writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "http://127.0.0.1:4711\n"


def test_a_parent_that_gave_up_waiting_is_no_reason_to_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    run_main(monkeypatch, writing)


def test_a_build_without_llguidance_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xllamacpp, "json_schema_to_grammar", lambda _: "root ::= [a-z]")
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(SETTINGS) + "\n"))
    with pytest.raises(SystemExit) as caught:
        _engine_child.main()
    assert caught.value.code == ("this build of xllamacpp lacks llguidance; install the wheel of the package registry")
