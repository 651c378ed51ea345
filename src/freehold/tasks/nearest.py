"""Gives calls to the nearest of the pieces that were clustered, or to none if all are far."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from sklearn.preprocessing import normalize

from freehold.tasks.answers import shape_of
from freehold.tasks.belonging import circle_of
from freehold.tasks.clusters import PieceKind, pieces_of, shape_key, shape_likeness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.tasks.evidence import Evidence
    from freehold.tasks.gather import Gathered

NEAR = 0.25
"""A call that is less like its nearest piece stays unassigned. Within tasks nearly all calls are nearer."""


class Nearest:
    """The pieces of a sample, with the tasks that they went to."""

    def __init__(self, gathered: Gathered, tasks: Sequence[str | None]) -> None:
        """Take the sample and the task of each of its calls."""
        self._gathered = gathered
        pieces = [piece for piece in pieces_of(gathered.rows) if tasks[piece.rows[0]] is not None]
        vectors, registers = gathered.rows.vectors, gathered.rows.registers
        self._tasks = [tasks[piece.rows[0]] for piece in pieces]
        self._kinds = [piece.kind for piece in pieces]
        self._centres = normalize(np.array([vectors[piece.rows].mean(axis=0) for piece in pieces])) if pieces else None
        self._registers = np.array([registers[piece.rows].mean(axis=0) for piece in pieces])
        self._words = {kind.shape[1] for kind in self._kinds if kind.shape[0] == "label"}
        self._shape_scores: dict[PieceKind, np.ndarray] = {}
        members: defaultdict[str, list[int]] = defaultdict(list)
        for place, task in enumerate(tasks):
            if task is not None:
                members[task].append(place)
        self._circles = {task: circle_of(gathered.rows, gathered.texts, of) for task, of in members.items()}

    def tasks_of(self, calls: Sequence[Evidence]) -> list[str | None]:
        """The task of each call; None: it is like nothing that is known."""
        if not calls or self._centres is None:
            return [None] * len(calls)
        texts = [self._gathered.text_of(one) for one in calls]
        placed = self._gathered.place([text for text, _ in texts])
        scores = normalize(placed.vectors) @ self._centres.T
        scores -= 0.3 * np.sqrt(((placed.registers[:, None] - self._registers[None]) ** 2).mean(axis=-1))
        for row, one in enumerate(calls):
            scores[row] += self._by_shape(one)
        best = scores.argmax(axis=1)
        return [
            task if scores[row, piece] >= NEAR and (is_opened or self._holds(task, text, one)) else None
            for row, (piece, task, (text, is_opened), one) in enumerate(
                zip(best, (self._tasks[int(piece)] for piece in best), texts, calls, strict=True)
            )
        ]

    def _holds(self, task: str | None, text: str, one: Evidence) -> bool:
        return task is not None and self._circles[task].holds(text, shape_of(one.answer, one.tools), is_member=False)

    def _by_shape(self, one: Evidence) -> np.ndarray:
        shape = shape_of(one.answer, one.tools)
        kind = PieceKind(shape_key(shape, repeated=shape.word in self._words), shape.keys)
        known = self._shape_scores.get(kind)
        if known is None:
            if len(self._shape_scores) > 10_000:
                self._shape_scores.clear()
            known = 0.5 * np.array([shape_likeness(kind, other) for other in self._kinds])
            self._shape_scores[kind] = known
        return known
