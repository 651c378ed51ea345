"""Checks a decision record: its hash, its signature, and that its verdict follows from its inputs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature

from freehold.core.errors import InputError
from freehold.evaluation.decide import decide
from freehold.evaluation.policy import DecisionInputs, read_policy
from freehold.evaluation.record import DECIDE_SCHEMA, SIGNATURE_SCHEMA, build_record, record_bytes
from freehold.evaluation.result import from_record
from freehold.evaluation.summary import statistics_fault

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

CHECKS = ("hash", "signature", "verdict", "statistics")
_MOST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A decision record that passed every check."""

    file: Path
    task: str
    verdict: str
    sha256: str
    checks: tuple[str, ...]
    """What was checked, all of it passed."""


def verify(file: Path, key: Ed25519PublicKey) -> Verification:
    """Check the record in `file` against the `.sig` file beside it, and recompute its verdict bit for bit.

    The statistics are recomputed too, from the scores case by case, to nine digits.

    Raises:
        InputError: a file cannot be read, or a check failed; it says which.
    """
    content, record = _read_object(file, DECIDE_SCHEMA)
    _, signed = _read_object(file.with_suffix(".sig"), SIGNATURE_SCHEMA)
    sha256 = hashlib.sha256(content).hexdigest()
    faults = []
    if signed.get("sha256") != sha256:
        faults.append("hash (the record is not the one that was signed)")
    if not _is_signed(content, signed, key):
        faults.append("signature (not made by this key over this record)")
    # What nobody vouches for is not computed with.
    faults = faults or _content_faults(content, record)
    if faults:
        raise InputError(f"{file}: the decision does not hold. Failed: {'; '.join(faults)}. Do not rely on it.")
    return Verification(file=file, task=record["task"], verdict=record["verdict"], sha256=sha256, checks=CHECKS)


def _read_object(path: Path, schema: str) -> tuple[bytes, dict[str, Any]]:  # Any: JSON
    try:
        with path.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: it cannot be read ({error.strerror}). A decision is a .json file with its .sig beside it."
        ) from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: it is larger than {_MOST_BYTES:,} bytes; no decision record is.")
    try:
        value = json.loads(content.decode("utf-8", "surrogatepass"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: it is no complete JSON; it may be cut off or damaged. Get a fresh copy.") from error
    if not isinstance(value, dict) or value.get("schema") != schema:
        raise InputError(f"{path}: it is no object of schema {schema!r}.")
    return content, value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and infinities are no JSON


def _is_signed(content: bytes, signed: dict[str, Any], key: Ed25519PublicKey) -> bool:  # Any: JSON
    try:
        key.verify(base64.b64decode(signed.get("signature", ""), validate=True), content)
    except (InvalidSignature, binascii.Error, TypeError, ValueError):
        return False
    return True


def _content_faults(content: bytes, record: dict[str, Any]) -> list[str]:  # Any: JSON
    """What does not follow from the record's own inputs."""
    try:
        stored = record["inputs"]
        inputs = DecisionInputs(
            evaluation=stored["evaluation"],
            cost=stored["cost"],
            policy=read_policy(stored["policy"]),
            versions=record["versions"],
            other_volumes=tuple(stored["other_volumes"]),
        )
        if record_bytes(build_record(inputs, decide(inputs))) != content:
            return ["verdict (its inputs give another record)"]
        fault = statistics_fault(from_record(inputs.evaluation))
    except (InputError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        return [f"verdict (it cannot be recomputed: {error})"]
    return [] if fault is None else [f"statistics ({fault} does not follow from the cases)"]
