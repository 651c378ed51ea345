from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from freehold.core.errors import FreeholdError, InputError, UpstreamError
from freehold.core.progress import Silent
from freehold.serving.gguf_export import export_base
from freehold.tuning import bases
from freehold.tuning.bases import FACTS, GGUF, KnownBase, cached_bases, fetch_base, known_bases
from freehold.tuning.decoder import Decoder
from tests.tiny_model import make_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

WHEEL = "tiny_base-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("original") / "tiny")


@pytest.fixture(scope="module")
def shelf(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel that carries the tiny model as GGUF."""
    folder = tmp_path_factory.mktemp("shelf")
    gguf = export_base(original, folder / "tiny.gguf")
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.write(gguf, "tiny_base/tiny.gguf")
        wheel.writestr("tiny_base-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-base\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_base-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_base-1.0.dist-info/RECORD", "")
    return folder


@pytest.fixture
def known(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> KnownBase:
    """An entry for that wheel; pip looks nowhere else."""
    entry = KnownBase(
        name="tiny",
        hub_id="owner/tiny",
        revision="abc",
        licence="apache-2.0",
        package="tiny-base==1.0",
        sha256=hashlib.sha256((shelf / WHEEL).read_bytes()).hexdigest(),
        gguf="tiny_base/tiny.gguf",
        source="a test",
        checked="2026-11-23",
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setattr(bases, "known_bases", lambda: {"tiny": entry})
    return entry


@pytest.mark.usefixtures("known")
def test_a_known_base_is_fetched_checked_and_converted_once(original: Path, tmp_path: Path) -> None:
    assert cached_bases(tmp_path) == []
    base = fetch_base("tiny", cache=tmp_path, progress=Silent())
    assert (base.name, base.hub_id, base.revision, base.licence) == ("tiny", "owner/tiny", "abc", "apache-2.0")
    assert base.folder == tmp_path / "bases" / "tiny"
    assert base.gguf == base.folder / GGUF
    assert cached_bases(tmp_path) == ["tiny"]
    made = (base.folder / "model.safetensors").stat().st_mtime_ns
    assert fetch_base("tiny", cache=tmp_path, progress=Silent()) == base
    assert (base.folder / "model.safetensors").stat().st_mtime_ns == made
    assert sorted(path.name for path in (tmp_path / "bases").iterdir()) == [".tiny.lock", "tiny"]

    line = torch.tensor([[5, 6, 7, 8]])
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (original, base.folder)]
    with torch.inference_mode():
        ours, theirs = (model(line).logits for model in models)
    assert models[1].dtype == torch.float32
    torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=0)
    for text in ("Paid  12.50 on 2026-03-14<|im_end|>\n", "Können Sie's  prüfen?"):
        first, second = (AutoTokenizer.from_pretrained(folder)(text)["input_ids"] for folder in (original, base.folder))
        assert first == second


@pytest.mark.usefixtures("known")
def test_two_callers_at_once_share_one_fetch(tmp_path: Path) -> None:
    found: list[Path] = []

    def fetch() -> None:
        found.append(fetch_base("tiny", cache=tmp_path, progress=Silent()).folder)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "bases" / "tiny"] * 2


def test_a_changed_package_is_refused_and_nothing_of_it_kept(
    known: KnownBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "known_bases", lambda: {"tiny": replace(known, sha256="0" * 64)})
    with pytest.raises(UpstreamError, match=r"has SHA-256 [0-9a-f]{64}; 0{64} was expected\..*nothing of it was kept"):
        fetch_base("tiny", cache=tmp_path, progress=Silent())
    assert [path.name for path in (tmp_path / "bases").iterdir()] == [".tiny.lock"]


@pytest.mark.usefixtures("known")
def test_an_unreachable_mirror_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UpstreamError) as error:
        fetch_base("tiny", cache=tmp_path, progress=Silent())
    expected = r"Package tiny-base==1\.0, which carries tiny, could not be downloaded \(ERROR: .*\)\. Check the network"
    assert re.match(expected, str(error.value))
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 5


@pytest.mark.usefixtures("known")
def test_a_python_that_does_not_start_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.tuning.bases.sys.executable", str(tmp_path / "no-python"))
    with pytest.raises(UpstreamError, match=r"Package tiny-base==1\.0 could not be downloaded: .*no-python"):
        fetch_base("tiny", cache=tmp_path, progress=Silent())


@pytest.mark.usefixtures("known")
def test_a_full_disk_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("freehold.tuning.bases.zipfile.ZipFile", full)
    with pytest.raises(FreeholdError, match=r"The disk of .*bases is full\. Free some space and run the same command"):
        fetch_base("tiny", cache=tmp_path, progress=Silent())
    assert [path.name for path in (tmp_path / "bases").iterdir()] == [".tiny.lock"]


def test_a_local_folder_is_a_base_too(original: Path) -> None:
    base = fetch_base(str(original), progress=Silent())
    assert (base.name, base.folder, base.hub_id, base.revision, base.gguf) == ("tiny", original, "tiny", None, None)


def test_a_local_folder_tells_its_origin(original: Path, tmp_path: Path) -> None:
    config = json.loads((original / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"_name_or_path": "owner/model"}))
    assert fetch_base(str(tmp_path), progress=Silent()).hub_id == "owner/model"
    facts = {"hub_id": "owner/other", "revision": "r", "licence": "mit", "source": "s"}
    (tmp_path / FACTS).write_text(json.dumps(facts))
    assert fetch_base(str(tmp_path), progress=Silent()).hub_id == "owner/other"


def test_a_local_folder_whose_configuration_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type"')
    with pytest.raises(InputError, match=r"config\.json: it is no JSON .* Get the folder anew\."):
        fetch_base(str(tmp_path), progress=Silent())


def test_a_model_whose_weights_are_cut_off_is_refused(original: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(original, tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cut holds no model that transformers can read: .* Get the folder anew"):
        Decoder(folder)


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'gpt-9' is neither a known name \(smollm2-135m\) nor a Hugging Face folder"):
        fetch_base("gpt-9", cache=tmp_path, progress=Silent())


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FREEHOLD_CACHE", str(tmp_path))
    assert bases.default_cache() == tmp_path
    monkeypatch.delenv("FREEHOLD_CACHE")
    assert bases.default_cache().parts[-2:] == (".cache", "freehold")


def test_known_bases_name_licence_source_and_hash() -> None:
    for name, base in known_bases().items():
        assert base.name == name
        assert "/" in base.hub_id
        assert all(len(value) == size for value, size in ((base.sha256, 64), (base.revision, 40)))
        assert base.licence
        assert base.source.startswith("https://")
