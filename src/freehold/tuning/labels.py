"""Probabilities of a closed set of labels, by walking the tree of their tokens.

At each fork the model chooses among the tokens that some label continues with; between forks there is no choice, and
nothing to compute. A label's probability is the product of its choices: exactly what a server draws from whose
answers are held to the labels by a grammar. The prompt is read once for all labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from freehold.tuning.packing import Memory, Packing, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from freehold.tuning.decoder import Decoder

NEGLIGIBLE = 1e-5
"""A branch that is less probable is not entered; its labels share its probability equally."""


class LabelTree:
    """Labels as a tree of tokens. Node 0 is the prompt's end; a leaf is a label with its end-of-turn token."""

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        """Build the tree of these token sequences, none of which begins another."""
        self.token, self.parent, self.depth = [-1], [-1], [0]
        self.children: list[list[int]] = [[]]
        self.label: dict[int, int] = {}
        """Leaf -> index of its label."""
        for label, answer in enumerate(answers):
            node = 0
            for token in answer:
                node = self._child(node, token)
            self.label[node] = label
        self.labels_below: list[list[int]] = [[] for _ in self.token]
        for leaf, label in self.label.items():
            for node in (0, *self.path(leaf)):
                self.labels_below[node].append(label)

    def _child(self, node: int, token: int) -> int:
        for child in self.children[node]:
            if self.token[child] == token:
                return child
        child = len(self.token)
        self.token.append(token)
        self.parent.append(node)
        self.depth.append(self.depth[node] + 1)
        self.children.append([])
        self.children[node].append(child)
        return child

    def fork(self, node: int) -> int | None:
        """The next fork at or below a node; None when only one label is left."""
        while len(self.children[node]) == 1:
            node = self.children[node][0]
        return node if self.children[node] else None

    def path(self, node: int) -> list[int]:
        """The node and its ancestors up to node 0, which is left out."""
        nodes = []
        while node:
            nodes.append(node)
            node = self.parent[node]
        return nodes


@dataclass(slots=True)
class _Row:
    """How far one conversation has come."""

    length: int
    """Tokens of the prompt, the shared ones included."""
    probabilities: list[float]
    """Of each label, as far as it is settled."""
    branches: dict[int, float]
    """Forks to be entered -> probability of coming there."""
    columns: dict[int, int] = field(default_factory=dict)
    """Nodes that were read -> column in the memory."""

    def enter(self, tree: LabelTree, fork: int, choices: Sequence[float]) -> None:
        """Spread the probability of a fork over its children, in their order."""
        mass = self.branches.pop(fork)
        for child, choice in zip(tree.children[fork], choices, strict=True):
            deeper = tree.fork(child)
            if deeper is None or mass * choice < NEGLIGIBLE:
                labels = tree.labels_below[child]
                for label in labels:
                    self.probabilities[label] = mass * choice / len(labels)
            else:
                self.branches[deeper] = mass * choice

    def unread(self, tree: LabelTree) -> list[int]:
        """Nodes on the way to the open forks that were not read yet, ancestors first."""
        nodes = {node for fork in self.branches for node in tree.path(fork) if node not in self.columns}
        return sorted(nodes)


def label_probabilities(
    decoder: Decoder, tree: LabelTree, prompts: Sequence[Sequence[int]], shared: int
) -> list[list[float]]:
    """Probability of each label as the answer to each prompt; they sum to 1.

    All prompts begin with the same `shared` tokens.
    """
    memory = Memory()
    root = tree.fork(0)
    if root is None:
        return [[1.0] for _ in prompts]
    rows = [_Row(len(prompt), [0.0] * len(tree.label), {root: 1.0}) for prompt in prompts]
    packing = pack(shared, [row.length - shared for row in rows])
    tokens = [*prompts[0][:shared], *(token for prompt in prompts for token in prompt[shared:])]
    states = decoder.run(decoder.embed(torch.tensor([tokens])), packing, memory=memory)[0]
    ends = torch.tensor([row.length - shared for row in rows]).cumsum(0) + shared - 1
    if root == 0:
        _choose(decoder, tree, [(row, 0) for row in rows], states[ends])
    columns = packing.mask.shape[-1]
    while any(frontier := [row.unread(tree) for row in rows]):
        packing = _tree_packing(tree, rows, frontier, columns)
        columns = packing.mask.shape[-1]
        read = [(row, node) for row, nodes in zip(rows, frontier, strict=True) for node in nodes]
        tokens = [tree.token[node] for _, node in read]
        states = decoder.run(decoder.embed(torch.tensor([tokens])), packing, memory=memory)[0]
        forks = [place for place, (row, node) in enumerate(read) if node in row.branches]
        _choose(decoder, tree, [read[place] for place in forks], states[forks])
    return [row.probabilities for row in rows]


def _choose(decoder: Decoder, tree: LabelTree, forks: Sequence[tuple[_Row, int]], states: Tensor) -> None:
    """Let the model choose at each fork, given the states there, [forks, width]."""
    vocabulary = sorted({tree.token[child] for _, fork in forks for child in tree.children[fork]})
    place = {token: index for index, token in enumerate(vocabulary)}
    logits = decoder.logits(states, torch.tensor(vocabulary)).double()
    for (row, fork), scores in zip(forks, logits, strict=True):
        choices = scores[[place[tree.token[child]] for child in tree.children[fork]]].softmax(-1)
        row.enter(tree, fork, choices.tolist())


def _tree_packing(tree: LabelTree, rows: Sequence[_Row], frontier: Sequence[Sequence[int]], used: int) -> Packing:
    """A pass over tree nodes: each looks at its prompt and its ancestors. Columns from `used` on are taken."""
    width = max(len(nodes) for nodes in frontier)
    mask = torch.full((len(rows), 1, width, used + width), -math.inf)
    cells, positions, columns = [], [], []
    for index, (row, nodes) in enumerate(zip(rows, frontier, strict=True)):
        mask[index, 0, :, : row.length] = 0
        for place, node in enumerate(nodes):
            row.columns[node] = used + place
            cells.append(index * width + place)
            positions.append(row.length + tree.depth[node] - 1)
            columns.append(used + place)
            mask[index, 0, place, [row.columns[above] for above in tree.path(node)]] = 0
    return Packing(0, len(rows), width, torch.tensor(cells), torch.tensor([positions]), mask, torch.tensor(columns))
