"""Base models from the Hugging Face hub: weights as safetensors and the tokenizer, of one commit, kept whole."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from huggingface_hub import model_info, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from freehold.core.errors import InputError, UpstreamError
from freehold.tuning._files import whole_folder

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.progress import Progress

_UNREACHABLE: type[Exception] = HfHubHTTPError.__mro__[1]
"""What the hub's HTTP client raises when nobody answers; which client that is differs between releases."""
COMMIT = re.compile(r"[0-9a-f]{40}")
WANTED = ("*.json", "*.safetensors", "*.model", "*.jinja", "tokenizer*", "merges.txt", "vocab.txt")


def fetch(hub_id: str, revision: str | None, *, folder: Path, facts: str, progress: Progress) -> Path:
    """The folder of a model of the hub below `folder`, fetched on first use; without a revision its newest commit.

    A commit that was fetched before is not asked for again.

    Args:
        hub_id: owner/name.
        revision: a commit, branch or tag; None: the newest commit.
        folder: where fetched models lie.
        facts: name of the file in the model's folder that says where it comes from.
        progress: is told of the fetching.

    Raises:
        InputError: the hub has no such model or revision, or the model is gated and the token lets nobody in.
        UpstreamError: the hub cannot be reached.
    """
    if revision is not None and COMMIT.fullmatch(revision):
        there = folder / _folder_name(hub_id, revision)
        if (there / facts).exists():
            return there
    try:
        info = model_info(hub_id, revision=revision)
        commit = str(info.sha)
        there = folder / _folder_name(hub_id, commit)
        if not (there / facts).exists():
            progress.start(f"Fetching {hub_id}", None)
            with whole_folder(there) as draft:
                snapshot_download(hub_id, revision=commit, local_dir=draft, allow_patterns=list(WANTED))
                licence = str(getattr(info.card_data, "license", None) or "unknown")
                origin = f"https://huggingface.co/{hub_id}/tree/{commit}"
                found = {"hub_id": hub_id, "revision": commit, "licence": licence, "source": origin}
                (draft / facts).write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
            progress.finish()
    except GatedRepoError as error:
        raise InputError(
            f"Base model {hub_id} is gated: accept its licence on https://huggingface.co/{hub_id} and set HF_TOKEN to "
            "a token of that account (https://huggingface.co/settings/tokens)."
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"Base model {hub_id} has no revision {revision!r} on the hub.") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"The hub has no model {hub_id!r} that this machine may see. Check its name; for a private one set "
            "HF_TOKEN."
        ) from error
    except (HfHubHTTPError, _UNREACHABLE, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UpstreamError(
            f"Base model {hub_id} could not be fetched from the hub ({type(error).__name__}: {reason}). Check the "
            "network and HF_ENDPOINT, or name a local Hugging Face folder as the base."
        ) from error
    return there


def _folder_name(hub_id: str, commit: str) -> str:
    return f"{hub_id.replace('/', '--')}@{commit[:12]}"
