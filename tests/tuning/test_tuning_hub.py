"""Bases of the hub: what is said when they cannot be had, and that a commit that is there is not asked for again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

from freehold.core.errors import InputError, UpstreamError
from freehold.core.progress import Silent
from freehold.tuning import _hub
from freehold.tuning.bases import FACTS, fetch_base

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        (GatedRepoError("403", response=Mock()), InputError, r"owner/name is gated: accept its licence .* HF_TOKEN"),
        (RepositoryNotFoundError("404", response=Mock()), InputError, r"The hub has no model 'owner/name'"),
        (OfflineModeIsEnabled("offline"), UpstreamError, r"could not be fetched from the hub \(OfflineModeIsEnabled"),
    ],
)
def test_a_base_that_cannot_be_had_tells_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fault: Exception, error: type[Exception], told: str
) -> None:
    monkeypatch.setattr(_hub, "model_info", Mock(side_effect=fault))
    with pytest.raises(error, match=told):
        fetch_base("owner/name", cache=tmp_path, progress=Silent())


def test_a_hub_that_nobody_reaches_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:1")
    with pytest.raises(
        UpstreamError, match=r"owner/name could not be fetched .* \(ConnectError: .*HF_ENDPOINT, or name"
    ):
        fetch_base("owner/name", cache=tmp_path, progress=Silent())


def test_a_commit_that_was_fetched_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hub, "model_info", Mock(side_effect=AssertionError("asked")))
    folder = tmp_path / "bases" / f"owner--name@{COMMIT[:12]}"
    folder.mkdir(parents=True)
    facts = {"hub_id": "owner/name", "revision": COMMIT, "licence": "mit", "source": "there"}
    (folder / FACTS).write_text(json.dumps(facts))
    for name, revision in ((f"owner/name@{COMMIT}", None), ("owner/name", COMMIT)):
        base = fetch_base(name, revision=revision, cache=tmp_path, progress=Silent())
        assert (base.name, base.revision, base.folder) == ("owner/name", COMMIT, folder)
