"""The workspace's Ed25519 key: made once, readable by its owner alone, its public half beside it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from freehold.core.errors import InputError


def load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """The private key in `path`; made, with its public half in `<path>.pub`, when there is none.

    Raises:
        InputError: the file is no Ed25519 key, or cannot be read or written.
    """
    try:
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            path.parent.mkdir(parents=True, exist_ok=True)
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            write_atomically(path.with_name(path.name + ".pub"), public)
            # The private half comes last and is made with mode 0600: where it stands, the key is complete.
            write_atomically(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            return key
        loaded = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise InputError(f"{path}: the signing key cannot be read or written ({error.strerror}).") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(_no_key(path)) from error
    if not isinstance(loaded, Ed25519PrivateKey):
        raise InputError(_no_key(path))
    return loaded


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The key that checks signatures, from a public or a private PEM file.

    Raises:
        InputError: the file is no Ed25519 key or cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: the key cannot be read ({error.strerror}). Give the workspace.key.pub of whoever signed."
        ) from error
    if b"PRIVATE KEY" in content:
        return load_or_create_key(path).public_key()
    try:
        loaded = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(_no_key(path)) from error
    if not isinstance(loaded, Ed25519PublicKey):
        raise InputError(_no_key(path))
    return loaded


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all; it is readable by its owner alone when it is new."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _no_key(path: Path) -> str:
    return f"{path}: this is no Ed25519 key in PEM form without a password. Put the right file there, or remove it."
