from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.chat import Constraint, Message
from freehold.core.errors import FreeholdError, InputError, MissingExtra, UpstreamError
from freehold.core.identity import call_id, canonical_json, content_hash
from freehold.core.progress import Silent
from freehold.core.task import Task

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), _JSON, max_size=5))
def test_the_order_of_keys_does_not_change_a_hash(value: dict[str, object]) -> None:
    turned = dict(reversed(list(value.items())))
    assert content_hash(value) == content_hash(turned)


def test_canonical_json_refuses_what_json_cannot_say() -> None:
    assert canonical_json({"b": [1, None], "a": "ü"}) == '{"a":"ü","b":[1,null]}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)), st.text())
def test_a_call_id_is_a_uuid_of_version_7_that_carries_its_moment(moment: datetime, content: str) -> None:
    identifier = UUID(call_id(moment, content))
    assert identifier.version == 7
    assert identifier.variant == "specified in RFC 4122"
    assert identifier.int >> 80 == int(moment.timestamp() * 1000)
    assert call_id(moment, content) == str(identifier)


def test_calls_without_a_moment_differ_by_content_alone() -> None:
    assert call_id(None, "a") != call_id(None, "b")
    assert UUID(call_id(None, "a")).int >> 80 == 0


def test_exit_codes_follow_the_contract() -> None:
    assert (FreeholdError("x").exit_code, InputError("x").exit_code, UpstreamError("x").exit_code) == (
        1,
        2,
        5,
    )
    missing = MissingExtra("Serving", "xllamacpp", "serve")
    assert missing.exit_code == 2
    assert str(missing) == "Serving needs 'xllamacpp'. Install it with: pip install 'freehold[serve]'"


@pytest.mark.parametrize(
    ("task", "constraint"),
    [
        (
            Task(name="t", kind="classification", labels=("a", "b"), own_prompt="p"),
            Constraint(labels=("a", "b")),
        ),
        (
            Task(name="t", kind="extraction", json_schema={"type": "object"}, own_prompt="p"),
            Constraint(json_schema={"type": "object"}),
        ),
        (Task(name="t", kind="text", own_prompt="p"), Constraint()),
    ],
)
def test_a_task_says_what_may_be_answered(task: Task, constraint: Constraint) -> None:
    assert task.constraint == constraint


def test_silent_progress_and_a_message_as_the_api_spells_it() -> None:
    progress = Silent()
    progress.start("work", 3)
    progress.update(1)
    progress.finish()
    assert Message("user", "hi").as_dict() == {"role": "user", "content": "hi"}
