"""Whether a model in another form says what PyTorch says: log-probabilities of the next token, place by place."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from freehold.core.errors import FreeholdError, InputError, UpstreamError
from freehold.tuning.decoder import processor
from freehold.tuning.packing import pack
from freehold.tuning.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.serving.cpu_engine import CpuEngine
    from freehold.tuning.decoder import Decoder

CASES, PLACES = 12, 8
"""Cases that are compared, and places in the answer of each."""
CANDIDATES = 40
"""Most probable tokens that the engine is asked for at each place."""
LIKELY = 0.01
"""Tokens that PyTorch gives less are not compared: what is hardly ever said may be off by more."""
TIMEOUT_S = 300.0

MEAN_TOLERANCE = {"f32": 1e-4, "bf16": 0.05, "f16": 0.005, "q8_0": 0.05, "q4_0": 0.5}
MAX_TOLERANCE = {"f32": 0.01, "bf16": 1.0, "f16": 0.1, "q8_0": 1.0, "q4_0": 6.0}
"""Differences of log-probabilities, in nats, up to which a form counts as verified. The mean finds what is wrong
everywhere, such as a tensor or a scale; the largest what is wrong somewhere, such as a window of attention. What was
measured stands in docs/decisions/0024-artefacts.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is read before a token that is to be told."""

    case: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How near two ways to compute one model are."""

    places: int
    compared: int
    """Log-probabilities that were set side by side."""
    mean_difference: float
    """In nats, each token weighing as much as PyTorch expects it."""
    max_difference: float
    same_first: float
    """Share of places at which the most probable token is the same."""
    mean_tolerance: float
    max_tolerance: float


class Teller(Protocol):
    """Something that tells the log-probabilities of next tokens."""

    def tell(self, place: Place) -> Mapping[int, float]:
        """Token -> log-probability; of the likely ones at least."""
        ...


class TorchTeller:
    """A decoder in this process."""

    def __init__(self, decoder: Decoder, *, threads: int | None = None) -> None:
        """Take the decoder, with its adapter merged if it has one."""
        self._decoder, self._threads = decoder, threads

    def tell(self, place: Place) -> Mapping[int, float]:
        """All tokens that are likely, and the most probable one."""
        with processor(threads=self._threads, products="float32"), torch.inference_mode():
            line = torch.tensor([place.tokens])
            states = self._decoder.run(self._decoder.embed(line), pack(0, [len(place.tokens)]))[0]
            scores = self._decoder.logits(states[-1:])[0].double().log_softmax(-1)
        likely = (scores >= math.log(LIKELY)).nonzero().flatten().tolist()
        return {token: float(scores[token]) for token in {*likely, int(scores.argmax())}}


class EngineTeller:
    """A running CPU engine."""

    def __init__(self, engine: CpuEngine, adapter: Path | None) -> None:
        """Ask this engine with this adapter."""
        self._engine, self._adapter = engine, adapter
        # What is drawn does not matter, but llama.cpp shows probabilities of whole characters only.
        self._drawn = ask(engine, "/tokenize", {"content": "a"})["tokens"][-1]

    def tell(self, place: Place) -> Mapping[int, float]:
        """The most probable tokens."""
        body = {
            "prompt": list(place.tokens),
            "lora": self._engine.lora(self._adapter),
            "n_predict": 1,
            "n_probs": CANDIDATES,
            "cache_prompt": True,
            "logit_bias": [[self._drawn, 1000.0]],
        }
        found = ask(self._engine, "/completion", body)["completion_probabilities"][0]["top_logprobs"]
        return {each["id"]: float(each["logprob"]) for each in found}


def places_of(folder: Path, cases: Sequence[Example]) -> list[Place]:
    """Places along the right answers of a few cases, spread evenly over them.

    Args:
        folder: has the tokenizer and the chat template.
        cases: of the task.
    """
    tokens = Tokens(folder)
    chosen = [cases[len(cases) * at // min(CASES, len(cases))] for at in range(min(CASES, len(cases)))]
    places = []
    for number, case in enumerate(chosen):
        row = tokens.example(case)
        places += [
            Place(case=number, tokens=(*row.prompt, *row.answer[:told])) for told in range(min(PLACES, len(row.answer)))
        ]
    return places


def check_text(engine: CpuEngine, folder: Path, cases: Sequence[Example]) -> None:
    """Compare how the engine writes and cuts conversations with how the model was tuned on them.

    Raises:
        FreeholdError: it does so otherwise.
    """
    tokens = Tokens(folder)
    for case in cases[:CASES]:
        turns = [message.as_dict() for message in case.messages]
        text = ask(engine, "/apply-template", {"messages": turns})["prompt"]
        cut = ask(engine, "/tokenize", {"content": text, "parse_special": True})["tokens"]
        if tuple(cut) != tokens.prompt(case.messages):
            raise FreeholdError(
                "The CPU engine cuts a conversation into other tokens than the model was tuned on, so its answers "
                "would be worse. The tokenizer or the chat template of this base cannot be carried over."
            )


def agreement_of(
    found: Teller, expected: Sequence[Mapping[int, float]], places: Sequence[Place], *, kind: str, progress: Progress
) -> Agreement:
    """Compare what a form tells with what PyTorch told, at all places.

    Args:
        found: the form that was written.
        expected: what PyTorch told at each place.
        places: as `places_of` chose them.
        kind: how the form stores its numbers; gives the tolerance.
        progress: is told of the places.
    """
    differences, weighted, first = [], 0.0, 0
    progress.start("Comparing log-probabilities", len(places))
    for place, theirs in zip(places, expected, strict=True):
        ours = found.tell(place)
        first += max(ours, key=ours.__getitem__) == max(theirs, key=theirs.__getitem__)
        least = min(ours.values())
        for token, value in theirs.items():
            # A token that is not among the candidates is less probable than the last of them.
            difference = abs(ours.get(token, least) - value)
            differences.append(difference)
            weighted += math.exp(value) * difference / len(places)
        progress.update(1)
    progress.finish()
    return Agreement(
        places=len(places),
        compared=len(differences),
        mean_difference=weighted,
        max_difference=max(differences),
        same_first=first / len(places),
        mean_tolerance=MEAN_TOLERANCE[kind],
        max_tolerance=MAX_TOLERANCE[kind],
    )


def check_agreement(agreement: Agreement, *, name: str) -> None:
    """Refuse what is further from PyTorch than its kind of number explains.

    Raises:
        FreeholdError: it is, or a difference is no number.
    """
    is_near = agreement.mean_difference <= agreement.mean_tolerance
    if not (is_near and agreement.max_difference <= agreement.max_tolerance):
        raise FreeholdError(
            f"{name} does not say what PyTorch says: at {agreement.places} places log-probabilities differ by "
            f"{agreement.mean_difference:.3g} nats on average ({agreement.mean_tolerance:g} is allowed) and by "
            f"{agreement.max_difference:.3g} at most ({agreement.max_tolerance:g} is allowed). It was not kept. Choose "
            "a form with more bits, or report this base model."
        )


def ask(engine: CpuEngine, path: str, body: Mapping[str, Any]) -> Any:  # Any: JSON
    """One answer of the engine.

    Raises:
        InputError: what is asked is longer than the engine's context.
        UpstreamError: the engine fails.
    """
    request = urllib.request.Request(  # noqa: S310 -- our own loopback address
        engine.base_url + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **engine.headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 -- as above
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            reason = error.read().decode("utf-8", "replace")
        if "exceed_context_size_error" in reason:
            raise InputError("A case is longer than the engine's context. Take fewer or shorter cases.") from error
        raise UpstreamError(f"The CPU engine refused {path} with status {error.code}.") from error
    except OSError as error:
        raise UpstreamError(f"The CPU engine does not answer ({error}). It says: {engine.log_tail()}") from error
