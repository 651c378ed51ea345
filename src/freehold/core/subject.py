"""An end user as the ledger keeps them: a keyed hash of the name that the client gave, never the name."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

_HASHED = re.compile(r"[0-9a-f]{32}")


class Subjects:
    """Hashes end users with the workspace's secret: the same name the same hash, and no way to guess one offline."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """`secret` stays in the workspace: whoever has it can try names."""
        self._secret = secret

    def hashed(self, user: str) -> str:
        """32 hexadecimal digits of HMAC-SHA256."""
        return hmac.digest(self._secret, _bytes(user), "sha256").hex()[:32]

    def forms(self, user: str) -> frozenset[str]:
        """Every way in which the ledger may hold an end user.

        Besides the keyed hash this is the plain one that earlier versions kept, and what is given itself if it looks
        like a hash that was read in the ledger.
        """
        plain = sha256(_bytes(user)).hexdigest()[:32]
        return frozenset({self.hashed(user), plain, *([user] if _HASHED.fullmatch(user) else [])})


def _bytes(user: str) -> bytes:
    return user.encode("utf-8", "surrogatepass")
