from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.text.near_duplicates import Signatures, group_near_duplicates, group_signatures, signatures

MESSAGE = "I ordered a new card two weeks ago and it still has not arrived at my address"
SHOPS = ["Zalando", "Amazon", "Lidl", "Ikea", "Rewe", "Otto"]
CITIES = ["Berlin", "Paris", "Rome", "Oslo", "Lisbon", "Vienna"]


@pytest.mark.parametrize(
    "again",
    [
        "i ordered a new card two weeks ago, and it still has not arrived at my address!!",
        "Hello, I ordered a new card two weeks ago and it still has not arrived at my address. Thanks",
        "I orderd a new card two weeks ago and it still has not arived at my address",
        "I ordered a new card two weeks ago and it has still not arrived at my address",
        "I ordered a new card two weeks ago and it really has not arrived at my address",
    ],
)
def test_a_message_that_was_sent_again_or_slightly_reworded_is_found(again: str) -> None:
    assert group_near_duplicates(["something else entirely, please help me", MESSAGE, again]) == [0, 1, 1]


@pytest.mark.parametrize(
    "template",
    [
        "I was charged twice by {} in {} and I want my money back now please",
        "The payment to {} from my account in {} was never authorised by me, please refund the whole amount",
    ],
)
def test_rows_of_one_template_with_different_content_stay_apart(template: str) -> None:
    rows = [template.format(shop, city) for shop in SHOPS for city in CITIES]
    assert group_near_duplicates(rows) == list(range(36))


def test_texts_with_different_numbers_stay_apart() -> None:
    rows = [f"I was charged {amount} EUR by the same shop on 12/10 and I want it back" for amount in (49, 82, 97)]
    assert group_near_duplicates(rows) == [0, 1, 2]


def test_a_row_of_a_template_that_was_sent_again_is_still_found() -> None:
    rows = [f"I was charged twice by {shop} in {city} and I want it back" for shop in SHOPS for city in CITIES]
    assert group_near_duplicates([*rows, "i was charged twice by Ikea, in Oslo, and I want it back!"])[-1] == 21


def test_short_texts_are_grouped_only_when_their_words_are_equal() -> None:
    assert group_near_duplicates(["card lost", "Card  LOST!", "card last", "", "?", "?"]) == [
        0,
        0,
        2,
        3,
        4,
        4,
    ]


def test_no_texts_have_no_groups() -> None:
    assert group_near_duplicates([]) == []


def test_ten_thousand_rows_take_a_few_seconds() -> None:
    chooser = random.Random(3)
    words = ["".join(chooser.choices("abcdefghij", k=chooser.randint(2, 9))) for _ in range(800)]
    rows = [" ".join(chooser.choices(words, k=chooser.randint(6, 20))) for _ in range(5000)]
    start = time.process_time()
    groups = group_near_duplicates(rows + [f"Hello {row}" for row in rows])
    assert time.process_time() - start < 20
    assert sum(groups[5000 + row] == groups[row] for row in range(5000)) > 4900


@given(st.lists(st.sampled_from([MESSAGE, MESSAGE + " now", "card lost", "one two three four five six", "x"])))
def test_a_group_is_named_after_its_first_text_and_equal_texts_share_it(texts: list[str]) -> None:
    groups = group_near_duplicates(texts)
    assert all(groups[group] == group <= index for index, group in enumerate(groups))
    assert all(
        groups[one] == groups[other]
        for one in range(len(texts))
        for other in range(len(texts))
        if texts[one] == texts[other]
    )


def test_groups_are_those_of_a_slow_search_of_all_pairs() -> None:
    chooser = random.Random(7)
    words = ["".join(chooser.choices("abcdefghiklmnoprstu", k=6)) for _ in range(300)]
    texts: list[str] = []
    for _ in range(120):
        said = chooser.choices(words, k=chooser.randint(5, 14))
        texts.append(" ".join(said))
        for _ in range(chooser.randint(0, 3)):
            said[chooser.randrange(len(said))] = chooser.choice([*words, "12", "13"])
            texts.append(" ".join(said))
    chooser.shuffle(texts)
    root = list(range(len(texts)))
    for one in range(len(texts)):
        for other in range(one):
            if _is_near(texts[one], texts[other]):
                low, high = sorted((root[one], root[other]))
                root = [low if each == high else each for each in root]

    found = group_near_duplicates(texts)
    assert found == root
    assert 60 < len(set(found)) < len(texts) - 60


def _is_near(one: str, other: str) -> bool:
    numbers = [sorted(word for word in text.split() if word.isdigit()) for text in (one, other)]
    grams = [{f" {text} "[place : place + 4] for place in range(len(text) - 1)} for text in (one, other)]
    return numbers[0] == numbers[1] and len(grams[0] & grams[1]) / len(grams[0] | grams[1]) >= 0.7


@given(st.lists(st.text(max_size=12) | st.sampled_from(["", "a", "\U0001f600", "\ud800", MESSAGE]), max_size=6))
def test_a_signature_is_that_of_its_text_whatever_stands_beside_it(texts: list[str]) -> None:
    together = signatures(texts)
    alone = Signatures()
    for text in texts:
        alone.add(signatures([text]), 0)
    for name in ("words", "numbers", "tokens", "digests"):
        assert getattr(together, name).tolist() == getattr(alone, name).tolist()
    assert len(together) == len(texts)


@given(st.permutations(range(6)))
def test_signatures_may_stand_in_another_order_than_the_texts(order: list[int]) -> None:
    texts = ["something else entirely, please help me", MESSAGE, f"Hello, {MESSAGE}", "card lost", "Card lost!", "x"]
    stored = signatures([texts[order.index(place)] for place in range(6)])
    assert group_signatures(stored, texts.__getitem__, order=order) == [0, 1, 1, 3, 3, 5]
