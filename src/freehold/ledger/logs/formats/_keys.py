"""What a log itself says a call belongs to: a task in its metadata, a tag, a prompt by name, the name of a step."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import TaskKey
from freehold.ledger.logs.formats._fields import Values, inner, list_of, mapping_of, word

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK_FIELDS = ("freehold.task", "freehold_task", "task", "task_name", "use_case", "usecase", "feature")
"""Names under which people write down what a call is for; compared without case, `-` and blanks as `_`."""
TASK_HEADER = "x-freehold-task"
_TAG = re.compile(r"(?:task|use[_-]?case|feature)\s*[:=]\s*(?P<task>.+)", re.IGNORECASE | re.DOTALL)
_TAGS_OF_TOOLS = ("user-agent:", "credential:", "litellm-internal")
"""LiteLLM adds such tags by itself: what the client runs on, and whose key it has."""
_NO_TASK = re.compile(
    r"(?:env(?:ironment)?\s*[:=].*|prod(?:uction)?|stag(?:e|ing)|dev(?:elopment)?|test(?:ing)?|qa|uat|local|canary|live"
    r"|(?:release|version|v)?[-_ :=]?\d[\w.+-]*)",
    re.IGNORECASE,
)
"""Tags that say where a call was made, or by which version."""
_NAMES_OF_TOOLS = re.compile(
    r"(?:(?:azure)?(?:chat)?(?:open_?ai|anthropic|bedrock|vertexai|googlegenerativeai|cohere|mistral(?:ai)?|ollama|groq|litellm)"
    r"[-_. ]?(?:generation|chat|completion|responses?|call|llm|model|acompletion|aresponses)?s?"
    r"|(?:text[_-]?|chat[_. -]?)?(?:completion|generation|embedding|response|message)s?(?:[_. -]create)?"
    r"|(?:chat|llm|model|agent|root|trace|span|unnamed[ _-]?trace|default|untitled)"
    r"|litellm-?\w*|runnable\w*|chat(?:openai|anthropic|bedrock\w*|prompttemplate)|ai\.\w+(?:\.do\w+)?)",
    re.IGNORECASE,
)
"""What SDKs call a step of which nobody said what it is for."""


def first_key(*keys: TaskKey | None) -> TaskKey | None:
    """The first that is there."""
    return next((key for key in keys if key is not None), None)


def of_metadata(*metadata: object) -> TaskKey | None:
    """A task that is named in metadata, also where it is text that is JSON."""
    for each in metadata:
        if each is None:
            continue
        named = {_plain(name): value for name, value in mapping_of(each).items()}
        found = word(named, *TASK_FIELDS)
        if found is not None:
            return TaskKey("metadata", found)
    return None


def of_headers(headers: object) -> TaskKey | None:
    """A task that the client named in a header of its request."""
    found = word({name.lower(): value for name, value in mapping_of(headers).items()}, TASK_HEADER)
    return None if found is None else TaskKey("header", found)


def of_tags(tags: object) -> TaskKey | None:
    """A tag that says that it is a task: `task:triage`, `feature=search`."""
    found = (_TAG.fullmatch(tag) for tag in _tags(tags))
    return next((TaskKey("tag", each["task"].strip()) for each in found if each is not None), None)


def of_sole_tag(tags: object) -> TaskKey | None:
    """The only tag there is, unless it is where the call was made, or a version.

    Of several no more than one would be a task, and which is not written there. A tag is no more than a hint, so what
    has a name of its own counts before it.
    """
    found = {tag for tag in _tags(tags) if not _NO_TASK.fullmatch(tag)}
    return TaskKey("tag", found.pop()) if len(found) == 1 else None


def _tags(tags: object) -> list[str]:
    """Those that people gave."""
    given = [tag.strip() for tag in list_of(tags) if isinstance(tag, str) and tag.strip()]
    return [tag for tag in given if not tag.lower().startswith(_TAGS_OF_TOOLS)]


def of_prompt(values: Values, *names: str) -> TaskKey | None:
    """A prompt that is kept under a name or an id, and used for this call."""
    found = word(values, *names)
    return None if found is None else TaskKey("prompt", found)


def of_name(values: Values, *names: str) -> TaskKey | None:
    """The name that somebody gave a step or a trace; names that an SDK gives by itself say nothing."""
    given = (word(values, name) for name in names)
    found = next((name for name in given if name is not None and not _NAMES_OF_TOOLS.fullmatch(name)), None)
    return None if found is None else TaskKey("name", found)


def of_request(request: Mapping[str, Any] | None) -> TaskKey | None:  # Any: JSON
    """What a request says of itself: its metadata, or the stored prompt that it uses."""
    body = request or {}
    return first_key(of_metadata(body.get("metadata")), of_prompt(inner(body, "prompt"), "id"))


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())
