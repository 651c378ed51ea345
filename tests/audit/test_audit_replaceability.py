"""How ordinary a task is, on logs made up for it and on the task sets that have labels."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from freehold.audit.replaceability import FEWEST, replaceability_of
from freehold.audit.sample import Exchange
from freehold.text.fingerprint import fingerprint

DATA = Path(__file__).parents[3] / "shared" / "data"
WORDS = "invoice late parcel refund login password card account street order"


def _exchange(text: str, answer: str) -> Exchange:
    return Exchange(int(fingerprint(text)[:12], 16), text, answer)


def _labelled(count: int, *, noise: float = 0.0) -> list[Exchange]:
    """The label is the subject's, but for a share that is drawn."""
    choice = random.Random(0)
    subjects = WORDS.split()
    rows = []
    for number in range(count):
        subject = choice.choice(subjects)
        label = subject if choice.random() >= noise else choice.choice(subjects)
        rows.append(_exchange(f"about {subject} number {number}", label))
    return rows


def test_answers_that_follow_from_the_words_are_replaceable() -> None:
    found = replaceability_of(_labelled(300))
    assert found is not None
    assert found.shape == "closed"
    assert found.distinct_answers == 10
    assert found.probe_agreement is not None
    assert found.probe_agreement > 0.97
    assert found.score > 0.97
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.score <= found.high
    assert any("linear model" in reason for reason in found.reasons)


def test_answers_that_nobody_can_foresee_are_not() -> None:
    found = replaceability_of(_labelled(300, noise=0.7))
    assert found is not None
    assert found.score < 0.55


def test_the_rented_models_own_doubts_are_the_most_that_is_asked_of_another() -> None:
    """The same question, answered in two ways: nobody can agree with both."""
    choice = random.Random(1)
    rows = [_exchange(f"is case {number % 100} fine", choice.choice(["yes", "no"])) for number in range(300)]
    found = replaceability_of(rows)
    assert found is not None
    assert found.self_consistency is not None
    assert found.self_consistency < 0.65
    assert found.consistency_pairs >= 100


def test_one_answer_to_everything_is_as_ordinary_as_can_be() -> None:
    found = replaceability_of([_exchange(f"case {number}", "no") for number in range(80)])
    assert found is not None
    assert (found.score, found.label_entropy_bits, found.commonest_share) == (1.0, 0.0, 1.0)


def test_values_that_were_copied_from_the_input_are_ordinary_and_a_rule_is_called_one() -> None:
    rows = [
        _exchange(f"Receipt {number} of the shop Beech, total {number}.50", json.dumps({"total": f"{number}.50"}))
        for number in range(100)
    ]
    found = replaceability_of(rows)
    assert found is not None
    assert (found.shape, found.ordinary_fields, found.score) == ("fields", 1.0, 0.9)
    assert (found.low, found.high) == (None, None)
    assert "a rule, not a measured agreement" in found.reasons[0]


def test_free_text_is_never_called_replaceable() -> None:
    rows = [
        _exchange(f"tell me of {number} and its ways", f"{number} has ways of its own, {number}")
        for number in range(90)
    ]
    found = replaceability_of(rows)
    assert found is not None
    assert found.shape == "text"
    assert found.score <= 0.5


def test_a_small_sample_says_nothing() -> None:
    assert replaceability_of(_labelled(FEWEST - 1)) is None
    assert replaceability_of([]) is None


@pytest.mark.parametrize("answer", ["", "   ", "[[[[", '{"a":' * 3000, "null", "\ud800", "0"])
def test_odd_answers_are_read_without_a_fault(answer: str) -> None:
    found = replaceability_of([_exchange(f"q {number} \ud800", answer) for number in range(70)])
    assert found is not None
    assert 0.0 <= found.score <= 1.0


def test_thousands_of_labels_are_told_apart_in_bounded_time() -> None:
    rows = [_exchange(f"entry {number % 700} of {number}", f"label {number % 700}") for number in range(1_400)]
    found = replaceability_of(rows)
    assert found is not None
    assert found.distinct_answers == 700


@pytest.mark.parametrize("name", ["intent_banking77", "clause_cuad6", "screen_cuad_yesno", "screen_sms_spam"])
def test_the_score_of_a_sample_foretells_the_accuracy_on_the_published_test_set(name: str) -> None:
    """The labels stand for the rented model's answers; the probe is then trained on all of the training set."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside the repository")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    train, test = (
        [json.loads(line) for line in (folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()]
        for part in ("train", "test")
    )
    random.Random(0).shuffle(train)
    found = replaceability_of([_exchange(row["input"], row["output"]) for row in train[:1_500]], questions=len(train))
    assert found is not None

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LinearSVC(max_iter=300, random_state=0).fit(
        words.fit_transform([row["input"] for row in train]), [row["output"] for row in train]
    )
    given = model.predict(words.transform([row["input"] for row in test]))
    reached = sum(one == row["output"] for one, row in zip(given, test, strict=True)) / len(test)
    assert found.score == pytest.approx(reached, abs=0.05)
    assert found.low is not None
    assert found.high is not None
    assert found.low - 0.03 <= reached <= found.high + 0.03
