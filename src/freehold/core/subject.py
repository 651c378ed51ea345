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
        """32 hexadecimal digits: of the name's plain hash, the keyed one."""
        return self.sealed(plainly_hashed(user))

    def sealed(self, plain: str) -> str:
        """The same from a plain hash: readers of logs, which know no secret, hand out nothing else."""
        return hmac.digest(self._secret, plain.encode(), "sha256").hex()[:32]

    def forms(self, user: str) -> frozenset[str]:
        """Every way in which the ledger may hold an end user.

        Besides the keyed hash this is the plain one that earlier versions kept, and what is given itself if it looks
        like a hash that was read in the ledger.
        """
        given = {user, self.sealed(user)} if _HASHED.fullmatch(user) else set()
        return frozenset({self.hashed(user), plainly_hashed(user), *given})


def plainly_hashed(user: str) -> str:
    """32 hexadecimal digits of SHA-256. Whoever has it can try names: the ledger keeps the keyed hash of it."""
    return sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:32]
