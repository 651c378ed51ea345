"""The secret of an API key: random, known by its form without a look into the database, stored as its SHA-256."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

PREFIX = "fh-"
SHOWN_CHARACTERS = len(PREFIX) + 8
"""How much of a secret may be shown again: some 210 random bits stay hidden."""

_ALPHABET = string.digits + string.ascii_letters
_RANDOM = 43
_CHECK = 6
_LENGTH = len(PREFIX) + _RANDOM + _CHECK


def new_secret() -> str:
    """`fh-`, 43 random letters and digits (256 bits), and six that check the others."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return PREFIX + body + _checksum(body)


def has_form(secret: str) -> bool:
    """It can be a secret of ours: a typing error or another provider's key is found without asking the database."""
    if len(secret) != _LENGTH or not secret.isascii() or not secret.startswith(PREFIX):
        return False
    body = secret[len(PREFIX) :]
    return body.isalnum() and body[_RANDOM:] == _checksum(body[:_RANDOM])


def sha256_of(secret: str) -> str:
    """What is stored of a secret. It is random and long, so that a slow hash with salt would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    return digits
