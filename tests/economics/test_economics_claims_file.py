"""Files of claims from strangers: what is read, and what is refused with file, claim and field named."""

from __future__ import annotations

import textwrap
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.claims.audit import audit
from freehold.economics.claims.reading import MOST_BYTES, claims_book, shipped_claims

if TYPE_CHECKING:
    from freehold.economics.claims.finding import Finding

GPU = {"value": 2, "unit": "USD/GPU-h", "source": "the pitch"}


def claim(**fields: Any) -> dict[str, Any]:  # Any: YAML
    """A claim that is right: 3 × 2 = 6; fields given as None are left out."""
    whole = {
        "id": "A",
        "text": "three hours",
        "formula": "gpu_hours_usd",
        "stated": {"value": 6, "unit": "USD"},
        "inputs": {"gpu_hours": {"value": 3, "unit": "GPU-h", "source": "the pitch"}, "gpu_usd_per_hour": GPU},
    } | fields
    return {name: value for name, value in whole.items() if value is not None}


class Written(yaml.SafeDumper):
    """Writes each value out, with no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def book(*claims: dict[str, Any], **fields: Any) -> str:  # Any: YAML
    """A file of these claims."""
    whole = {"source": "a pitch", "as_of": date(2026, 6, 15), **fields, "claims": list(claims)}
    return yaml.dump(whole, Dumper=Written)


def findings(*claims: dict[str, Any], **fields: Any) -> tuple[Finding, ...]:  # Any: YAML
    return audit(claims_book(book(*claims, **fields), name="pitch.yaml")).findings


def refused(text: str) -> str:
    with pytest.raises(InputError) as error:
        audit(claims_book(text, name="pitch.yaml"))
    message = str(error.value)
    assert message.startswith("pitch.yaml")
    assert "\n" not in message
    assert len(message) < 5_000
    return message


def given_input(name: str, **fields: Any) -> dict[str, Any]:  # Any: YAML
    """The inputs of `claim` with one of them changed."""
    inputs = claim()["inputs"]
    return {**inputs, name: {**inputs.get(name, {}), **fields}}


def test_the_shipped_file_is_a_file_like_any_other() -> None:
    assert len(shipped_claims().claims) == 29
    assert shipped_claims() is shipped_claims()


def test_a_claim_of_ones_own_is_audited_with_the_same_formulas() -> None:
    right, wrong = findings(claim(), claim(id="B", stated={"value": 12, "unit": "USD"}))

    assert (right.verdict, right.recomputed, right.ratio) == ("consistent", 6.0, 1.0)
    assert (wrong.verdict, wrong.ratio) == ("inconsistent", 2.0)
    assert {each.input: each.value for each in wrong.solved} == {"gpu_hours": 6.0, "gpu_usd_per_hour": 4.0}


def test_inputs_of_the_file_are_shared_and_a_claim_may_have_its_own() -> None:
    shared = claim()["inputs"]
    first, second = findings(
        claim(inputs=None), claim(id="B", inputs={"gpu_usd_per_hour": {**GPU, "value": 5}}), inputs=shared
    )

    assert (first.recomputed, second.recomputed) == (6.0, 15.0)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"formula": "gpu_hour_usd"}, "claim A, formula: 'gpu_hour_usd' is unknown; nearest: gpu_hours_usd"),
    ({"formula": None}, "claim A, formula: missing; a claim of kind 'arithmetic' needs it"),
    ({"stated": None}, "claim A, stated: missing; say what the text says"),
    ({"stated": {"unit": "USD"}}, "claim A, stated: give one of value, at_most and at_least"),
    ({"stated": {"at_most": [1, 2], "unit": "USD"}}, "claim A, stated.at_most: must be one number"),
    ({"stated": {"value": 6, "unit": "EUR"}}, "claim A, stated.unit is 'EUR'; formula 'gpu_hours_usd' gives 'USD'"),
    ({"stated": {"value": 6}}, "claim A, stated.unit: field required"),
    ({"kind": "guess"}, "claim A, kind: input should be 'arithmetic', 'estimate'"),
    ({"colour": "red"}, "claim A, colour: extra inputs are not permitted"),
    ({"tolerance": -0.1}, "claim A, tolerance: input should be greater than or equal to 0"),
    ({"tolerance": float("nan")}, "claim A, tolerance: nan must lie between"),
    ({"text": ""}, "claim A, text: string should have at least 1 character"),
    ({"text": "x" * 2_001}, "claim A, text: string should have at most 2000 characters"),
    ({"id": "a b"}, "claim a b, id: string should match pattern"),
    ({"id": 7}, "claim number 1, id: input should be a valid string"),
    ({"against": "Z"}, "claim A: there is no claim 'Z'; no known name resembles it; there are A"),
    (
        {"inputs": given_input("gpu_hours", value="1e6")},
        "claim A, inputs.gpu_hours.value: '1e6' is not a number; YAML reads",
    ),
    ({"inputs": given_input("gpu_hours", value="many")}, "claim A, inputs.gpu_hours: value must be a number"),
    ({"inputs": given_input("gpu_hours", value="nan")}, "claim A, inputs.gpu_hours.value: 'nan' is not a number"),
    ({"inputs": given_input("gpu_hours", value=float("nan"))}, "claim A, inputs.gpu_hours.value: nan must lie"),
    ({"inputs": given_input("gpu_hours", value=float("inf"))}, "claim A, inputs.gpu_hours.value: inf must lie"),
    ({"inputs": given_input("gpu_hours", value=10**40)}, "claim A, inputs.gpu_hours.value: a number of 133 bits must"),
    ({"inputs": given_input("gpu_hours", value=True)}, "claim A, inputs.gpu_hours.value: True is not a number"),
    ({"inputs": given_input("gpu_hours", value="")}, "claim A, inputs.gpu_hours.value: a name must have 1 to 200"),
    ({"inputs": given_input("gpu_hours", value=[1])}, "claim A, inputs.gpu_hours.value: [1] is not a range"),
    ({"inputs": given_input("gpu_hours", value=[2, 1])}, "claim A, inputs.gpu_hours.value: [2, 1] falls"),
    ({"inputs": given_input("gpu_hours", value=[1, "2"])}, "claim A, inputs.gpu_hours.value: '2' is not a number"),
    (
        {"inputs": given_input("gpu_hours", value=-3)},
        "claim A, inputs.gpu_hours: −3 is out of bounds; it must lie from",
    ),
    ({"inputs": given_input("gpu_hours", unit="h")}, "claim A, inputs.gpu_hours: unit is 'h'; it must be 'GPU-h'"),
    ({"inputs": given_input("gpu_hours", source="")}, "claim A, inputs.gpu_hours: source is missing"),
    ({"inputs": given_input("gpu_hours", round_to=0.5)}, "claim A, inputs.gpu_hours: round_to needs `seen`"),
    ({"inputs": given_input("gpu_hours", round_to=0)}, "claim A, inputs.gpu_hours.round_to: input should be greater"),
    ({"inputs": given_input("gpu_hours", value={"price": "gpt-5.4"})}, "inputs.gpu_hours.value: a reference is"),
    ({"inputs": given_input("gpu_hours", value={"claim": 3})}, "inputs.gpu_hours.value: a reference holds names only"),
    (
        {"inputs": given_input("gpu_hours", value={"hardware": "h100", "fact": "colour"})},
        "claim A, inputs.gpu_hours.value: 'colour' must be one of memory_gb",
    ),
    ({"inputs": given_input("gpu_hour", **GPU)}, "claim A, inputs.gpu_hour: unknown; nearest: gpu_hours"),
    ({"inputs": given_input("gpus", value=1, unit="GPUs", source="x")}, "claim A, inputs.gpus: no formula of this"),
    ({"inputs": {"gpu_usd_per_hour": GPU}}, "claim A, inputs.gpu_hours: missing; give it, or `value: null`"),
    ({"inputs": given_input("gpu_hours", value={"claim": "Z", "of": "stated"})}, "gpu_hours: there is no claim 'Z'"),
    ({"inputs": given_input("gpu_hours", value={"claim": "A", "of": "stated"})}, "circle: A → A"),
    (
        {"inputs": given_input("gpu_hours", value={"price": "gpt-77", "rate": "input"})},
        "claim A, gpu_hours: 'gpt-77' has no price",
    ),
    (
        {"inputs": given_input("gpu_hours", value={"model": "llama-9", "fact": "parameters"})},
        "claim A, gpu_hours: Unknown model 'llama-9'",
    ),
    ({"kind": "report", "formula": None}, "claim A, stated and formula: a report has both, or neither"),
    ({"kind": "estimate", "stated": None}, "claim A, stated: missing; say what the text says, or where"),
    ({"kind": "estimate", "against": "A"}, "claim A, against: only a claim of kind 'arithmetic' has it"),
    ({"kind": "omission"}, "claim A, without: missing; a claim of kind 'omission' needs it"),
    ({"kind": "omission", "without": {"value": None, "source": "x"}}, "claim A, without: value must be a number"),
    ({"kind": "provenance"}, "claim A, published: missing"),
    ({"kind": "contrast", "denied": "x"}, "claim A, denied: must be the name of one of the evidence"),
    ({"kind": "thresholds"}, "claim A, stated.value: must be a range"),
    ({"kind": "agreement", "members": ["A", "A"]}, "claim A, members: name at least two claims"),
    ({"kind": "agreement", "member_input": "fte"}, "claim A, member_input: 'fte' is no input of 'gpu_hours_usd'"),
    ({"evidence": [{"name": "e", "formula": "gues"}]}, "claim A, evidence 'e', formula: 'gues' is unknown"),
    (
        {"evidence": [{"name": "e", "formula": "share", "inputs": {"part": {"value": 1, "unit": "x", "source": "x"}}}]},
        "claim A, evidence 'e', inputs.whole: missing",
    ),
    (
        {"evidence": [{"name": "e", "formula": "gpu_hours_usd", "inputs": {"gpus": {"value": 1, "source": "x"}}}]},
        "claim A, evidence 'e', gpus: formula 'gpu_hours_usd' does not take it",
    ),
]


@pytest.mark.parametrize(("fields", "message"), FAULTS, ids=lambda value: str(value)[:60])
def test_a_fault_names_file_claim_and_field(fields: dict[str, Any], message: str) -> None:
    assert message in refused(book(claim(**fields)))


def test_all_faults_are_named_at_once_and_a_flood_is_cut() -> None:
    both = refused(book(claim(formula="x"), claim(id="B", tolerance=0.1, stated=None)))
    assert "claim A, formula" in both
    assert "claim B, stated" in both

    many = refused(book(*(claim(id=f"N{place}", formula="x") for place in range(200))))
    assert many.endswith("more.")


def test_an_id_that_is_given_twice_is_refused() -> None:
    assert "claim A: this id is given twice" in refused(book(claim(), claim()))


def test_units_and_words_of_names_are_checked_too() -> None:
    served = {
        "model": {"value": "llama-3.1-8b", "unit": "name", "source": "x"},
        "hardware": {"value": None, "unit": "name", "source": "x"},
        "gpus": {"value": 1, "unit": "GPUs", "source": "x"},
        "precision": {"value": 8, "unit": "name", "source": "x"},
        "input_tokens": {"value": 10, "unit": "tokens/query", "source": "x"},
        "output_tokens": {"value": 10, "unit": "tokens/query", "source": "x"},
        "hours_per_month": {"value": 730, "unit": "h/month", "source": "x"},
    }
    stated = {"value": 1, "unit": "queries/month"}

    message = refused(book(claim(formula="served_queries_per_month", stated=stated, inputs=served)))

    assert "inputs.hardware: value must be a name" in message
    assert "inputs.precision: value must be a name" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hardware": "h200x"}, "claim A, Unknown hardware 'h200x'"),
        ({"precision": "int3"}, "claim A, "),
        ({"gpus": 1.5}, "claim A, A replica has whole GPUs, not 1.5."),
        ({"model": "llama-3.1-70b", "precision": "bf16"}, "claim A, llama-3.1-70b in bf16"),
    ],
)
def test_a_machine_that_cannot_serve_is_an_error_of_its_claim(change: dict[str, Any], message: str) -> None:
    values = {"model": "llama-3.1-8b", "hardware": "h100", "precision": "fp8", "gpus": 1, "input_tokens": 10}
    values |= {"output_tokens": 10, "hours_per_month": 730} | change
    inputs = {name: {"value": value, "source": "x"} for name, value in values.items()}
    stated = {"value": 1, "unit": "queries/month"}

    text = book(claim(formula="served_queries_per_month", stated=stated, inputs=inputs))

    assert message in refused(text)


HOSTILE: list[tuple[str, str]] = [
    ("", "pitch.yaml is empty; its top level must be the lines source:, as_of: and claims:"),
    ("[1, 2]", "pitch.yaml holds no claims; its top level must be"),
    ("source: x", "as_of: field required; claims: field required"),
    ("source: x\nas_of: 2026-06-15\nclaims: []", "claims: list should have at least 1 item"),
    ("source: x\nas_of: 2026-06-15\nclaims: {a: 1}", "claims: input should be a valid list"),
    ("source: x\nas_of: 2026-06-15\nclaims: [1]", "claim number 1: input should be a mapping of names to values"),
    ("source: x\nas_of: 2026-13-45\nclaims: [1]", "not YAML that can be read: month must be in 1..12"),
    ("a: &x [1]\nb: *x", "line 2: aliases (*name) are refused"),
    ("a: &a [1,1]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]", "line 2: aliases"),
    ("a: !!python/object/apply:os.system [ls]", "line 1: tags (!name) are refused"),
    ("a: !foo 1", "line 1: tags (!name) are refused"),
    ("a: 1\nb: 2\na: 3", "line 3: 'a' is given twice"),
    ("[1]: 2", "line 1: a key must be a word"),
    ("a: [", "line 2: not YAML"),
    ("a: 1\n--- \nb: 2", "not YAML that can be read"),
    ("a: \x00", "not YAML that can be read"),
    ("[" * 5_000, "line 1: nested deeper than 20 levels"),
    ("a: " + "9" * 6_000, "not YAML that can be read"),
    ("x" * (MOST_BYTES + 1), "is larger than 262,144 bytes"),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_yaml_is_refused_before_anything_is_built_from_it(text: str, message: str) -> None:
    assert message in refused(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", errors="replace")))
def test_any_text_is_read_or_refused_but_never_breaks(text: str) -> None:
    with pytest.raises(InputError):
        claims_book(text, name="pitch.yaml")


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["text", "kind", "stated", "inputs", "evidence", "tolerance", "members", "unit", "formula"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=3,
    )
)
def test_a_claim_with_anything_in_its_fields_is_audited_or_refused(fields: dict[str, Any]) -> None:
    try:
        found = len(audit(claims_book(book(claim(**fields)), name="pitch.yaml")).findings)
    except InputError as refusal:
        found = str(refusal).count("pitch.yaml")
    assert found == 1


def test_comments_anchors_without_use_and_long_files_are_no_reason_to_refuse() -> None:
    text = book(*(claim(id=f"N{place}") for place in range(300)))

    assert len(claims_book("# a comment\n" + text, name="pitch.yaml").claims) == 300
    assert claims_book(textwrap.dedent(text), name="x").as_of.year == 2026


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"value": -1, "unit": "USD"}, "claim A, stated.value: −1 USD cannot be; it must be 0 or more"),
        ({"value": [-3, 2], "unit": "USD"}, "claim A, stated.value: −3 USD cannot be"),
        ({"at_most": -1, "unit": "USD"}, "claim A, stated.at_most: −1 USD cannot be"),
        ({"value": 0, "unit": "queries/month"}, "claim A, stated.value: 0 queries/month cannot be; it must be above 0"),
    ],
)
def test_a_stated_number_that_cannot_be_is_refused(stated: dict[str, Any], message: str) -> None:
    assert message in refused(book(claim(stated=stated)))


def test_a_cost_of_nothing_and_a_fall_below_zero_can_be_stated() -> None:
    scores = {name: {"value": value, "source": "x"} for name, value in (("leader", 3), ("follower", 5))}
    behind = claim(formula="difference", unit="USD", stated={"value": -2, "unit": "USD"}, inputs=scores)

    free, lower = findings(claim(stated={"value": 0, "unit": "USD"}), {**behind, "id": "B"})

    assert (free.verdict, lower.verdict) == ("inconsistent", "consistent")


def test_a_name_that_resembles_none_is_told_where_the_names_are() -> None:
    message = refused(book(claim(formula="zzzzzzzz")))

    assert "'zzzzzzzz' is unknown; no known name resembles it; freehold claims --formulas lists all names" in message
