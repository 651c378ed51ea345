"""A worker obeys rules that are learned, and names that are given, while it runs; it never locks a key out by them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

from freehold.cli.gateway_tasks import TasksOfWorker
from freehold.state.settings import TaskRule, TasksSection
from freehold.tasks.edit import rename_task
from freehold.tasks.learned import LearnedRule
from freehold.tasks.store import keep_rules

if TYPE_CHECKING:
    from sqlalchemy import Engine

ANYBODY = SimpleNamespace(task=None, may_use_task=lambda _: True)
CHECKOUT = SimpleNamespace(task=None, may_use_task=lambda task: task == "default")
BODY = json.dumps(
    {"messages": [{"role": "system", "content": "Hello Ann. Is this message SPAM?  Reply spam or ham."},
                  {"role": "user", "content": "Win"}]}
).encode()  # fmt: skip
RULE = LearnedRule("spam", "system", {"anchors": ["is this message spam? reply spam or ham."], "longest": None})


def learn(state: Engine) -> None:
    with state.begin() as connection:
        keep_rules(connection, [RULE])


def test_a_rule_is_obeyed_as_soon_as_the_worker_has_looked_again(state: Engine) -> None:
    tasks = TasksOfWorker(state)
    rules = tasks.rules_of(TasksSection())
    assert rules.task_of((), "m", BODY, ANYBODY) == "default"

    learn(state)
    loaded = tasks._load_if_changed()
    assert loaded is not None
    tasks.take(loaded)

    assert rules.task_of((), "m", BODY, ANYBODY) == "spam"
    assert tasks._load_if_changed() is None


def test_a_client_that_sends_an_old_name_is_understood(state: Engine) -> None:
    learn(state)
    rename_task(state, "spam", "sms_spam", known={"spam"})
    rules = TasksOfWorker(state).rules_of(TasksSection())
    assert rules.task_of([(b"x-freehold-task", b"spam")], "m", b"", ANYBODY) == "sms_spam"
    assert rules.task_of((), "m", BODY, ANYBODY) == "sms_spam"


def test_rules_of_the_settings_come_before_learned_ones(state: Engine) -> None:
    learn(state)
    rules = TasksOfWorker(state).rules_of(TasksSection(rules=[TaskRule(task="set", model="gpt-*")]))
    assert rules.task_of((), "gpt-5", BODY, ANYBODY) == "set"
    assert rules.task_of((), "other", BODY, ANYBODY) == "spam"


def test_a_learned_rule_never_leads_a_key_to_a_task_that_it_is_not_for(state: Engine) -> None:
    learn(state)
    rules = TasksOfWorker(state).rules_of(TasksSection())
    assert rules.task_of((), "m", BODY, CHECKOUT) == "default"


def test_a_body_that_is_no_request_has_no_task_of_its_own(state: Engine) -> None:
    learn(state)
    rules = TasksOfWorker(state).rules_of(TasksSection())
    for body in (
        b"",
        b"{",
        b"[]",
        b'{"messages": 7}',
        b'{"messages": [{"role": "system", "content": {"a": 1}}]}',
        b"\xff",
    ):
        assert rules.task_of((), "m", body, ANYBODY) == "default"
