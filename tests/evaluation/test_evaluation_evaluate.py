from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from freehold.core.chat import Answer, Usage
from freehold.core.errors import InputError, UpstreamError
from freehold.core.progress import Silent
from freehold.core.task import Task
from freehold.evaluation.baselines import LINEAR, baseline_contenders
from freehold.evaluation.cascade import ABOVE_ALL, PairedCase, choose_threshold, run_cascade
from freehold.evaluation.compare import Basis
from freehold.evaluation.contender import Contender, recorded_rented
from freehold.evaluation.evaluate import evaluate
from freehold.evaluation.metrics.score import NOT_A_LABEL
from freehold.evaluation.result import from_record
from freehold.evaluation.summary import statistics_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.core.dataset import Dataset, Example
    from freehold.evaluation.result import Evaluation
    from tests.evaluation.conftest import Made

BASIS = Basis(is_binary=True, margin=0.02, confidence=0.95, tasks_compared=1, seed=0)


def judged(
    dataset: Dataset,
    test: Sequence[Example],
    train: Sequence[Example],
    *contenders: Contender,
    **options: Any,  # Any: options of evaluate
) -> Evaluation:
    settings: dict[str, Any] = {
        "margin_points": 2.0,
        "confidence": 0.95,
        "seed": 0,
        "progress": Silent(),
        **options,
    }
    return evaluate(dataset=dataset, examples=test, train=train, contenders=contenders, **settings)


@pytest.fixture
def own(made: type[Made]) -> Contender:
    return Contender(name="own", kind="own", model=made.FakeModel(made.right_answer), version="triage-001122334455")


def test_everyone_answers_the_same_cases_and_is_compared(made: type[Made], own: Contender) -> None:
    base = Contender(name="base", kind="base", model=made.FakeModel(made.fixed_answer("no idea")))
    found = judged(made.triage(), made.intents(60, "test", rented_wrong_every=10), made.intents(30, "train"), own, base)
    values = {each.name: (each.kind, round(each.value, 3), each.n) for each in found.contenders}
    assert values == {
        "own": ("own", 1.0, 60),
        "base": ("base", 0.0, 60),
        "big-model": ("rented", 0.9, 60),
        "majority class": ("baseline", 0.333, 60),
        LINEAR: ("baseline", 1.0, 60),
    }
    pairs = [(each.candidate, each.against) for each in found.comparisons]
    assert pairs == [("own", "base"), ("own", "big-model"), ("own", "majority class"), ("own", LINEAR)]
    against = found.comparison("own", "big-model")
    assert against is not None
    assert (against.wins, against.losses, against.n, against.non_inferior) == (6, 0, 60, True)
    assert against.difference == pytest.approx(0.1)
    assert (found.metric, found.n, found.margin, found.model) == ("accuracy", 60, 0.02, "triage-001122334455")
    own_result, base_result = found.of_kind("own")[0], found.of_kind("base")[0]
    assert (own_result.mean_input_tokens, own_result.mean_output_tokens) == (20, 3)
    assert (base_result.mean_output_tokens, base_result.invalid_share) == (None, 1.0)
    assert [(each.target, each.given) for each in found.confusions if each.contender == "base"] == [
        ("card_lost", NOT_A_LABEL),
        ("fees", NOT_A_LABEL),
        ("transfer", NOT_A_LABEL),
    ]
    assert found.comparison("base", "own") is None
    assert found.warnings == ()
    assert statistics_fault(found) is None


def test_equal_inputs_give_equal_bytes_and_the_record_reads_back(made: type[Made], own: Contender) -> None:
    test, train = made.intents(30, "test", rented_wrong_every=7), made.intents(30, "train")
    validation = made.intents(30, "validation", rented_wrong_every=9)
    first = judged(made.triage(), test, train, own, validation=validation)
    again = judged(made.triage(), test, train, own, validation=validation)
    assert json.dumps(first.as_record()) == json.dumps(again.as_record())
    assert from_record(json.loads(json.dumps(first.as_record()))).as_record() == first.as_record()
    assert first.id == again.id
    assert first.id.startswith("triage-")


def test_several_tasks_widen_the_comparisons(made: type[Made], own: Contender) -> None:
    test, train = made.intents(60, "test", rented_wrong_every=10), made.intents(30, "train")
    one = judged(made.triage(), test, train, own).comparison("own", "big-model")
    two = judged(made.triage(), test, train, own, tasks_compared=2).comparison("own", "big-model")
    assert one is not None
    assert two is not None
    assert two.ci_low < one.ci_low < one.ci_high < two.ci_high


def test_only_cases_that_both_answered_are_compared(made: type[Made], own: Contender) -> None:
    test = made.intents(40, "test", rented_wrong_every=5)
    test = [case if number < 25 else replace(case, rented_output=None) for number, case in enumerate(test)]
    found = judged(made.triage(), test, made.intents(30, "train"), own)
    compared = found.comparison("own", "big-model")
    assert compared is not None
    assert compared.n == 25
    assert found.warnings == ("big-model answered 25 of 40 test cases; it is compared on those alone.",)


def test_contenders_that_share_no_case_are_not_compared(made: type[Made]) -> None:
    test = made.intents(30, "test")
    right = {case.id: Answer(text=case.target) for case in test}
    tuned = Contender(name="tuned", kind="rent-tuned", answers={case.id: right[case.id] for case in test[:15]})
    big = Contender(name="big", kind="rented", answers={case.id: right[case.id] for case in test[15:]})
    found = judged(made.triage(), test, made.intents(30, "train"), tuned, big)
    assert found.comparisons == ()
    assert found.cascade_note == "A cascade needs an own model and the answers of a rented one."


def test_a_small_or_mixed_test_set_is_judged_with_warnings(made: type[Made], own: Contender) -> None:
    test = [
        *made.intents(12, "test", rented_wrong_every=5),
        made.example(90, "my card is lost or stolen please block it now", "brand_new", rented_output="fees"),
    ]
    found = judged(made.triage(), test, made.intents(30, "train"), own)
    assert found.warnings == (
        "There are only 13 test cases; with fewer than 20 nothing can be decided.",
        "1 test cases have a label that no training row has; no trained model can get them.",
        "The recorded answers come from 2 rented models, which count as one here.",
    )
    assert [each.name for each in found.of_kind("rented")] == ["rented"]


def sworn(test: Sequence[Example], *provenances: Any) -> list[Example]:  # Any: Provenance
    """The cases, their provenances in turn."""
    return [replace(case, provenance=provenances[number % len(provenances)]) for number, case in enumerate(test)]


def test_right_answers_that_were_rented_are_warned_of(made: type[Made], own: Contender) -> None:
    test = made.intents(40, "test", rented_wrong_every=10)
    train = made.intents(30, "train")
    mostly = sworn(test, "human-corrected", "human-accepted", "human-accepted", "human-accepted")
    found = judged(made.triage(), mostly, train, own)
    warning = (
        "The right answer of 30 of 40 test cases (75 %) is a rented answer that a human accepted: "
        "the comparison leans to the rented model."
    )
    assert found.warnings == (warning,)
    # Cases 0, 4, 8, …: of these ten the rented model errs on 0 and 20.
    assert found.notes == (
        "On the 10 test cases that a human corrected or labelled, own scores 100.0 and big-model 80.0 of 100. "
        "A human corrected 10 of them because the rented answer was wrong: these lean to the own model.",
    )
    half = judged(made.triage(), sworn(test, "human-labelled", "human-accepted"), train, own)
    assert half.warnings == ()
    assert half.notes == (
        "On the 20 test cases that a human corrected or labelled, own scores 100.0 and big-model 80.0 of 100.",
    )


def test_cases_without_accepted_answers_or_without_a_rival_need_no_such_note(made: type[Made], own: Contender) -> None:
    train = made.intents(30, "train")
    labelled = judged(made.triage(), made.intents(40, "test", rented_wrong_every=10), train, own)
    alone = judged(made.triage(), sworn(made.intents(40, "test"), "human-accepted"), train, own)
    assert (labelled.warnings, labelled.notes) == ((), ())
    assert (alone.warnings, alone.notes) == ((), ())


def test_accepted_answers_alone_leave_nothing_to_score_beside(made: type[Made], own: Contender) -> None:
    test = sworn(made.intents(40, "test", rented_wrong_every=10), "human-accepted")
    found = judged(made.triage(), test, made.intents(30, "train"), own)
    assert "40 of 40 test cases (100 %)" in found.warnings[0]
    assert found.notes == (
        "No test case that a human corrected or labelled was answered by both the own and the rented model.",
    )


def test_without_a_margin_only_a_better_model_is_good_enough(made: type[Made], own: Contender) -> None:
    train = made.intents(30, "train")
    equal = judged(made.triage(), made.intents(60, "test", rented_wrong_every=1000), train, own, margin_points=0.0)
    better = judged(made.triage(), made.intents(60, "test", rented_wrong_every=5), train, own, margin_points=0.0)
    found = [each.comparison("own", "big-model") for each in (equal, better)]
    assert [each is not None and each.non_inferior for each in found] == [False, True]


def test_a_task_without_recorded_answers_has_no_rented_contender(made: type[Made], own: Contender) -> None:
    found = judged(made.triage(), made.intents(30, "test"), made.intents(30, "train"), own)
    assert found.of_kind("rented") == []
    assert recorded_rented(made.intents(3, "test")) is None


SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "merchant": {"type": ["string", "null"]}},
}


def disputes(made: type[Made], n: int, split: str) -> list[Example]:
    return [
        made.example(
            number,
            f"they took {number} from me, {split}",
            json.dumps({"amount": number % 4, "merchant": None if number % 3 else "Nord", "paid": [True]}),
            split,
            rented_output=json.dumps({"amount": number % 4, "merchant": "Nord"}),
        )
        for number in range(n)
    ]


def test_an_extraction_has_a_majority_per_field_and_no_linear_baseline(made: type[Made]) -> None:
    task = Task(name="disputes", kind="extraction", json_schema=SCHEMA, own_prompt="Fields?")
    own = Contender(name="own", kind="own", model=made.FakeModel(made.fixed_answer('{"amount": 1}')))
    found = judged(made.dataset_of(task), disputes(made, 40, "test"), disputes(made, 40, "train"), own)
    baseline = found.of_kind("baseline")[0]
    # amount 0 (10 of 40 right), merchant null (26 of 40), paid [true] (40 of 40): 76 of 120 fields
    assert baseline.name == "majority per field"
    assert baseline.value == pytest.approx(76 / 120)
    assert found.metric == "field_accuracy"
    assert found.notes == (
        "There is no linear baseline: a linear model chooses among labels and cannot write field values it "
        "has never seen.",
    )
    assert [(each.target, each.given, each.count) for each in found.confusions if each.contender == "own"] == [
        ("paid", None, 40),
        ("amount", None, 30),
        ("merchant", None, 14),
    ]
    assert found.cascade_note == "A cascade needs an own model that states its confidence."
    assert statistics_fault(found) is None


def test_a_text_task_has_the_commonest_answer_as_baseline(made: type[Made]) -> None:
    task = Task(name="reply", kind="text", own_prompt="Reply.")
    train = [made.example(n, f"hello {n}", ["Hi!", "Hello there!", "Hi!"][n % 3], "train") for n in range(30)]
    test = [made.example(n, f"good day {n}", "Hi!") for n in range(25)]
    own = Contender(name="own", kind="own", model=made.FakeModel(made.fixed_answer("Hello!")))
    found = judged(made.dataset_of(task), test, train, own)
    assert (found.of_kind("baseline")[0].name, found.of_kind("baseline")[0].value) == ("majority answer", 1.0)
    assert found.notes[0].endswith("cannot write text.")


def test_the_majority_of_equally_common_labels_is_the_first(made: type[Made]) -> None:
    train = [made.example(0, "one", "b", "train"), made.example(1, "two", "a", "train")]
    test = [made.example(0, "x", "b")]
    majority = baseline_contenders(made.triage().task, train=train, cases=test)[0]
    assert majority.answers is not None
    assert majority.answers["test-0"].text == "a"


def test_texts_without_a_word_are_no_ground_for_a_linear_model(made: type[Made], own: Contender) -> None:
    train = [made.example(0, "!", "a", "train"), made.example(1, "?", "b", "train")]
    with pytest.raises(InputError, match="No training text of 'triage' holds a word"):
        judged(made.triage(), made.intents(30, "test"), train, own)


@pytest.mark.parametrize(
    ("test", "train", "message"),
    [
        ("none", "good", "Task 'triage' has no test cases. Import labelled rows, then build its dataset."),
        (
            "good",
            "none",
            "Task 'triage' has no training cases. Import labelled rows, then build its dataset.",
        ),
        (
            "one class",
            "good",
            "All 3 test cases of 'triage' have the same label: there is nothing to tell apart.",
        ),
        ("good", "one class", "All 3 training cases of 'triage' have the same label: there is nothing"),
        (
            "blank",
            "good",
            "1 test cases of 'triage' have a target that is not a text that is not blank, the first",
        ),
        (
            "twice",
            "good",
            "1 ids stand more than once among the test cases of 'triage', the first is 'test-0'.",
        ),
        (
            "leak",
            "good",
            "2 of 5 test cases of 'triage' stand in the training set too, word for word. Their scores ",
        ),
    ],
)
def test_cases_that_prove_nothing_are_refused(
    made: type[Made], own: Contender, test: str, train: str, message: str
) -> None:
    good = made.intents(30, "train")
    rows = {
        "none": [],
        "good": made.intents(30, "test") if train != "good" else good,
        "one class": made.intents(9, "one")[::3],
        "blank": [made.example(0, "x", " ")],
        "twice": [made.example(0, "x", "a"), made.example(0, "y", "b")],
        "leak": [*made.intents(3, "test"), *(replace(row, id=f"t-{row.id}") for row in good[:2])],
    }
    with pytest.raises(InputError) as caught:
        judged(made.triage(), rows[test], rows[train], own)
    assert str(caught.value).startswith(message)


def test_an_extraction_target_that_is_no_object_is_refused(made: type[Made], own: Contender) -> None:
    task = Task(name="disputes", kind="extraction", json_schema=SCHEMA, own_prompt="Fields?")
    with pytest.raises(InputError, match="have a target that is not a JSON object, the first is 'test-0'"):
        judged(made.dataset_of(task), [made.example(0, "x", "[]")], disputes(made, 3, "train"), own)


def test_contenders_and_levels_that_make_no_sense_are_refused(made: type[Made], own: Contender) -> None:
    def refused(*contenders: Contender, **options: Any) -> str:  # Any: options of evaluate
        with pytest.raises(InputError) as caught:
            judged(made.triage(), made.intents(30, "test"), made.intents(30, "train"), *contenders, **options)
        return str(caught.value)

    assert refused(own, own) == "Two contenders are named 'own'. Give each a name of its own."
    assert refused(own, replace(own, name="other")).startswith("2 contenders are own: own, other. Choose one on")
    assert refused(own, margin_points=-1.0).startswith("The margin is -1 points; it must be at least 0 and below 100")
    assert refused(own, confidence=1.0).startswith("The confidence is 1.0; it must be at least 0.5 and below 1")
    assert refused(own, tasks_compared=0).startswith("The number of tasks judged together is 0; it must be")
    assert refused(own, seed=-1) == "The seed is -1; it must be 0 or more."
    assert refused(Contender(name="x", kind="own")).startswith("Contender 'x' has neither a model nor recorded")
    stranger = Contender(name="x", kind="own", answers={"elsewhere": Answer(text="fees")})
    assert refused(stranger).startswith("Contender 'x' has no answer to any test case. Its recorded answers must")


def test_a_model_that_loses_answers_is_an_upstream_failure(made: type[Made]) -> None:
    lossy = Contender(name="own", kind="own", model=made.FakeModel(made.right_answer, drop=1))
    with pytest.raises(UpstreamError, match="own: 29 answers came back to 30 conversations"):
        judged(made.triage(), made.intents(30, "test"), made.intents(30, "train"), lossy)


def unsure(made: type[Made], text: str) -> Answer:
    """Wrong and unsure on every fourth message, right and sure on the others."""
    if int(text.rsplit(" ", 1)[1]) % 4 == 0:
        return Answer(text="nonsense", confidence=0.3, usage=Usage())
    return made.right_answer(text)


def test_the_cascade_escalates_what_the_own_model_is_unsure_of(made: type[Made]) -> None:
    own = Contender(name="own", kind="own", model=made.FakeModel(lambda text: unsure(made, text)))
    found = judged(
        made.triage(),
        made.intents(400, "test", rented_wrong_every=50),
        made.intents(30, "train"),
        own,
        validation=made.intents(400, "validation", rented_wrong_every=50),
    )
    cascade = found.cascade
    assert cascade is not None
    assert found.cascade_note is None
    assert (cascade.threshold, cascade.rule, cascade.escalated_share) == (0.9, "non-inferior", 0.25)
    assert cascade.comparison.non_inferior
    assert cascade.value == pytest.approx(0.99)
    assert (cascade.validation_n, cascade.validation_escalated_share) == (400, 0.25)
    assert statistics_fault(found) is None


def test_a_cascade_needs_rented_answers_on_validation_cases(made: type[Made], own: Contender) -> None:
    test, train = made.intents(30, "test", rented_wrong_every=7), made.intents(30, "train")
    note = "A cascade needs validation cases that both the own and the rented model answered."
    assert judged(made.triage(), test, train, own).cascade_note == note
    unrecorded = made.intents(30, "validation")
    assert judged(made.triage(), test, train, own, validation=unrecorded).cascade_note == note
    recorded = Contender(name="own", kind="own", answers={case.id: Answer(case.target, 0.9) for case in test})
    there = made.intents(30, "validation", rented_wrong_every=5)
    assert judged(made.triage(), test, train, recorded, validation=there).cascade_note == note


def test_a_rented_model_that_can_be_asked_is_asked_on_validation_too(made: type[Made], own: Contender) -> None:
    rented = Contender(name="big", kind="rented", model=made.FakeModel(made.right_answer))
    validation = made.intents(30, "validation")
    found = judged(
        made.triage(), made.intents(30, "test"), made.intents(30, "train"), own, rented, validation=validation
    )
    assert found.cascade is not None
    assert found.cascade.validation_n == 30


def test_the_threshold_with_the_fewest_escalations_is_chosen() -> None:
    sure = [PairedCase(1.0, 1.0, 0.9)] * 300
    doubtful = [PairedCase(0.0, 1.0, 0.2)] * 20 + [PairedCase(0.0, 1.0, 0.5)] * 20
    assert choose_threshold(sure, BASIS).value == 0.0
    # With the twenty least sure ones escalated twenty losses remain; with the others too none does.
    chosen = choose_threshold([*sure, *doubtful], BASIS)
    assert (chosen.value, chosen.rule) == (0.9, "non-inferior")


def test_a_small_validation_set_asks_for_a_score_not_below_the_rented_one() -> None:
    cases = [PairedCase(1.0, 1.0, 0.9)] * 20 + [PairedCase(0.0, 1.0, 0.2)] * 5
    assert choose_threshold(cases, BASIS).rule == "not-below"
    assert choose_threshold(cases, BASIS).value == 0.9
    hopeless = [PairedCase(0.0, 1.0, 0.9)] * 10
    assert choose_threshold(hopeless, BASIS).value == ABOVE_ALL
    everything = run_cascade(own="own", rented="big", validation=hopeless, test=hopeless, basis=BASIS)
    assert (everything.escalated_share, everything.value, everything.comparison.difference) == (1.0, 1.0, 0.0)


def test_many_different_confidences_are_thinned_out() -> None:
    cases = [PairedCase(float(n > 300), 1.0, n / 1000) for n in range(900)]
    chosen = choose_threshold(cases, BASIS)
    assert 0.27 <= chosen.value <= 0.31


def test_a_record_that_is_none_is_refused_with_all_its_faults(made: type[Made], own: Contender) -> None:
    record = judged(made.triage(), made.intents(30, "test"), made.intents(30, "train"), own).as_record()
    with pytest.raises(InputError, match=r"has the schema 'freehold.evaluate/1', not 'x'"):
        from_record({**record, "schema": "x"})
    with pytest.raises(InputError) as caught:
        from_record({**record, "n": "many", "margin": None, "extra": 1})
    assert str(caught.value).startswith("This is no evaluation record: n: ")
    assert "; margin: " in str(caught.value)
    assert "; extra: " in str(caught.value)


def test_numbers_that_do_not_follow_from_the_cases_are_found(made: type[Made]) -> None:
    own = Contender(name="own", kind="own", model=made.FakeModel(lambda text: unsure(made, text)))
    found = judged(
        made.triage(),
        made.intents(40, "test", rented_wrong_every=5),
        made.intents(30, "train"),
        own,
        validation=made.intents(40, "validation", rented_wrong_every=5),
    )
    assert statistics_fault(found) is None
    first, *others = found.contenders
    assert statistics_fault(replace(found, contenders=(replace(first, value=1.0), *others))) == "the score of 'own'"
    wider = replace(first, ci_low=0.0)
    assert statistics_fault(replace(found, contenders=(wider, *others))) == "the interval of 'own'"
    kinder = tuple(replace(each, losses=0) for each in found.comparisons)
    assert statistics_fault(replace(found, comparisons=kinder)) == "a comparison"
    assert statistics_fault(replace(found, comparisons=())) == "a comparison"
    assert found.cascade is not None
    better = replace(found.cascade, value=1.0)
    assert statistics_fault(replace(found, cascade=better)) == "the cascade"
    assert statistics_fault(replace(found, cascade=replace(better, own="x"))) == "the cascade"
