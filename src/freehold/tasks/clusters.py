"""Clusters calls into tasks: small pieces of one kind are made first, and joined while they are alike.

A piece holds calls that have one prompt template and one shape of answer (one label, one set of JSON keys, …) and
lie near each other. Pieces are alike by what was asked, by how it is written, and by what the answers look like.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from freehold.tasks.answers import Shape, boolean_pair, style_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from freehold.tasks.templates import Template

    Matrix = NDArray[np.float64]

PROSE = 0.5
ALIKE = 0.85
"""Pieces that are less alike are different tasks. Chosen on mixes of ten public data sets: docs/decisions/0018."""
_PIECE_ROWS = 40
_FEW_ROWS, _FEW_PIECES = 16, 5
"""A small group is parted more finely, as two tasks may share it, but never into pieces that say nothing."""
_MOST_PIECES = 320
_REPEATED = 2
_REGISTER_WEIGHT = 0.3
_SHAPE_WEIGHT = 0.5
_LIKE_TEMPLATE = 0.5
_SAME_OPENING, _OTHER_OPENING = 0.4, -0.2
_SAME_SCHEMA = 1.0
_OWNED = 0.2
_VARIANT_SLACK, _VARIANT_ROWS = 0.15, 20
_MANY_KEYS = {"object": 3, "tools": 1, "list": 2}
"""So many keys are a schema that no other task has by chance."""
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


def cluster(rows: Rows, templates: Sequence[Template]) -> list[int]:
    """For each row the number of its cluster, from 0."""
    pieces = pieces_of(rows)
    if not pieces:
        return []
    units = _units(pieces)
    likeness = _likeness(pieces, rows, templates)
    labels = _join(likeness, _join_variants(likeness, units, pieces, templates))
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
    """Pieces that belong together whatever they hold get one number: of a template, of a task, of one set of keys."""
    owners = _owners(pieces)
    first: dict[tuple[str, object], int] = {}
    units = []
    for number, piece in enumerate(pieces):
        bond: tuple[str, object] = ("alone", number)
        if piece.known is not None:
            bond = ("known", piece.known)
        elif piece.template is not None:
            bond = ("template", piece.template)
        elif _has_schema(piece.kind):
            owner = owners.get(piece.kind)
            bond = ("schema", piece.kind) if owner is None else ("known", owner)
        units.append(first.setdefault(bond, number))
    return units


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


def _likeness(pieces: Sequence[Piece], rows: Rows, templates: Sequence[Template]) -> Matrix:
    """How alike pieces are, pair by pair: [pieces, pieces]."""
    centres = normalize(np.array([rows.vectors[piece.rows].mean(axis=0) for piece in pieces]))
    written = np.array([rows.registers[piece.rows].mean(axis=0) for piece in pieces])
    apart = np.sqrt(((written[:, None] - written[None]) ** 2).mean(axis=-1))
    likeness: Matrix = centres @ centres.T - _REGISTER_WEIGHT * apart
    for one, piece in enumerate(pieces):
        for two in range(one):
            extra = _SHAPE_WEIGHT * shape_likeness(piece.kind, pieces[two].kind) + _bond(piece, pieces[two], templates)
            likeness[one, two] += extra
            likeness[two, one] += extra
    return likeness


def _bond(one: Piece, two: Piece, templates: Sequence[Template]) -> float:
    """What templates and tasks that are known already add to the likeness of two pieces."""
    if one.known is not None and two.known is not None:
        return 0.0 if one.known == two.known else _NEVER
    if one.template is None and two.template is None and None not in (one.opening, two.opening):
        return _SAME_OPENING if one.opening == two.opening else _OTHER_OPENING
    if one.template is None or two.template is None or one.template == two.template:
        return 0.0
    first, second = templates[one.template], templates[two.template]
    if first.likeness(second) >= _LIKE_TEMPLATE:
        if one.kind == two.kind and _has_schema(one.kind):
            return _SAME_SCHEMA
        return 0.0 if first.is_exact and second.is_exact else 0.2
    shares_answers = one.kind.shape == two.kind.shape and one.kind.shape[0] in {"label", "object", "tools"}
    return 0.0 if shares_answers else -0.5


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
    return float(1 - np.abs(np.subtract(_style(one), _style(two))).sum() / 4)


def _style(kind: PieceKind) -> tuple[float, ...]:
    return style_of(kind.shape[1]) if kind.shape[0] == "label" else tuple(map(float, kind.shape[1:]))


def _join_variants(
    likeness: Matrix, units: list[int], pieces: Sequence[Piece], templates: Sequence[Template]
) -> list[int]:
    """Join templates that differ by a value, unless what is asked with the two is not alike."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    families: defaultdict[int, list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        template = pieces[number].template
        if template is not None and pieces[number].known is None:
            members[unit].append(number)
            if unit not in families[templates[template].family]:
                families[templates[template].family].append(unit)
    parent = {unit: unit for unit in members}
    within = {unit: _mean_within(likeness, of) for unit, of in members.items()}
    rows = {unit: sum(len(pieces[number].rows) for number in of) for unit, of in members.items()}
    for one, two in (pair for family in families.values() for pair in combinations(family, 2)):
        between = float(likeness[np.ix_(members[one], members[two])].mean())
        is_small = min(rows[one], rows[two]) < _VARIANT_ROWS
        if is_small or between >= min(within[one], within[two]) - _VARIANT_SLACK:
            first, second = _root(parent, one), _root(parent, two)
            parent[max(first, second)] = min(first, second)
    return [_root(parent, unit) if unit in parent else unit for unit in units]


def _root(parent: dict[int, int], unit: int) -> int:
    while parent[unit] != unit:
        unit = parent[unit]
    return unit


def _mean_within(likeness: Matrix, members: list[int]) -> float:
    """How alike the pieces of one group are among themselves."""
    if len(members) < 2:
        return ALIKE
    inside = likeness[np.ix_(members, members)]
    return float((inside.sum() - np.trace(inside)) / (len(members) * (len(members) - 1)))


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
        allowed = means >= np.maximum(ALIKE, np.minimum(within[:, None], within[None]) - _LOOSER)
        best = int(np.where(allowed, means, _NEVER).argmax())
        one, two = sorted(divmod(best, len(names)))
        if not allowed[one, two]:
            break
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
