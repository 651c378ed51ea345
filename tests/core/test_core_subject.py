from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from freehold.core.subject import Subjects, plainly_hashed

_SUBJECTS = Subjects(b"secret")


def test_an_end_user_is_a_keyed_hash_that_nobody_without_the_secret_can_make() -> None:
    plain = hashlib.sha256(b"ann@example.org").hexdigest()[:32]
    known = hmac.new(b"secret", plain.encode(), hashlib.sha256).hexdigest()[:32]
    assert plainly_hashed("ann@example.org") == plain
    assert _SUBJECTS.sealed(plain) == known
    assert _SUBJECTS.hashed("ann@example.org") == known
    assert Subjects(b"other").hashed("ann@example.org") != known
    assert known not in {plain, "ann@example.org"}


def test_a_purge_finds_an_end_user_also_as_earlier_versions_kept_them() -> None:
    plain = hashlib.sha256(b"ann@example.org").hexdigest()[:32]
    assert _SUBJECTS.forms("ann@example.org") == {_SUBJECTS.hashed("ann@example.org"), plain}
    assert plain in _SUBJECTS.forms(plain)


@given(st.text(st.characters(), max_size=40))
def test_any_name_has_a_hash_of_32_digits(user: str) -> None:
    assert len(_SUBJECTS.hashed(user)) == 32
    assert _SUBJECTS.hashed(user) in _SUBJECTS.forms(user)
