from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn

from freehold.text.known_values import known_number
from freehold.text.pii import Span, find_pii, kind_of, mask_pii, mask_texts, unmask

FOUND = [
    ("mail anna.meier+x@web.de please", "mail [EMAIL_1] please"),
    ("write to anna (at) web.de", "write to [EMAIL_1]"),
    ("IBAN DE89 3704 0044 0532 0130 00 and so on", "IBAN [IBAN_1] and so on"),
    ("to de89370400440532013000", "to [IBAN_1]"),
    ("to GB82WEST12345698765432.", "to [IBAN_1]."),
    ("card 4111 1111 1111 1111 123 exp 12/27", "card [CARD_1] 123 exp 12/27"),
    ("5500-0000-0000-0004", "[CARD_1]"),
    ("378282246310005 or 3782 822463 10005", "[CARD_1] or [CARD_2]"),
    ("+49 170 1234567", "[PHONE_1]"),
    ("old +44 7700 900555, new +447700900556", "old [PHONE_1], new [PHONE_2]"),
    ("+44 7700 900555 12.10.2026", "[PHONE_1] 12.10.2026"),
    ("+44 7700 900555 100 EUR", "[PHONE_1] 100 EUR"),
    ("call +49 (0)30 901820 or 030 901820", "call [PHONE_1] or [PHONE_2]"),
    ("Tel. 0170/1234567", "Tel. [PHONE_1]"),
    ("0049 30 123456", "[PHONE_1]"),
    ("+44 20 7946 0958 for 100 EUR", "[PHONE_1] for 100 EUR"),
    ("+49 30 123456 12.10.2026", "[PHONE_1] 12.10.2026"),
    ("my number is 07911123456", "my number is [PHONE_1]"),
    ("07911123456", "[PHONE_1]"),
    ("my order is late, call 030 1234567", "my order is late, call [PHONE_1]"),
    ("06 12 34 56 78", "[PHONE_1]"),
    ("(212) 555-0123", "[PHONE_1]"),
    ("(0221) 123 456 78", "[PHONE_1]"),
    ("from 192.168.2.14 and 2001:db8::8a2e:370:7334", "from [IP_1] and [IP_2]"),
    ("Berliner Straße 12, 10115 Berlin", "[ADDRESS_1], 10115 Berlin"),
    ("Musterstr. 5a or Karl-Marx-Allee 7", "[ADDRESS_1] or [ADDRESS_2]"),
    ("221 Baker Street", "[ADDRESS_1]"),
    ("my number is 415 555 2671", "my number is [PHONE_1]"),
    ("ring 5551234567 today", "ring [PHONE_1] today"),
    ("415-555-2671 or (415) 555 2671", "[PHONE_1] or [PHONE_2]"),
    ("4111  1111  1111  1111", "[CARD_1]"),
    ("4111\u200b 1111\u200b 1111 1111!", "[CARD_1]!"),
    ("4111\u200b1111\u200b1111\u200b1111", "[CARD_1]"),
    ("card 4111111111111111 \u2460", "card [CARD_1] \u2460"),
    ("4222222222222", "[CARD_1]"),
    ("6304 0000 0000 0000 000", "[CARD_1]"),
    ("6304000000000000000", "[CARD_1]"),
    ("ada [at] example [dot] com", "[EMAIL_1]"),
    ("ada(at)mail(dot)example.com", "[EMAIL_1]"),
    ("\uff41da\uff20example.com", "[EMAIL_1]"),
    ("pay DE 89 3704 0044 0532 0130 00 now", "pay [IBAN_1] now"),
    ("sort code 12-34-56 account 12345678", "sort code [ACCOUNT_1] account [ACCOUNT_2]"),
    ("Sort code: 12 34 56, account number is 1234 5678.", "Sort code: [ACCOUNT_1], account number is [ACCOUNT_2]."),
    ("Kontonummer: 0648489890", "Kontonummer: [ACCOUNT_1]"),
    ("SSN 123-45-6789", "SSN [ID_1]"),
    ("my social security number is 123 45 6789", "my social security number is [ID_1]"),
    (
        "customer no 40418822, dob 14/02/1991, Anneliese Corrigan",
        "customer no [ID_1], dob [BIRTHDATE_1], Anneliese Corrigan",
    ),
    ("Kundennr.: 40418822", "Kundennr.: [ID_1]"),
    ("born on 14 February 1991 or D.O.B. 1991-02-14", "born on [BIRTHDATE_1] or D.O.B. [BIRTHDATE_2]"),
    ("geb. 14.02.1991, geboren am 3. M\u00e4rz 1988", "geb. [BIRTHDATE_1], geboren am [BIRTHDATE_2]"),
    ("Date of birth: February 14th, 1991", "Date of birth: [BIRTHDATE_1]"),
]

KEPT = [
    "1.249,00",
    "1,249.00 EUR",
    "1 249,00 €",
    "2026-09-28",
    "2026-09-28T12:30:45",
    "12/10",
    "12.10.2026 08:15",
    "from 01.02.2026 to 03.02.2026",
    "01/02/2026 - 03/04/2026",
    "01 02 2026",
    "07/2026 12345",
    "12.10. 14.10. 15.10.",
    "order 1234567812345678",
    "1234 5678 1234 5678",
    "4111111111111112",
    "A-4111111111111111",
    "9111111111111111",
    "1727500000000",
    "order 0012-345678",
    "order number 07911123456",
    "I call about order 030-1234567",
    "Kundennummer 0301234567",
    "ref 212-555-0123",
    "100-200-3000",
    "transaction 00491701234567x",
    "+100000000 EUR",
    "+5 points",
    "+12 500 000 000 more",
    "+999 12345678901",
    "+1234 5678 points",
    "0123456789",
    "DE89 3704 0044 0532 0130 01",
    "DE89 3704 0044",
    "DE89  3704",
    "DE89 3704  0044 0532 0130 00",
    "DE89 3704, then 0044 0532 0130 00",
    "XX12 3456 7890 1234",
    "DE893704004405320130001",
    "version 1.2.3.40",
    "Section 12.3.2.3",
    "3.1.2.4",
    "999.300.1.2",
    "12.345.678,90",
    "12:30:45",
    "a:b::c",
    "1:2:3:4:5",
    "std::vector",
    "Heimweg 20 Minuten",
    "won £100 High Street voucher",
    "no data here",
    "415 555 2671",
    "5551234567",
    "555-123-4567",
    "order 4155552671",
    "call me about the 415 555 2671 EUR",
    "4006381333931",
    "4012345000009",
    "account 100 000 EUR",
    "account 123456.78",
    "account statement of 2026-09-28",
    "account 2026-09-28",
    "on my account 12-10-2026",
    "account 12345",
    "a sort of code 123456",
    "customer 40418822",
    "123-45-6789",
    "14/02/1991",
    "born in 1991",
    "geb. 12,50 EUR",
    "4111-1111-1111-1111-123",
]


@pytest.mark.parametrize(("text", "masked"), FOUND)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    assert mask_pii(text).text == masked


@pytest.mark.parametrize("text", KEPT)
def test_amounts_dates_and_order_numbers_stay(text: str) -> None:
    assert mask_pii(text).text == text


@given(
    st.decimals(min_value=0, max_value=10**9, places=2),
    st.dates(),
    st.sampled_from(["{:,.2f} EUR on {}", "EUR {:,.2f}, {}", "{:.2f}€ ({})"]),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%d/%m", "%d.%m."]),
)
def test_no_amount_and_no_date_is_ever_masked(amount: object, day: object, shape: str, date_shape: str) -> None:
    english = shape.format(amount, day.strftime(date_shape))  # type: ignore[attr-defined]  # a date
    german = english.replace(",", "_").replace(".", ",").replace("_", ".")
    assert find_pii(english) == []
    assert find_pii(german) == []


@given(st.integers(min_value=10**15, max_value=10**16 - 1))
def test_a_long_number_is_a_card_only_if_its_check_digit_is_right(number: int) -> None:
    if find_pii(f"order {number}"):
        assert luhn.is_valid(str(number))


def test_spans_are_sorted_and_tell_kind_and_place() -> None:
    text = "a@b.de, then +49 170 1234567"
    assert find_pii(text) == [Span("EMAIL", 0, 6), Span("PHONE", 13, 28)]
    assert text[13:28] == "+49 170 1234567"


def test_the_same_value_gets_the_same_placeholder() -> None:
    masked = mask_pii("a@b.de or c@d.de or a@b.de")
    assert masked.text == "[EMAIL_1] or [EMAIL_2] or [EMAIL_1]"
    assert masked.mapping == {"[EMAIL_1]": "a@b.de", "[EMAIL_2]": "c@d.de"}


def test_a_placeholder_that_the_text_holds_already_is_not_given_again() -> None:
    masked = mask_pii("[EMAIL_1] wrote from a@b.de")
    assert masked.text == "[EMAIL_1] wrote from [EMAIL_2]"
    assert unmask(masked.text, masked.mapping) == "[EMAIL_1] wrote from a@b.de"


def test_a_known_value_keeps_its_placeholder_when_it_is_spelled_differently() -> None:
    known = mask_pii("DE89 3704 0044 0532 0130 00 and Anna@B.de").mapping
    again = mask_pii('{"iban": "DE89370400440532013000", "mail": "anna@b.de", "other": "x@y.de"}', known=known)
    assert again.text == '{"iban": "[IBAN_1]", "mail": "[EMAIL_1]", "other": "[EMAIL_2]"}'


@pytest.mark.parametrize(
    ("shown", "text", "masked"),
    [
        ("call my phone number 0301234560", "0301234560", "[PHONE_1]"),
        ("call my phone number 0301234560", "order 030 123 45 60.", "order [PHONE_1]."),
        ("call (030) 1234560", "it is (030) 1234560 or 030/1234560", "it is [PHONE_1] or [PHONE_1]"),
        ("call +49 170 1234567", "491701234567, 00491701234567 or +491701234567", "[PHONE_1], [PHONE_1] or [PHONE_1]"),
        ("call +49 170 1234567", "ref_0049-170-1234567", "ref_[PHONE_1]"),
        ("card 4111 1111 1111 1111", "x-4111111111111111", "x-[CARD_1]"),
        ("to DE89 3704 0044 0532 0130 00", "IBAN: de89-3704-0044-0532-0130-00", "IBAN: [IBAN_1]"),
        ("call 0049 170 1234567", "+491701234567 and 491701234567", "[PHONE_1] and [PHONE_1]"),
        ("dob 14/2/1991", "1991-02-14, 14.02.1991, 14/2/1991", "[BIRTHDATE_1], [BIRTHDATE_1], [BIRTHDATE_1]"),
        ("born 1991-02-14", "14.02.1991, not 15.02.1991", "[BIRTHDATE_1], not 15.02.1991"),
        ("ada [at] example [dot] com", "ada@example.com", "[EMAIL_1]"),
        ("from 192.168.2.14", "192.168.2.14, not 192168214", "[IP_1], not 192168214"),
        ("at Berliner Straße 12", "at berliner  straße 12", "at [ADDRESS_1]"),
        ("I am anna@b.de", "anna@b.de, not x.anna@b.de or annabde", "[EMAIL_1], not [EMAIL_2] or annabde"),
    ],
)
def test_a_value_that_was_shown_is_known_again_without_its_cue_and_separators(
    shown: str, text: str, masked: str
) -> None:
    known = mask_pii(shown).mapping
    assert len(known) == 1
    assert mask_pii(text, known=known).text == masked


@pytest.mark.parametrize(
    "text",
    ["10301234560", "0301234560,50", "1.0301234560", "0301234560a", "03012345", "030 1234, 560", "030      1234560"],
)
def test_a_part_of_something_else_is_no_known_value(text: str) -> None:
    assert mask_pii(text, known={"[PHONE_1]": "0301234560", "[EMAIL_1]": "@"}).text == text


def test_a_number_is_known_without_its_leading_zeros() -> None:
    known = {"[EMAIL_1]": "a1234567@b.de", "[PHONE_1]": "030 123-4560"}
    assert known_number(301234560, known) == "[PHONE_1]"
    assert known_number(30123456, known) is None


@given(st.text(), st.dictionaries(st.sampled_from(["[PHONE_1]", "[CARD_1]", "[BIRTHDATE_3]"]), st.text(min_size=1)))
def test_any_value_can_be_known_and_it_never_stays_as_it_was_shown(text: str, known: dict[str, str]) -> None:
    for value in known.values():
        mask_pii(f"{text} {value}", known=known)


def test_ten_thousand_known_values_are_found_in_linear_time() -> None:
    first = " ".join(f"10.{n // 250 + 10}.{n % 250}.77" for n in range(10_000))
    start = time.process_time()
    texts, _ = mask_texts([first, first])
    assert texts[0] == texts[1]
    assert time.process_time() - start < 20


def test_the_turns_of_a_conversation_share_their_placeholders() -> None:
    texts, mapping = mask_texts(["I am a@b.de", "Not [EMAIL_2]?", "No: a@b.de, c@d.de"])
    assert texts == ["I am [EMAIL_1]", "Not [EMAIL_2]?", "No: [EMAIL_1], [EMAIL_3]"]
    assert mapping == {"[EMAIL_1]": "a@b.de", "[EMAIL_3]": "c@d.de"}


def test_the_kind_stands_in_the_placeholder() -> None:
    assert kind_of("[IBAN_12]") == "IBAN"


@given(
    st.lists(
        st.one_of(st.text(max_size=30), st.sampled_from([text for text, _ in FOUND]), st.sampled_from(KEPT)),
        max_size=6,
    ).map(" ".join)
)
@settings(max_examples=200)
def test_masking_can_always_be_undone_and_spans_never_overlap(text: str) -> None:
    masked = mask_pii(text)
    assert unmask(masked.text, masked.mapping) == text
    spans = find_pii(text)
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "1 ",
        "4111 ",
        "@",
        "a@",
        "a.",
        "a",
        "+1",
        "+49 30 1234 ",
        "0",
        "01 23 ",
        ":",
        "DE89 ",
        "4111  ",
        "a(at)b",
        "a[dot]",
        "account 1 ",
        "account ",
        "dob 1 1 ",
        "customer no",
        "\u200b",
        "\uff11",
        "\0",
        "\ud800",
    ],
)
@pytest.mark.parametrize("tail", ["", "(030) a@b.de [EMAIL_ Aaaa Bbbb-"])
def test_hostile_text_takes_linear_time(unit: str, tail: str) -> None:
    """A tenth of a megabyte takes a tenth of a second; a quadratic search would take minutes."""
    hostile = (unit + tail) * (100_000 // len(unit + tail)) + "1"
    start = time.process_time()
    find_pii(hostile)
    assert time.process_time() - start < 20


def test_a_flood_of_random_digits_and_separators_takes_linear_time() -> None:
    hostile = "".join(random.Random(1).choices("0123456789 +-./()", k=100_000))
    start = time.process_time()
    find_pii(hostile)
    assert time.process_time() - start < 20


def test_two_thousand_messages_take_less_than_a_second_of_cpu_time() -> None:
    message = "Please check the 12,50 EUR of 2026-09-28, order 1234-5678; call +49 170 1234567 or a@b.de"
    messages = [f"{message} {index}" for index in range(2000)]
    start = time.process_time()
    masked = [mask_pii(text).text for text in messages]
    assert time.process_time() - start < 1
    assert all("[PHONE_1] or [EMAIL_1]" in text for text in masked)
