from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from freehold.core.errors import InputError
from freehold.core.identity import canonical_json
from freehold.core.progress import Silent
from freehold.evaluation.contender import Contender
from freehold.evaluation.evaluate import evaluate
from freehold.evaluation.keys import load_or_create_key, read_public_key, write_atomically
from freehold.evaluation.policy import DecisionInputs, Policy
from freehold.evaluation.record import WrittenDecision, current_versions, record_bytes, write_decision
from freehold.evaluation.verify import CHECKS, verify

if TYPE_CHECKING:
    from pathlib import Path

    from tests.evaluation.conftest import Made


@pytest.fixture(scope="session")
def evaluated(made: type[Made]) -> dict[str, Any]:  # Any: JSON
    return evaluate(
        dataset=made.triage(),
        examples=made.intents(60, "test", rented_wrong_every=10),
        train=made.intents(30, "train"),
        contenders=[Contender(name="own", kind="own", model=made.FakeModel(made.right_answer))],
        margin_points=2.0,
        confidence=0.95,
        seed=0,
        progress=Silent(),
    ).as_record()


@pytest.fixture
def inputs(made: type[Made], evaluated: dict[str, Any]) -> DecisionInputs:  # Any: JSON
    return DecisionInputs(
        evaluation=evaluated,
        cost=made.cost_record(),
        policy=Policy(),
        versions=current_versions(),
        other_volumes=(made.cost_record(rent=10.0, queries=1_000),),
    )


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b"7" * 32)


def sign_again(written: WrittenDecision, record: dict[str, Any], key: Ed25519PrivateKey) -> None:  # Any: JSON
    """What a dishonest owner of the key could do: change the record and sign it anew."""
    from base64 import b64encode
    from hashlib import sha256

    content = record_bytes(record)
    written.file.write_bytes(content)
    signed = {
        "schema": "freehold.signature/1",
        "sha256": sha256(content).hexdigest(),
        "signature": b64encode(key.sign(content)).decode(),
    }
    written.signature_file.write_text(canonical_json(signed))


def test_equal_inputs_give_equal_bytes(tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey) -> None:
    first = write_decision(inputs, tmp_path / "one", key)
    again = write_decision(inputs, tmp_path / "two", key)
    assert first.file.read_bytes() == again.file.read_bytes()
    assert first.signature_file.read_bytes() == again.signature_file.read_bytes()
    assert first.file.name == f"{first.record['id']}.json"
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(
        [first.file.name, first.signature_file.name]
    )


def test_the_record_holds_what_the_verdict_rests_on(
    tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey
) -> None:
    record = json.loads(write_decision(inputs, tmp_path, key).file.read_text(encoding="utf-8"))
    assert record["schema"] == "freehold.decide/1"
    assert (record["task"], record["verdict"], record["next_measurement"]) == ("triage", "own", None)
    assert record["inputs"]["evaluation"] == inputs.evaluation
    assert record["inputs"]["cost"] == inputs.cost
    assert record["inputs"]["policy"] == {
        "margin_points": 2.0,
        "confidence": 0.95,
        "min_test_cases": 20,
        "cost_certainty": 0.8,
    }
    assert record["verdicts_by_volume"] == [
        {"queries_per_month": 1000.0, "verdict": "stay-renting"},
        {"queries_per_month": 100000.0, "verdict": "own"},
    ]
    assert set(record["versions"]) == {"freehold", "python", "numpy", "scikit-learn", "pydantic"}
    assert record["seed"] == 0
    assert set(record["hashes"]) == {"evaluation", "cost", "policy", "dataset"}


def test_an_untouched_record_verifies(tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey) -> None:
    written = write_decision(inputs, tmp_path, key)
    found = verify(written.file, key.public_key())
    assert (found.task, found.verdict) == ("triage", "own")
    assert (found.sha256, found.checks) == (written.sha256, CHECKS)


def test_a_changed_byte_fails_hash_and_signature(
    tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey
) -> None:
    written = write_decision(inputs, tmp_path, key)
    changed = written.file.read_bytes().replace(b'"verdict":"own"', b'"verdict":"hybrid"')
    written.file.write_bytes(changed)
    with pytest.raises(InputError) as caught:
        verify(written.file, key.public_key())
    assert str(caught.value) == (
        f"{written.file}: the decision does not hold. Failed: hash (the record is not the one that was "
        "signed); signature (not made by this key over this record). Do not rely on it."
    )


def test_another_key_fails_the_signature_alone(tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey) -> None:
    written = write_decision(inputs, tmp_path, key)
    other = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(InputError, match=r"Failed: signature \(not made by this key"):
        verify(written.file, other)


@pytest.mark.parametrize("signature", ["not base64!", 7, "", "ünicode"])
def test_a_hostile_signature_fails(
    tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey, signature: object
) -> None:
    written = write_decision(inputs, tmp_path, key)
    signed = json.loads(written.signature_file.read_text(encoding="utf-8"))
    written.signature_file.write_text(json.dumps({**signed, "signature": signature}), encoding="utf-8")
    with pytest.raises(InputError, match=r"Failed: signature"):
        verify(written.file, key.public_key())


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"verdict": "hybrid"}, r"verdict \(its inputs give another record\)"),
        ({"reasons": []}, r"verdict \(its inputs give another record\)"),
        ({"extra": 1}, r"verdict \(its inputs give another record\)"),
        ({"inputs": 7}, r"verdict \(it cannot be recomputed: "),
        ({"inputs": {}}, r"verdict \(it cannot be recomputed: 'evaluation'"),
        ({"versions": None}, r"verdict \(it cannot be recomputed: "),
    ],
)
def test_a_record_that_its_owner_falsified_fails_on_its_content(
    tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey, change: dict[str, Any], failed: str
) -> None:
    written = write_decision(inputs, tmp_path, key)
    sign_again(written, {**written.record, **change}, key)
    with pytest.raises(InputError, match=failed):
        verify(written.file, key.public_key())


def test_statistics_that_do_not_follow_from_the_cases_fail(
    tmp_path: Path, made: type[Made], evaluated: dict[str, Any], key: Ed25519PrivateKey
) -> None:
    better = json.loads(json.dumps(evaluated))
    better["contenders"][0]["value"] = 0.5
    written = write_decision(
        DecisionInputs(evaluation=better, cost=made.cost_record(), policy=Policy(), versions={}),
        tmp_path,
        key,
    )
    with pytest.raises(InputError, match=r"Failed: statistics \(the score of 'own' does not follow"):
        verify(written.file, key.public_key())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no complete JSON; it may be cut off or damaged"),
        (b'{"schema":"freehold.decide/1","task":"tri', "it is no complete JSON"),
        (b"[" * 200_000, "it is no complete JSON"),
        (b'{"schema":"freehold.decide/1","seed":NaN}', "it is no complete JSON"),
        (b"\xff\xfe\x00", "it is no complete JSON"),
        (b"[]", "it is no object of schema 'freehold.decide/1'"),
        (b'{"schema":"freehold.evaluate/1"}', "it is no object of schema 'freehold.decide/1'"),
    ],
)
def test_a_file_that_is_no_record_is_refused(
    tmp_path: Path, key: Ed25519PrivateKey, content: bytes, message: str
) -> None:
    file = tmp_path / "d.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        verify(file, key.public_key())


def test_missing_and_oversized_files_are_refused(
    tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey
) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\)"):
        verify(tmp_path / "absent.json", key.public_key())
    written = write_decision(inputs, tmp_path, key)
    written.signature_file.unlink()
    with pytest.raises(InputError, match=r"\.sig: it cannot be read"):
        verify(written.file, key.public_key())
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(256 * 1024 * 1024 + 1)
    with pytest.raises(InputError, match="it is larger than 268,435,456 bytes"):
        verify(huge, key.public_key())


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, inputs: DecisionInputs, key: Ed25519PrivateKey
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="the decision cannot be written"):
        write_decision(inputs, tmp_path / "file", key)


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "workspace.key"
    first = load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_key(path).private_bytes_raw() == first.private_bytes_raw()
    public = first.public_key().public_bytes_raw()
    assert read_public_key(path).public_bytes_raw() == public
    assert read_public_key(tmp_path / "new" / "workspace.key.pub").public_bytes_raw() == public


def test_other_keys_are_refused(tmp_path: Path) -> None:
    rsa = generate_private_key(65537, 2048)
    private = tmp_path / "rsa"
    private.write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    locked = tmp_path / "locked"
    mine = Ed25519PrivateKey.generate()
    locked.write_bytes(mine.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    public = tmp_path / "rsa.pub"
    public.write_bytes(rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    noise = tmp_path / "noise"
    noise.write_text("no key")
    for path in (private, locked, noise):
        with pytest.raises(InputError, match="no Ed25519 key in PEM form without a password"):
            load_or_create_key(path)
    for path in (private, public, noise):
        with pytest.raises(InputError, match="no Ed25519 key in PEM form"):
            read_public_key(path)
    with pytest.raises(InputError, match="the signing key cannot be read or written"):
        load_or_create_key(tmp_path)
    with pytest.raises(InputError, match=r"the key cannot be read .* Give the workspace\.key\.pub"):
        read_public_key(tmp_path / "absent")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    (target / "x").write_text("x")
    with pytest.raises(OSError, match="directory"):
        write_atomically(target, b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
