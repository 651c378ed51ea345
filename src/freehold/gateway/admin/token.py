"""The credential of whoever may watch and steer the gateway. It opens no way to a model."""

from __future__ import annotations

import binascii
import hmac
import os
from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from freehold.gateway.http.headers import Header
    from freehold.state.settings import AdminSection

SHORTEST = 24
"""Characters: what is shorter could be guessed."""


class AdminToken:
    """Knows the token by its hash alone."""

    __slots__ = ("_sha256",)

    def __init__(self, token: str) -> None:
        """Take the token."""
        self._sha256 = sha256(token.encode()).digest()

    def is_shown_in(self, headers: Iterable[Header], *, as_password: bool = False) -> bool:
        """A request shows it as `Authorization: Bearer`, and no other one beside it.

        Comparing takes the same time however much of a wrong one is right.

        Args:
            headers: Of the request.
            as_password: As HTTP's Basic password too, which browsers ask for, under any name.
        """
        shown = [value for name, value in headers if name == b"authorization"]
        if len(shown) != 1:
            return False
        scheme, _, told = shown[0].strip().partition(b" ")
        token = told.strip()
        if scheme.lower() == b"basic" and as_password:
            token = _password_in(token)
        elif scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(sha256(token).digest(), self._sha256)


def _password_in(told: bytes) -> bytes:
    try:
        return b64decode(told, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def admin_token_of(
    section: AdminSection, folder: Path, environment: Mapping[str, str] = os.environ
) -> AdminToken | None:
    """The token that the settings name; None: there is none, and nothing to watch or steer from outside.

    Args:
        section: `[gateway.admin]`.
        folder: Relative files of the settings lie here.
        environment: May hold the token.

    Raises:
        InputError: it is named and not there, is named twice, or is too short.
    """
    if section.token_env is None and section.token_file is None:
        return None
    if section.token_env is not None and section.token_file is not None:
        raise InputError("[gateway.admin] names both token_env and token_file. Name one.")
    where, token = _read(section, folder, environment)
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"The admin token in {where} cannot be used: it must have {SHORTEST} characters or more, of ASCII, without "
            "blanks. Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return AdminToken(token)


def _read(section: AdminSection, folder: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    if section.token_env is not None:
        token = environment.get(section.token_env, "").strip()
        if not token:
            raise InputError(f"[gateway.admin] token_env: the variable {section.token_env} is not set.")
        return section.token_env, token
    file = folder / (section.token_file or "")
    try:
        return str(file), file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"[gateway.admin] token_file: {file} cannot be read ({type(error).__name__}).") from error
