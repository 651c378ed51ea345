"""What is checked of a form before it is handed over, and what is said where it cannot be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from freehold.serving.artefacts.agreement import (
    Agreement,
    EngineTeller,
    TorchTeller,
    agreement_of,
    check_agreement,
    check_text,
    places_of,
)
from freehold.serving.artefacts.quality import Quality, Subject, quality_of
from freehold.serving.base_files import base_gguf
from freehold.serving.cpu_engine import CpuEngine
from freehold.serving.gguf_export import export_model
from freehold.tuning.decoder import Decoder
from freehold.tuning.predict import merge_adapter
from freehold.tuning.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.serving.artefacts.agreement import Place
    from freehold.serving.artefacts.version import Version
    from freehold.serving.gguf_export import GgufType
    from freehold.tuning.card import Form

UNCHECKED = "It was not checked against PyTorch: --no-check."
_ANSWER_TOKENS = 1024
"""Most that the endpoint lets an answer have."""
_LEAST_CONTEXT = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """How a form is checked."""

    base_files: Path
    """Folder that keeps bases as the engine reads them."""
    log_file: Path
    threads: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came out."""

    agreement: Agreement | None = None
    quality: Quality | None = None
    warnings: tuple[str, ...] = ()

    def facts(self) -> list[tuple[str, str]]:
        """The same as rows of a card."""
        rows = []
        if (found := self.agreement) is not None:
            rows += [
                (
                    "verified against PyTorch",
                    f"log-probabilities of likely tokens differ by {found.max_difference:.2g} nats at most and "
                    f"{found.mean_difference:.2g} on average, at {found.places} places; {found.max_tolerance:g} and "
                    f"{found.mean_tolerance:g} are allowed",
                ),
                ("same most probable token", f"{found.same_first:.1%} of places"),
            ]
        if (quality := self.quality) is not None:
            rows.append(
                (
                    f"{quality.metric}, served by the CPU engine",
                    f"{quality.value:.3f} ({quality.ci_low:.3f} to {quality.ci_high:.3f}) on {quality.n} "
                    f"{quality.split} cases",
                )
            )
            if quality.difference is not None:
                rows += [
                    (
                        f"difference to {quality.reference}",
                        f"{quality.difference:+.3f} ({quality.difference_ci_low:+.3f} to "
                        f"{quality.difference_ci_high:+.3f}), case by case",
                    ),
                    ("same answers", f"{quality.same_answers:.1%}"),
                ]
        return rows + [("not measured", warning) for warning in self.warnings]


def check_form(
    checks: Checks | None,
    version: Version,
    cases: Sequence[Example],
    *,
    form: Form,
    kind: str,
    draft: Path,
    scores: Path,
    progress: Progress,
) -> Checked:
    """Compare a written form with PyTorch, and ask it the cases.

    Args:
        checks: how; None: not at all.
        version: what it was made from.
        cases: of one side of the version's dataset.
        form: what was written.
        kind: how its numbers are stored.
        draft: where it lies.
        scores: how the names of files begin that keep scores.
        progress: is told of what goes on.

    Raises:
        FreeholdError: the form does not say what PyTorch says.
        UpstreamError: the engine fails.
    """
    if form == "adapter":  # the very files that were evaluated
        return Checked()
    if checks is None:
        return Checked(warnings=(UNCHECKED,))
    if not cases:
        return Checked(warnings=("It was not checked: there are no cases of its dataset left to ask.",))
    places = places_of(version.source, cases)
    expected = _told_by_torch(version, places, checks, progress)
    name = f"{version.id} as {form}, {kind}"
    if form == "merged":
        teller = TorchTeller(Decoder(draft), threads=checks.threads)
        agreement = agreement_of(teller, expected, places, kind=kind, progress=progress)
        check_agreement(agreement, name=name)
        return Checked(agreement=agreement)
    work = _Work(checks=checks, version=version, form=form, draft=draft, scores=scores, progress=progress)
    subject = work.subject(cast("GgufType", kind))
    context = _context(version.source, cases)
    with CpuEngine(
        subject.base_gguf,
        adapters=[] if subject.adapter_gguf is None else [subject.adapter_gguf],
        log_file=checks.log_file,
        threads=checks.threads,
        parallel=1,
        context_tokens=context,
    ) as engine:
        check_text(engine, version.source, cases)
        engine_teller = EngineTeller(engine, subject.adapter_gguf)
        agreement = agreement_of(engine_teller, expected, places, kind=kind, progress=progress)
    check_agreement(agreement, name=name)
    quality = quality_of(
        subject,
        None if kind == "f16" else work.reference(),
        cases,
        task=version.card.task,
        context_tokens=context,
        threads=checks.threads,
        log_file=checks.log_file,
        progress=progress,
    )
    return Checked(agreement=agreement, quality=quality)


def _told_by_torch(
    version: Version, places: Sequence[Place], checks: Checks, progress: Progress
) -> list[Mapping[int, float]]:
    """What PyTorch says at each place. The model leaves the memory before the form enters it."""
    decoder = Decoder(version.source)
    if not version.is_whole:
        merge_adapter(decoder, version.folder)
    teller = TorchTeller(decoder, threads=checks.threads)
    progress.start("Asking PyTorch", len(places))
    told = []
    for place in places:
        told.append(teller.tell(place))
        progress.update(1)
    progress.finish()
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A form that lies in its draft, on its way to the engine."""

    checks: Checks
    version: Version
    form: Form
    draft: Path
    scores: Path
    progress: Progress

    def subject(self, kind: GgufType) -> Subject:
        """The form as the engine loads it."""
        version = self.version
        adapter = None
        if self.form == "gguf":
            base = self.draft / f"{version.id}-{kind}.gguf"
        else:
            adapter = self.draft / f"{version.id}-adapter.gguf"
            base = base_gguf(
                version.base.folder,
                version.base.name,
                self.checks.base_files,
                kind=kind,
                is_immutable=version.base.gguf is not None,
                progress=self.progress,
            )
        return Subject(
            name=f"{version.id}-{self.form}-{kind}",
            base_gguf=base,
            adapter_gguf=adapter,
            scores_file=self.scores.with_name(f"{self.scores.name}-{kind}.jsonl"),
        )

    def reference(self) -> Subject:
        """The same in 16 bits. A merged model is written beside the other, and goes when that is finished."""
        subject = self.subject("f16")
        if self.form != "gguf":
            return subject
        target = self.draft / f".{self.version.id}-f16.gguf"
        if not target.exists():
            export_model(self.version.source, self.version.arrays(), target, progress=self.progress)
        return replace(subject, base_gguf=target)


def _context(folder: Path, cases: Sequence[Example]) -> int:
    """Tokens that the longest case needs, with room for its answer."""
    tokens = Tokens(folder)
    return max(_LEAST_CONTEXT, max(len(tokens.prompt(case.messages)) for case in cases) + _ANSWER_TOKENS)
