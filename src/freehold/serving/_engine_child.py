"""The process that llama.cpp's server runs in, started by `CpuEngine`.

It reads its settings as one line of JSON from standard input, writes the server's address to the pipe it
was given, and lives until standard input closes: so it cannot outlive its parent, however that one ends.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

import xllamacpp


def start_server(settings: dict[str, Any]) -> xllamacpp.Server:  # Any: values of several types
    """Load the base with its adapters and listen on a free loopback port."""
    if not xllamacpp.json_schema_to_grammar('{"type": "null"}').startswith("%llguidance"):
        raise RuntimeError("this build of xllamacpp lacks llguidance; install the wheel of the package registry")
    params = xllamacpp.CommonParams()
    params.model.path = settings["base_gguf"]
    # Loaded, and neither merged nor on by default: each request says which adapter it wants.
    params.lora_init_without_apply = True
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in settings["adapters"]]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["context_tokens"]
    params.kv_unified = True
    # A prompt's cached state does not remember which adapter it was computed with, so it stays in its slot.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.fit_params = False
    params.n_gpu_layers = 0
    params.use_jinja = True
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 2
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until standard input closes."""
    settings = json.loads(sys.stdin.readline())
    try:
        server = start_server(settings)
    except RuntimeError as error:
        sys.exit(str(error))
    with suppress(BrokenPipeError), os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as parent:
        parent.write(f"{server.listening_address}\n")
    sys.stdin.read()
    # The server's threads would keep the interpreter waiting for requests in flight, whose reader is gone.
    os._exit(0)


if __name__ == "__main__":  # pragma: no cover - the tests start it as a process
    main()
