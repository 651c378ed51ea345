"""The decision record: canonical bytes, their hash, and the workspace's signature."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from freehold import __version__
from freehold.core.errors import InputError
from freehold.core.identity import canonical_json, content_hash
from freehold.evaluation.decide import decide
from freehold.evaluation.keys import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from freehold.evaluation.decide import Decision
    from freehold.evaluation.policy import DecisionInputs

DECIDE_SCHEMA = "freehold.decide/1"
SIGNATURE_SCHEMA = "freehold.signature/1"
_LIBRARIES = ("numpy", "scikit-learn", "pydantic")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDecision:
    """A decision on disk."""

    decision: Decision
    record: dict[str, Any]  # Any: JSON
    file: Path
    signature_file: Path
    sha256: str
    """Of the record's bytes."""
    signature: str
    """Ed25519 over the record's bytes, base64."""


def current_versions() -> dict[str, str]:
    """Versions of this program and of what it computes with."""
    return {
        "freehold": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def build_record(inputs: DecisionInputs, decision: Decision) -> dict[str, Any]:  # Any: JSON
    """The JSON object of schema freehold.decide/1. It holds no time of day and no measured duration."""
    stored = stored_inputs(inputs)
    body = {
        "schema": DECIDE_SCHEMA,
        **decision.as_record(),
        "inputs": stored,
        "versions": dict(inputs.versions),
        "seed": inputs.evaluation["seed"],
        "hashes": {
            "evaluation": content_hash(stored["evaluation"]),
            "cost": content_hash(stored["cost"]),
            "policy": content_hash(stored["policy"]),
            "dataset": inputs.evaluation["dataset_sha256"],
        },
    }
    record: dict[str, Any] = json.loads(canonical_json({**body, "id": f"{decision.task}-{content_hash(body)[:12]}"}))
    return record


def stored_inputs(inputs: DecisionInputs) -> dict[str, Any]:  # Any: JSON
    """The inputs as they stand in the record."""
    stored: dict[str, Any] = json.loads(
        canonical_json(
            {
                "evaluation": inputs.evaluation,
                "cost": inputs.cost,
                "policy": inputs.policy.as_record(),
                "other_volumes": list(inputs.other_volumes),
            }
        )
    )
    return stored


def record_bytes(record: dict[str, Any]) -> bytes:  # Any: JSON
    """What is hashed, signed and written: canonical JSON and a line end."""
    return (canonical_json(record) + "\n").encode("utf-8", "surrogatepass")


def write_decision(inputs: DecisionInputs, folder: Path, key: Ed25519PrivateKey) -> WrittenDecision:
    """Decide, and write `<id>.json` with `<id>.sig` beside it. Equal inputs and key give equal bytes.

    Raises:
        InputError: an input is unusable, or the folder cannot be written.
    """
    decision = decide(inputs)
    record = build_record(inputs, decision)
    content = record_bytes(record)
    sha256 = hashlib.sha256(content).hexdigest()
    signature = base64.b64encode(key.sign(content)).decode("ascii")
    signed = {
        "schema": SIGNATURE_SCHEMA,
        "algorithm": "ed25519",
        "sha256": sha256,
        "signature": signature,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode("ascii"),
    }
    file = folder / f"{record['id']}.json"
    signature_file = file.with_suffix(".sig")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
        write_atomically(signature_file, (canonical_json(signed) + "\n").encode("ascii"))
    except OSError as error:
        raise InputError(
            f"{folder}: the decision cannot be written ({error.strerror}). Make room or permission, then decide again."
        ) from error
    return WrittenDecision(
        decision=decision,
        record=record,
        file=file,
        signature_file=signature_file,
        sha256=sha256,
        signature=signature,
    )
