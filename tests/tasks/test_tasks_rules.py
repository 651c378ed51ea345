"""Which task a call belongs to, and that no rule can be made slow."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from freehold.core.errors import InputError
from freehold.core.task import fault_of_name
from freehold.state.settings import TaskRule, TasksSection, load_settings
from freehold.state.workspace import create_workspace
from freehold.tasks.bounded_regex import compile_bounded
from freehold.tasks.rules import TaskRules
from freehold.tasks.system_prompt import prompt_of
from freehold.text.fingerprint import fingerprint

NO_KEY = SimpleNamespace(task=None)
KEY = SimpleNamespace(task="of_the_key")
SYSTEM = "You are the billing assistant of Harbour Bank.\nAnswer with one word."


def rules(*rows: dict[str, Any], default: str = "default") -> TaskRules:  # Any: fields of a rule
    return TaskRules(TasksSection(default=default, rules=[TaskRule(**row) for row in rows]))


def chat(system: object = SYSTEM, role: str = "system") -> bytes:
    turns = [{"role": role, "content": system}, {"role": "user", "content": "Hello"}]
    return json.dumps({"model": "m", "messages": turns}).encode()


def test_the_client_comes_before_its_key_and_the_key_before_the_rules() -> None:
    found = rules({"task": "of_the_rule", "model": "*"})
    header = [(b"x-freehold-task", b"of_the_header")]
    assert found.task_of(header, "m", b"", KEY, body_task="of_the_body") == "of_the_header"
    assert found.task_of([], "m", b"", KEY, body_task="of_the_body") == "of_the_body"
    assert found.task_of([], "m", b"", KEY) == "of_the_key"
    assert found.task_of([], "m", b"", NO_KEY) == "of_the_rule"
    assert found.task_of([], None, b"", NO_KEY) == "default"
    assert rules(default="rest").task_of([], "m", b"", NO_KEY) == "rest"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "is empty"),
        (b" a", "begins or ends with a blank"),
        (b"a/../b", "holds '/'"),
        (b".hidden", "begins with a dot"),
        (b"a\r\nx-evil: 1", "cannot be printed"),
        (b"a\x00", "cannot be printed"),
        ("a\u202eb".encode(), "cannot be printed"),
        (b"x" * 101, "longer than 100 bytes"),
        (b"\xff\xfe", "no UTF-8 text"),
    ],
)
def test_a_hostile_header_is_refused_and_not_repeated(value: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"x-freehold-task .*{re.escape(message)}") as caught:
        rules().task_of([(b"x-freehold-task", value)], "m", b"", KEY)
    assert "evil" not in str(caught.value)


def test_two_different_headers_are_refused_and_two_equal_ones_are_one() -> None:
    same = [(b"x-freehold-task", b"a"), (b"x-freehold-task", b"a")]
    assert rules().task_of(same, "m", b"", KEY) == "a"
    with pytest.raises(InputError, match="more than once, with different values"):
        rules().task_of([*same, (b"x-freehold-task", b"b")], "m", b"", KEY)


@given(st.binary(max_size=120))
def test_whatever_a_header_says_a_task_has_a_usable_name(value: bytes) -> None:
    try:
        name = rules().task_of([(b"x-freehold-task", value)], "m", b"", NO_KEY)
    except InputError:
        return
    assert fault_of_name(name) is None


def test_metadata_that_others_use_their_own_way_is_passed_over() -> None:
    assert rules().task_of([], "m", b"", KEY, body_task="summaries/2026") == "of_the_key"


def test_all_conditions_of_a_rule_must_hold_and_the_first_rule_decides() -> None:
    found = rules(
        {"task": "search", "path": "/v1/embeddings"},
        {"task": "night", "model": "gpt-5*", "headers": {"User-Agent": "batch/*", "X-Team": "ops"}},
        {"task": "large", "model": "gpt-5*"},
        {"task": "never", "model": "gpt-5.4"},
    )
    batch = [(b"user-agent", b"batch/1.0"), (b"x-team", b"ops")]
    assert found.task_of([], "m", b"", NO_KEY, path="/v1/embeddings") == "search"
    assert found.task_of(batch, "gpt-5.4", b"", NO_KEY, path="/v1/chat/completions") == "night"
    assert found.task_of(batch[:1], "gpt-5.4", b"", NO_KEY) == "large"
    assert found.task_of(batch, "claude-4", b"", NO_KEY) == "default"


def test_a_task_is_known_by_its_system_message() -> None:
    found = rules(
        {"task": "billing", "system_regex": r"(?i)billing assistant of \w{3,20} bank"},
        {"task": "exact", "system_fingerprint": fingerprint("Translate to French.")[:16].upper()},
    )
    for body in (
        chat(),
        chat(SYSTEM.upper(), role="developer"),
        chat(
            [
                {"type": "text", "text": "You are the billing"},
                {"type": "text", "text": "x"},
                {"type": "text", "text": SYSTEM},
            ]
        ),
        json.dumps({"system": SYSTEM, "messages": []}).encode(),
        json.dumps({"system": [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]}).encode(),
        json.dumps({"instructions": SYSTEM, "input": "Hello"}).encode(),
        json.dumps({"input": [{"role": "system", "content": [{"type": "input_text", "text": SYSTEM}]}]}).encode(),
    ):
        for _ in range(2):  # the second time from memory
            assert found.task_of([], "m", body, NO_KEY) == "billing"
    assert found.task_of([], "m", chat("translate   TO french."), NO_KEY) == "exact"
    assert found.task_of([], "m", chat("Be kind."), NO_KEY) == "default"
    assert found.task_of([], "m", b"", NO_KEY) == "default"
    assert found.task_of([], "m", chat(" " * 2000 + SYSTEM), NO_KEY) == "default"  # beyond what patterns look at


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"messages": 5}',
        b'{"messages": [5]}',
        b'{"messages": [{"role": "system", "content": 5}], "system": {"a": 1}}',
        b'{"messages": [{"role": "user", "content": "x"}]}',
        b'{"system": null, "instructions": ""}',
        b'{"messages": ' + b"[" * 3000,
    ],
)
def test_a_body_without_a_system_message_has_none(body: bytes) -> None:
    assert prompt_of(body)[0] is None


@given(st.binary(max_size=300))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    assert prompt_of(body)[0] is None or b"s" in body


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.tasks.rules._MOST_REMEMBERED", 3)
    found = rules({"task": "odd", "system_regex": "[13579]$"})
    for number in range(20):
        expected = "odd" if number % 2 else "default"
        assert found.task_of([], "m", chat(f"prompt {number}"), NO_KEY) == expected
        assert len(found._seen) <= 3


@pytest.mark.parametrize(
    "pattern",
    [
        "billing",
        "^You are (the|a) billing",
        "invoice.*due",
        "a{0,40}b{0,40}",
        "(?i:refund)",
        r"\bcard\b",
        "(?>ab?)c",
        "x++y",
        "(a|b|cd)(e|fg)",
        "(?=a)b?",
        "(?:ab){3}",
        "(?:a|b|cd){3}e",
    ],
)
def test_patterns_of_little_cost_are_taken(pattern: str) -> None:
    assert compile_bounded(pattern).pattern == pattern


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*$", "a*a*$", ".*.*x", r"(\w+\s?)*!", "(a{0,50}){0,50}", r"(a)\1", "(?:a?){30}a{30}"]
)
def test_patterns_that_could_run_away_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="may take too long"):
        compile_bounded(pattern)


@pytest.mark.parametrize(("pattern", "message"), [("(", "no regular expression"), ("a" * 501, "longer than 500")])
def test_what_is_no_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_bounded(pattern)


def test_all_faults_of_the_rules_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        rules(
            {"task": "a/b", "model": "*"},
            {"task": "empty"},
            {"task": "slow", "system_regex": "(a+)+"},
            {"task": "print", "system_fingerprint": "abc"},
            {"task": "print", "system_fingerprint": "x" * 12},
            default="",
        )
    message = str(caught.value)
    for words in (
        "tasks.default is empty",
        "tasks.rules[0].task begins with a dot, or holds '/'",
        "tasks.rules[1] has no condition",
        "tasks.rules[2].system_regex may take too long",
        "tasks.rules[3].system_fingerprint must be 12 to 64 hexadecimal digits",
        "tasks.rules[4].system_fingerprint must be",
    ):
        assert words in message


def test_rules_stand_in_the_settings_file(tmp_path: Any) -> None:  # Any: a path
    workspace, _ = create_workspace(tmp_path)
    workspace.settings_file.write_text(
        '[tasks]\ndefault = "rest"\n[[tasks.rules]]\ntask = "search"\npath = "/v1/embeddings"\n'
        '[[tasks.rules]]\ntask = "night"\nheaders = { user-agent = "batch*" }\n'
    )
    found = TaskRules(load_settings(workspace).tasks)
    assert found.task_of([(b"user-agent", b"batch 1")], "m", b"", NO_KEY) == "night"
    workspace.settings_file.write_text('[[tasks.rules]]\ntask = "search"\nmodle = "x"\n')
    with pytest.raises(InputError, match="there is no such setting; did you mean 'model'"):
        load_settings(workspace)
    with pytest.raises(ValidationError):
        TaskRule()  # type: ignore[call-arg]  # that is the test
