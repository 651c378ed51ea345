"""What a form of a model is worth on its task's cases, and what fewer bits have cost it.

The cases are asked through the endpoint that serves them, so that what is measured is what a client gets. They are not
traffic, and enter no ledger.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.core.errors import UpstreamError
from freehold.evaluation.intervals import difference_interval, score_interval
from freehold.evaluation.metrics.catalogue import scorer_of
from freehold.serving.endpoint import ServedModel, running_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from freehold.core.call import Call
    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.core.task import Task

CONFIDENCE, SEED = 0.95, 0
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A form of a model that the engine can load."""

    name: str
    base_gguf: Path
    adapter_gguf: Path | None
    scores_file: Path
    """Keeps the scores of cases that were asked, so that nothing is asked twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Scores of a form, and what separates them from those of the same model in 16 bits."""

    metric: str
    split: str
    """Side of the dataset that the cases are from."""
    n: int
    value: float
    ci_low: float
    ci_high: float
    reference: str | None
    """The form that it is compared with; None: it is that form itself."""
    difference: float | None
    """Mean over the cases of its score minus the reference's."""
    difference_ci_low: float | None
    difference_ci_high: float | None
    same_answers: float | None
    """Share of cases that both answer letter for letter alike."""
    confidence: float


@dataclass(frozen=True, slots=True)
class _Scored:
    value: float
    answer: str
    """The beginning of the answer's SHA-256: enough to see whether two are alike, and nobody's words."""


def quality_of(
    subject: Subject,
    reference: Subject | None,
    cases: Sequence[Example],
    *,
    task: Task,
    context_tokens: int,
    threads: int | None,
    log_file: Path,
    progress: Progress,
) -> Quality:
    """Ask a form all cases, and the reference too, and compare case by case.

    Args:
        subject: the form.
        reference: the same model in 16 bits; None: the form is it.
        cases: of one side of the dataset; at least one.
        task: says how answers are scored, and what they may be.
        context_tokens: of the longest case with its answer.
        threads: of the engine.
        log_file: of the engine.
        progress: is told of the cases.

    Raises:
        UpstreamError: the engine fails.
    """

    def asked(one: Subject) -> dict[str, _Scored]:
        return _ask_all(
            one,
            cases,
            task=task,
            context_tokens=context_tokens,
            threads=threads,
            log_file=log_file,
            progress=progress,
        )

    scorer = scorer_of(task)
    ours = asked(subject)
    scores = [ours[case.id].value for case in cases]
    interval = score_interval(scores, is_binary=scorer.is_binary, confidence=CONFIDENCE, seed=SEED)
    difference = low = high = same = None
    if reference is not None:
        theirs = asked(reference)
        pairs = [(ours[case.id], theirs[case.id]) for case in cases]
        differences = [our.value - their.value for our, their in pairs]
        apart = difference_interval(differences, is_binary=scorer.is_binary, confidence=CONFIDENCE, seed=SEED)
        difference, low, high = sum(differences) / len(differences), apart.low, apart.high
        same = sum(our.answer == their.answer for our, their in pairs) / len(pairs)
    return Quality(
        metric=scorer.metric,
        split=cases[0].split,
        n=len(cases),
        value=sum(scores) / len(scores),
        ci_low=interval.low,
        ci_high=interval.high,
        reference=None if reference is None else reference.name,
        difference=difference,
        difference_ci_low=low,
        difference_ci_high=high,
        same_answers=same,
        confidence=CONFIDENCE,
    )


def _ask_all(
    subject: Subject,
    cases: Sequence[Example],
    *,
    task: Task,
    context_tokens: int,
    threads: int | None,
    log_file: Path,
    progress: Progress,
) -> dict[str, _Scored]:
    """Scores by case; those that a file knows already are not asked again."""
    known = _read_scores(subject.scores_file)
    missing = [case for case in cases if case.id not in known]
    if not missing:
        return known
    scorer = scorer_of(task)
    ignored: list[Call] = []
    progress.start(f"Asking {subject.name}", len(missing))
    subject.scores_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        running_endpoint(
            [ServedModel(subject.name, task, subject.adapter_gguf)],
            base_gguf=subject.base_gguf,
            recorder=ignored.append,
            log_file=log_file,
            threads=threads,
            parallel=1,
            context_tokens=context_tokens,
        ) as base_url,
        subject.scores_file.open("a", encoding="utf-8") as file,
    ):
        for case in missing:
            answer = _ask(base_url, subject.name, case)
            digest = hashlib.sha256(answer.encode()).hexdigest()[:12]
            scored = _Scored(scorer.score(case.target, answer).value, digest)
            known[case.id] = scored
            file.write(json.dumps({"id": case.id, "score": scored.value, "answer": scored.answer}) + "\n")
            file.flush()
            ignored.clear()
            progress.update(1)
    progress.finish()
    return known


def _ask(base_url: str, model: str, case: Example) -> str:
    body: Mapping[str, object] = {
        "model": model,
        "messages": [message.as_dict() for message in case.messages if message.role != "system"],
        "temperature": 0,
    }
    request = urllib.request.Request(  # noqa: S310 -- our own loopback address
        f"{base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 -- as above
            return str(json.load(response)["choices"][0]["message"]["content"])
    except urllib.error.HTTPError as error:
        with error:
            reason = error.read().decode("utf-8", "replace")[:300]
        raise UpstreamError(f"{model} answered a case with status {error.code}: {reason}") from error
    except OSError as error:
        raise UpstreamError(f"{model} does not answer ({error}).") from error


def _read_scores(file: Path) -> dict[str, _Scored]:
    """Scores of an earlier sitting; a line that was cut off is asked again."""
    found: dict[str, _Scored] = {}
    if not file.is_file():
        return found
    content = file.read_bytes()
    if not content.endswith(b"\n"):
        content = content[: content.rfind(b"\n") + 1]
        file.write_bytes(content)
    for line in content.splitlines():
        row = json.loads(line)
        found[row["id"]] = _Scored(row["score"], row["answer"])
    return found
