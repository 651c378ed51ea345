"""Clusters calls into tasks: small pieces of one kind are made first, and joined while they are alike.

A piece holds calls that have one prompt template and one shape of answer (one label, one set of JSON keys, …) and
lie near each other. Pieces are alike by what was asked, by how it is written, and by what the answers look like.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from freehold.tasks.answers import Shape, boolean_pair, style_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from freehold.tasks.templates import Template

    Matrix = NDArray[np.float64]

PROSE = 0.5
ALIKE = 0.85
"""Pieces that are less alike are different tasks. Chosen on mixes of ten public data sets: docs/decisions/0018."""
_PIECE_ROWS = 40
_TINY_ROWS, _FEW_ROWS, _FEW_PIECES = 6, 16, 5
"""A small group is parted more finely, as two tasks may share it, but never into pieces that say nothing."""
_MOST_PIECES = 320
_REPEATED = 2
_REGISTER_WEIGHT = 0.3
_SHAPE_WEIGHT = 0.5
_LIKE_TEMPLATE = 0.5
_SAME_TEMPLATE, _VARIANT_TEMPLATE = 0.3, 0.2
"""What one template adds, and templates that differ by a value. No more: two tasks may share a system message, and
one may have several. Chosen on tests/tasks/team_logs.py, as are the openings'."""
_ANSWERS_APART, _MOST_APART = 0.4, 0.5
"""Answers under different templates may be written so differently before that tells them apart, and how much."""
_SAME_OPENING, _LIKE_OPENING, _OTHER_OPENING = 0.4, 0.1, -0.05
_SAME_SCHEMA = 1.0
_OWNED = 0.2
_MANY_KEYS = {"object": 3, "tools": 1, "list": 2}
"""So many keys are a schema that no other task has by chance."""
_STYLE_WEIGHTS = np.array([2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
"""Of how labels are written: some are made for machines, as card_arrival is, and others are words."""
_SEED = 20261123
_LOOSER = 0.45
_NEVER = -1_000.0

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Calls as they are clustered; all sequences are of one length."""

    vectors: Matrix
    """[rows, dimensions]"""
    registers: Matrix
    """[rows, 6], standardised."""
    shapes: Sequence[Shape]
    templates: Sequence[int | None]
    """Number of the template of the system message; None: there is none that says what to do."""
    openings: Sequence[int | None]
    """Number of the opening of what was asked; None: it is like no other."""
    answers: Matrix
    """How answers are written: [rows, 6], standardised."""
    known: Sequence[str | None]
    """Task of a call that has one already."""


@dataclass(frozen=True, slots=True)
class PieceKind:
    """What the answers of a piece look like."""

    shape: Key
    """As `shape_key` gives it."""
    keys: frozenset[str]
    """Of their JSON objects."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Calls that are clustered as one."""

    rows: list[int]
    kind: PieceKind
    template: int | None
    opening: int | None
    known: str | None


def cluster(rows: Rows, templates: Sequence[Template], openings: Sequence[Sequence[str]]) -> list[int]:
    """For each row the number of its cluster, from 0."""
    pieces = pieces_of(rows)
    if not pieces:
        return []
    units = _units(pieces)
    likeness = _likeness(pieces, rows, templates, openings)
    labels = _join(likeness, units)
    found = [0] * len(rows.shapes)
    for piece, label in zip(pieces, labels, strict=True):
        for row in piece.rows:
            found[row] = label
    return found


def pieces_of(rows: Rows) -> list[Piece]:
    """The rows in pieces; the same rows give the same ones."""
    words = Counter((template, shape.word) for template, shape in zip(rows.templates, rows.shapes, strict=True))
    groups: defaultdict[tuple[str, int, int, Key], list[int]] = defaultdict(list)
    facts = zip(rows.shapes, rows.templates, rows.openings, rows.known, strict=True)
    for row, (shape, template, opening, known) in enumerate(facts):
        key = shape_key(shape, repeated=words[template, shape.word] >= _REPEATED)
        groups[known or "", _number(template), _number(opening), key].append(row)
    size = max(_PIECE_ROWS, len(rows.shapes) // _MOST_PIECES)
    place = np.hstack([rows.vectors, rows.registers * 0.15])
    pieces: list[Piece] = []
    for (known, template, opening, key), members in sorted(groups.items()):
        if key[0] == "label" and len(members) < 1.5 * size:
            parts = [members]
        else:
            parts = _parts(members, place, max(1, min(len(members) // _FEW_ROWS, _FEW_PIECES), len(members) // size))
        for part in parts:
            keys = frozenset().union(*(rows.shapes[row].keys for row in part))
            pieces.append(Piece(part, PieceKind(key, keys), _source(template), _source(opening), known or None))
    return pieces


def _number(source: int | None) -> int:
    return -1 if source is None else source


def _source(number: int) -> int | None:
    return None if number < 0 else number


def shape_key(shape: Shape, *, repeated: bool) -> Key:
    """What answers of one piece have in common."""
    match shape.family:
        case "object" | "tools" | "list":
            return (shape.family, *sorted(shape.keys))
        case "boolean":
            return ("boolean", *boolean_pair(shape.word or ""))
        case "label" if repeated:
            return ("label", shape.word or "")
        case "label":
            return ("single", *map(str, style_of(shape.word or "")))
        case _:
            return (shape.family,)


def _parts(members: list[int], place: Matrix, number: int) -> list[list[int]]:
    distinct = len(np.unique(place[members].round(9), axis=0)) if number > 1 else 1
    number = min(number, distinct)
    if number <= 1:
        return [members]
    labels = KMeans(number, n_init=3, random_state=_SEED).fit_predict(place[members])
    parts: defaultdict[int, list[int]] = defaultdict(list)
    for row, label in zip(members, labels, strict=True):
        parts[int(label)].append(row)
    return [parts[label] for label in sorted(parts)]


def _units(pieces: Sequence[Piece]) -> list[int]:
    """Pieces that belong together whatever they hold get one number: of a task, of one set of keys.

    A piece of a few calls says nothing: it goes with the largest of its template that is answered as it is.
    """
    owners = _owners(pieces)
    largest: dict[tuple[int, str], int] = {}
    for number, piece in sorted(enumerate(pieces), key=lambda item: len(item[1].rows)):
        if piece.template is not None and piece.known is None:
            largest[piece.template, piece.kind.shape[0]] = number
    first: dict[tuple[str, object], int] = {}
    units = []
    for number, piece in enumerate(pieces):
        is_tiny = len(piece.rows) < _TINY_ROWS and piece.kind.shape[0] not in {"label", "single"}
        at = number
        if is_tiny and piece.template is not None and piece.known is None:
            at = largest[piece.template, piece.kind.shape[0]]
        units.append(first.setdefault(_bond_of(at, pieces[at], owners), number))
    return units


def _bond_of(number: int, piece: Piece, owners: Mapping[PieceKind, str]) -> tuple[str, object]:
    if piece.known is not None:
        return ("known", piece.known)
    if _has_schema(piece.kind):
        owner = owners.get(piece.kind)
        return ("schema", piece.kind) if owner is None else ("known", owner)
    return ("alone", number)


def _has_schema(kind: PieceKind) -> bool:
    """Its answers have so many keys that no other task has the same ones by chance."""
    return kind.shape[0] in _MANY_KEYS and len(kind.keys) >= _MANY_KEYS[kind.shape[0]]


def _owners(pieces: Sequence[Piece]) -> dict[PieceKind, str]:
    """Schemas that a good part of one known task's answers has, and of no other's."""
    rows: Counter[str] = Counter()
    having: defaultdict[PieceKind, Counter[str]] = defaultdict(Counter)
    for piece in pieces:
        if piece.known is not None:
            rows[piece.known] += len(piece.rows)
            if _has_schema(piece.kind):
                having[piece.kind][piece.known] += len(piece.rows)
    found = {}
    for kind, counts in having.items():
        owners = [task for task, count in counts.items() if count >= _OWNED * rows[task]]
        if len(owners) == 1:
            found[kind] = owners[0]
    return found


def _likeness(
    pieces: Sequence[Piece], rows: Rows, templates: Sequence[Template], openings: Sequence[Sequence[str]]
) -> Matrix:
    """How alike pieces are, pair by pair: [pieces, pieces]."""
    centres = normalize(np.array([rows.vectors[piece.rows].mean(axis=0) for piece in pieces]))
    written = np.array([rows.registers[piece.rows].mean(axis=0) for piece in pieces])
    apart = np.sqrt(((written[:, None] - written[None]) ** 2).mean(axis=-1))
    likeness: Matrix = centres @ centres.T - _REGISTER_WEIGHT * apart
    answers = np.array([rows.answers[piece.rows].mean(axis=0) for piece in pieces])
    answered_apart = np.sqrt(((answers[:, None] - answers[None]) ** 2).mean(axis=-1))
    shapes = _shape_table(pieces)
    for one, piece in enumerate(pieces):
        for two in range(one):
            extra = _SHAPE_WEIGHT * shapes[one][two] + _bond(piece, pieces[two], templates, openings)
            if _has_other_template(piece, pieces[two]):
                extra -= min(_MOST_APART, max(0.0, answered_apart[one, two] - _ANSWERS_APART))
            likeness[one, two] += extra
            likeness[two, one] += extra
    return likeness


def _shape_table(pieces: Sequence[Piece]) -> list[list[float]]:
    """How alike the answers of pieces are by their outer form; many pieces have the same one."""
    kinds = list(dict.fromkeys(piece.kind for piece in pieces))
    between = np.array([[shape_likeness(one, two) for two in kinds] for one in kinds])
    places = [kinds.index(piece.kind) for piece in pieces]
    return cast("list[list[float]]", between[np.ix_(places, places)].tolist())


def _bond(one: Piece, two: Piece, templates: Sequence[Template], openings: Sequence[Sequence[str]]) -> float:
    """What templates and tasks that are known already add to the likeness of two pieces."""
    if one.known is not None and two.known is not None:
        return 0.0 if one.known == two.known else _NEVER
    if one.template is None and two.template is None:
        if one.opening is None or two.opening is None:
            return 0.0
        return _opening_bond(openings[one.opening], openings[two.opening])
    if one.template is None or two.template is None:
        return 0.0
    if one.template == two.template:
        return _SAME_TEMPLATE
    has_schema = one.kind == two.kind and _has_schema(one.kind)
    return _template_bond(templates[one.template], templates[two.template], has_schema=has_schema)


def _template_bond(one: Template, two: Template, *, has_schema: bool) -> float:
    if one.family == two.family:
        return _VARIANT_TEMPLATE
    if one.likeness(two) < _LIKE_TEMPLATE:
        return 0.0
    if has_schema:
        return _SAME_SCHEMA
    return 0.0 if one.is_exact and two.is_exact else _VARIANT_TEMPLATE


def _has_other_template(one: Piece, two: Piece) -> bool:
    """They are answered in prose, as told by different templates: the same letter may be summarised and replied to."""
    is_told = one.template is not None and two.template is not None and one.template != two.template
    return is_told and one.kind.shape[0] == two.kind.shape[0] == "prose"


def _opening_bond(one: Sequence[str], two: Sequence[str]) -> float:
    """Two openings that begin with the same words, for the most part, may differ by a value or by a task."""
    if one == two:
        return _SAME_OPENING
    same = next((place for place, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]), 0)
    return _LIKE_OPENING if 2 * same >= max(len(one), len(two)) else _OTHER_OPENING


def shape_likeness(one: PieceKind, two: PieceKind) -> float:  # noqa: PLR0911 -- one line per shape
    """How alike answers are by their outer form, from -1 to 1.2."""
    first, second = one.shape[0], two.shape[0]
    if first == second:
        match first:
            case "object" | "tools":
                return 1.0 if 2 * len(one.keys & two.keys) >= len(one.keys | two.keys) else -1.0
            case "boolean":
                return 1.2 if one.shape == two.shape else -1.0
            case "label":
                return 2.0 if one.shape == two.shape else _style_likeness(one, two)
            case "single":
                return _style_likeness(one, two)
            case "list":
                if not one.keys or not two.keys:  # nothing was found: no other kind of answer is empty like this
                    return 2.0
                return 1.0 if one.keys & two.keys else -1.0
            case "prose":
                return PROSE
            case _:
                return 0.8
    pair = {first, second}
    if pair == {"label", "single"}:
        return _style_likeness(one, two)
    if pair in ({"label", "phrase"}, {"single", "phrase"}, {"prose", "phrase"}, {"prose", "code"}, {"number", "prose"}):
        return 0.3
    if pair in ({"label", "prose"}, {"single", "prose"}):
        return -0.2
    return -0.6


def _style_likeness(one: PieceKind, two: PieceKind) -> float:
    return float(1 - (_STYLE_WEIGHTS * np.abs(np.subtract(_style(one), _style(two)))).sum() / 4)


def _style(kind: PieceKind) -> tuple[float, ...]:
    return style_of(kind.shape[1]) if kind.shape[0] == "label" else tuple(map(float, kind.shape[1:]))


def _join(likeness: Matrix, units: Sequence[int]) -> list[int]:
    """Join the two groups that are most alike on the average of their pieces, until none are alike enough.

    Groups of several pieces each must also be nearly as like each other as the looser one is to itself: two tasks of
    one register are alike, but not that much.
    """
    names = sorted(set(units))
    member = np.zeros((len(names), len(units)))
    member[[names.index(unit) for unit in units], range(len(units))] = 1.0
    sums = member @ likeness @ member.T
    sizes = member.sum(axis=1)
    selves = member @ np.diag(likeness)
    label = np.array([names.index(unit) for unit in units])
    means = sums / np.outer(sizes, sizes)
    np.fill_diagonal(means, _NEVER)
    within = _within(sums, sizes, selves)
    while len(names) > 1:
        alike = np.nonzero(means >= ALIKE)
        found = means[alike]
        allowed = found >= np.minimum(within[alike[0]], within[alike[1]]) - _LOOSER
        if not allowed.any():
            break
        best = int(np.where(allowed, found, _NEVER).argmax())
        one, two = sorted((int(alike[0][best]), int(alike[1][best])))
        sums[one] += sums[two]
        sums[:, one] += sums[:, two]
        sizes[one] += sizes[two]
        selves[one] += selves[two]
        label[label == two] = one
        sizes[two] = np.inf  # it is gone: nothing is like it
        with np.errstate(invalid="ignore"):
            means[one] = means[:, one] = sums[one] / (sizes[one] * sizes)
        means[one, np.isinf(sizes)] = means[np.isinf(sizes), one] = _NEVER
        means[one, one] = means[two] = means[:, two] = _NEVER
        within = _within(sums, sizes, selves)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(label.tolist()))}
    return [numbers[name] for name in label.tolist()]


def _within(sums: Matrix, sizes: Matrix, selves: Matrix) -> Matrix:
    """How alike the pieces of each group are among themselves; of a group of one piece nobody can say."""
    pairs = sizes * (sizes - 1)
    found = np.full(len(sizes), _NEVER)
    many = np.isfinite(sizes) & (sizes > 1)
    found[many] = (np.diag(sums)[many] - selves[many]) / pairs[many]
    return found
