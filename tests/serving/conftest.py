"""One tiny model for the whole room, with two adapters of visible size, each in both formats."""

from __future__ import annotations

import json
import urllib.request
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from freehold.serving.cpu_engine import CpuEngine
from freehold.serving.endpoint import ServedModel, running_endpoint
from freehold.serving.gguf_export import export_adapter, export_base
from tests.serving.endpoints import DISPUTE, REPLY, TOPIC, Served
from tests.tiny_model import make_tiny_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from freehold.core.call import Call


@dataclass(frozen=True, slots=True)
class TinyModel:
    """The base and its adapters, in both formats."""

    folder: Path
    base_gguf: Path
    adapter_folders: tuple[Path, Path]
    adapters_gguf: tuple[Path, Path]


class SaveAdapter(Protocol):
    """Saves an adapter of the base in `base`."""

    def __call__(self, base: Path, folder: Path, *, seed: int, **lora: Any) -> Path: ...


@pytest.fixture(scope="session")
def save_adapter() -> SaveAdapter:
    return _save_adapter


def _save_adapter(base: Path, folder: Path, *, seed: int, **lora: Any) -> Path:  # Any: options of LoRA
    """An adapter whose factors are drawn wide enough to change every answer."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **lora}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # peft asks for it
        torch.manual_seed(seed)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**settings))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    folder = tmp_path_factory.mktemp("tiny")
    base = make_tiny_model(folder / "base")
    adapters = tuple(_save_adapter(base, folder / f"adapter-{seed}", seed=seed) for seed in (1, 2))
    return TinyModel(
        folder=base,
        base_gguf=export_base(base, folder / "base.gguf"),
        adapter_folders=(adapters[0], adapters[1]),
        adapters_gguf=(
            export_adapter(adapters[0], folder / "one.gguf", base_folder=base),
            export_adapter(adapters[1], folder / "two.gguf", base_folder=base),
        ),
    )


@pytest.fixture(scope="session")
def engine(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CpuEngine]:
    log_file = tmp_path_factory.mktemp("engine") / "engine.log"
    with CpuEngine(tiny.base_gguf, adapters=tiny.adapters_gguf, log_file=log_file, threads=1) as running:
        yield running


@pytest.fixture(scope="session")
def post() -> Callable[[CpuEngine, str, Mapping[str, Any]], Any]:
    """Sends a body to an engine and decodes its answer."""

    def send(engine: CpuEngine, path: str, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            engine.base_url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **engine.headers},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    return send


@pytest.fixture(scope="session")
def models(tiny: TinyModel) -> list[ServedModel]:
    one, two = tiny.adapters_gguf
    return [
        ServedModel("topic-111111111111", TOPIC, one),
        ServedModel("topic-222222222222", TOPIC, two),
        ServedModel("dispute-333333333333", DISPUTE, two),
        ServedModel("reply-base", REPLY, None),
    ]


@pytest.fixture(scope="session")
def _endpoint(tiny: TinyModel, models: list[ServedModel], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    calls: list[Call] = []
    log_file = tmp_path_factory.mktemp("endpoint") / "engine.log"
    with running_endpoint(
        models, base_gguf=tiny.base_gguf, recorder=calls.append, log_file=log_file, threads=1
    ) as base_url:
        yield Served(base_url, calls)


@pytest.fixture
def served(_endpoint: Served) -> Served:
    _endpoint.calls.clear()
    return _endpoint
