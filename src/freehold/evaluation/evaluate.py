"""Scores every contender on a task's held-out cases and compares them case by case."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from freehold.evaluation.baselines import baseline_contenders, missing_baseline
from freehold.evaluation.cascade import run_cascade
from freehold.evaluation.checks import check_basis, check_cases, check_contenders, note_on_human_words, warnings_about
from freehold.evaluation.compare import Basis
from freehold.evaluation.contender import answers_of, input_text, recorded_rented
from freehold.evaluation.metrics.catalogue import scorer_of
from freehold.evaluation.result import Cases, Confusion, Evaluation
from freehold.evaluation.summary import ScoredAnswers, compare_all, paired_cases, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.core.chat import Answer
    from freehold.core.dataset import Dataset, Example
    from freehold.core.progress import Progress
    from freehold.core.task import Task
    from freehold.evaluation.contender import Contender
    from freehold.evaluation.metrics.score import Score, Scorer
    from freehold.evaluation.result import CascadeResult

MAX_OUTPUT_TOKENS = 256
_TOP_CONFUSIONS = 10


def evaluate(
    *,
    dataset: Dataset,
    examples: Sequence[Example],
    train: Sequence[Example],
    contenders: Sequence[Contender],
    margin_points: float,
    confidence: float,
    seed: int,
    progress: Progress,
    validation: Sequence[Example] = (),
    tasks_compared: int = 1,
    max_output_tokens: int = MAX_OUTPUT_TOKENS,
) -> Evaluation:
    """Let all contenders answer the test cases, score the answers, and compare.

    The recorded rented model and the trivial baselines take part by themselves; `contenders` are the others.
    With `validation` cases, and if the own model states its confidence, the cascade of own and rented is
    judged as well.

    Args:
        dataset: says which task and which version of its data this is.
        examples: the test cases.
        train: what the own model was tuned on; the baselines are fitted on it.
        contenders: at most one of them is of kind `own`: candidates are chosen on validation, never here.
        margin_points: how many points (hundredths of the score) worse still counts as good enough.
        confidence: of each interval, two-sided.
        seed: of the bootstrap.
        progress: told of each contender's answers.
        validation: cases on which the cascade's threshold is chosen.
        tasks_compared: tasks judged together; their comparisons share the allowed error (Bonferroni).
        max_output_tokens: longest answer that a model may give.

    Raises:
        InputError: the cases cannot be judged (none, one class only, leak) or the contenders are not usable.
        UpstreamError: a model failed.
    """
    task = dataset.task
    scorer = scorer_of(task)
    basis = Basis(
        is_binary=scorer.is_binary,
        margin=margin_points / 100,
        confidence=confidence,
        tasks_compared=tasks_compared,
        seed=seed,
    )
    check_basis(basis)
    check_cases(task, scorer, examples, train)
    taking_part = _all_contenders(contenders, task=task, train=train, examples=examples, progress=progress)
    check_contenders(taking_part)
    asking = _Asking(task, scorer, max_output_tokens, progress)
    scored = [asking.score(contender, examples) for contender in taking_part]
    cases = _cases(examples, scored)
    return _put_together(
        dataset=dataset,
        basis=basis,
        scored=scored,
        cases=cases,
        cascade=_cascade(asking, taking_part, cases, validation, basis),
        model=next((each.version for each in taking_part if each.kind == "own"), None),
        warnings=warnings_about(task, examples, train, scored),
        notes=tuple(filter(None, (missing_baseline(task), note_on_human_words(examples, scored)))),
    )


def _put_together(
    *,
    dataset: Dataset,
    basis: Basis,
    scored: Sequence[ScoredAnswers],
    cases: Cases,
    cascade: tuple[CascadeResult | None, str | None],
    model: str | None,
    warnings: tuple[str, ...],
    notes: tuple[str, ...],
) -> Evaluation:
    task = dataset.task
    kinds = {each.name: each.kind for each in scored}
    return Evaluation(
        task=task.name,
        task_kind=task.kind,
        metric=scorer_of(task).metric,
        n=len(cases.ids),
        dataset=dataset.id,
        dataset_sha256=dataset.sha256,
        model=model,
        margin=basis.margin,
        confidence=basis.confidence,
        tasks_compared=basis.tasks_compared,
        seed=basis.seed,
        contenders=tuple(summarise(each, basis) for each in scored),
        comparisons=compare_all(kinds, cases, basis),
        cascade=cascade[0],
        cascade_note=cascade[1],
        confusions=tuple(confusion for each in scored for confusion in _confusions(each)),
        cases=cases,
        warnings=warnings,
        notes=notes,
    )


def _all_contenders(
    given: Sequence[Contender],
    *,
    task: Task,
    train: Sequence[Example],
    examples: Sequence[Example],
    progress: Progress,
) -> list[Contender]:
    rented = None if any(each.kind == "rented" for each in given) else recorded_rented(examples)
    progress.start("fit the trivial baselines", len(train))
    baselines = baseline_contenders(task, train=train, cases=examples)
    progress.update(len(train))
    progress.finish()
    return [*given, *([] if rented is None else [rented]), *baselines]


@dataclass(frozen=True, slots=True)
class _Asking:
    """How answers are had and scored."""

    task: Task
    scorer: Scorer
    max_output_tokens: int
    progress: Progress

    def score(self, contender: Contender, examples: Sequence[Example]) -> ScoredAnswers:
        answers = answers_of(
            contender,
            examples,
            task=self.task,
            max_output_tokens=self.max_output_tokens,
            progress=self.progress,
        )
        cases = {example.id: example for example in examples}
        scores = {id_: self._score_one(cases[id_], answer) for id_, answer in answers.items()}
        return ScoredAnswers(contender.name, contender.kind, answers, scores)

    def _score_one(self, case: Example, answer: Answer) -> Score:
        return self.scorer.score(case.target, answer.text, asked=input_text(case), confidence=answer.confidence)


def _cases(examples: Sequence[Example], scored: Sequence[ScoredAnswers]) -> Cases:
    ids = tuple(example.id for example in examples)
    stating = [each for each in scored if each.states_confidence]
    return Cases(
        ids=ids,
        scores={each.name: tuple(each.value_of(id_) for id_ in ids) for each in scored},
        confidences={each.name: tuple(each.confidence_of(id_) for id_ in ids) for each in stating},
    )


def _confusions(scored: ScoredAnswers) -> list[Confusion]:
    counts: Counter[tuple[str, str | None]] = Counter()
    for score in scored.scores.values():
        if score.confusion is not None:
            counts[score.confusion] += 1
        counts.update((field, None) for field in score.wrong_fields)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or ""))
    return [
        Confusion(contender=scored.name, target=target, given=given, count=count)
        for (target, given), count in ordered[:_TOP_CONFUSIONS]
    ]


def _cascade(
    asking: _Asking,
    contenders: Sequence[Contender],
    cases: Cases,
    validation: Sequence[Example],
    basis: Basis,
) -> tuple[CascadeResult | None, str | None]:
    """The cascade, or why there is none."""
    own = next((each for each in contenders if each.kind == "own"), None)
    rented = next((each for each in contenders if each.kind == "rented"), None)
    if own is None or rented is None:
        return None, "A cascade needs an own model and the answers of a rented one."
    test = paired_cases(cases, own.name, rented.name)
    if not test:
        return None, "A cascade needs an own model that states its confidence."
    rented_there = rented if rented.model is not None else _with_recordings(rented, validation)
    answered = [each for each in validation if rented_there.answers is None or each.id in rented_there.answers]
    scored = [asking.score(each, answered) for each in (own, rented_there)] if answered else []
    there = paired_cases(_cases(answered, scored), own.name, rented.name) if scored else []
    if not there:
        return None, "A cascade needs validation cases that both the own and the rented model answered."
    return run_cascade(own=own.name, rented=rented.name, validation=there, test=test, basis=basis), None


def _with_recordings(rented: Contender, examples: Sequence[Example]) -> Contender:
    """The rented contender with what the log recorded for further examples."""
    recorded = recorded_rented(examples)
    there = {} if recorded is None else recorded.answers or {}
    return replace(rented, answers={**there, **(rented.answers or {})})
