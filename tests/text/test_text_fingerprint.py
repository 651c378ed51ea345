from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from freehold.text.fingerprint import fingerprint, normalise


def test_case_spaces_and_unicode_form_do_not_change_a_fingerprint() -> None:
    assert fingerprint("  Where is\n my CARD? ") == fingerprint("where is my card?")
    assert fingerprint("Stra\u00dfe caf\u00e9") == fingerprint("STRASSE cafe\u0301")


def test_digits_and_punctuation_change_a_fingerprint() -> None:
    assert len({fingerprint(text) for text in ("pay 1.249,00", "pay 124900", "pay 1.249,01")}) == 3


def test_a_fingerprint_is_the_same_on_every_machine() -> None:
    assert fingerprint("Hello") == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_a_lone_surrogate_has_a_fingerprint() -> None:
    assert fingerprint("\ud800") != fingerprint("")


@given(st.text())
def test_normalising_twice_changes_no_fingerprint(text: str) -> None:
    assert " ".join(normalise(text).split()) == normalise(text)
    assert fingerprint(text) == fingerprint(f" {text}\t")
