"""A forward pass without padding: the words that all rows begin with are computed once, the rest end to end.

Every prompt of a task starts alike (the template's first turn and the task's own prompt). In a causal model the
states of such a prefix do not depend on what follows, so one copy serves all rows of a batch, exactly. The tokens
of the rows follow it in one long line, and only attention looks at them row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

ATTENTION = "freehold_packed"
"""Name under which the attention below is known to transformers."""
GROWTH = 32
"""Columns by which a memory grows beyond what it needs at once."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Where each token of a batch stands. `prefix` tokens come first, then those of row 0, row 1, ..."""

    prefix: int
    """Tokens that all rows share and that are part of this pass."""
    rows: int
    width: int
    """Own tokens of the longest row in this pass."""
    cells: Tensor
    """[own tokens]: place of each in the padded grid of rows x width."""
    positions: Tensor
    """[1, prefix + own tokens]: rotary positions."""
    mask: Tensor
    """[rows or 1, 1, width, columns], added to the scores: 0 where a token may look, -inf elsewhere."""
    columns: Tensor
    """[own tokens]: column of each in a `Memory`; unused without one."""
    kernel: Literal["products", "fused"] = "products"
    """Three plain products, or the device's fused attention, which needs no mask where rows are causal."""


def pack(prefix: int, lengths: Sequence[int], *, device: torch.device | None = None) -> Packing:
    """The packing of rows that have `lengths` tokens of their own after a shared prefix."""
    rows, width = len(lengths), max(lengths)
    size = torch.tensor(lengths)
    step = torch.arange(width)
    own = step[None, :] < size[:, None]  # [rows, width]
    cells = own.flatten().nonzero().flatten()
    columns = prefix + step.expand(rows, width).reshape(-1)[cells]
    positions = torch.cat([torch.arange(prefix), columns])[None]
    if device is not None and device.type != "cpu":
        no_mask = torch.empty(0, device=device)
        cells, positions, columns = (tensor.to(device, non_blocking=True) for tensor in (cells, positions, columns))
        return Packing(prefix, rows, width, cells, positions, no_mask, columns, kernel="fused")
    mask = torch.cat([torch.zeros(width, prefix), _causal(width)], dim=1)[None, None]
    # A padded cell looks like any other: its keys stand to the right of all real tokens of its row.
    return Packing(prefix, rows, width, cells, positions, mask, columns)


class Memory:
    """Keys and values of what a batch has read so far, for passes that continue it."""

    def __init__(self) -> None:
        """Nothing has been read."""
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, key: Tensor, value: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
        """Store the keys and values of one pass, [1, heads, tokens, depth]; return all that the pass may see."""
        seen = packing.mask.shape[-1]
        stores = self._layers.get(layer)
        if stores is None or stores[0].shape[2] < seen:
            stores = self._layers[layer] = _grown(stores, key, packing.rows, seen + GROWTH)
        row = packing.cells // packing.width
        for store, new in zip(stores, (key, value), strict=True):
            if packing.prefix:
                store[:, :, : packing.prefix] = new[:, :, : packing.prefix]
            store[row, :, packing.columns] = new[0, :, packing.prefix :].transpose(0, 1)
        return stores[0][:, :, :seen], stores[1][:, :, :seen]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self._layers = {layer: (key[rows], value[rows]) for layer, (key, value) in self._layers.items()}


def _grown(stores: tuple[Tensor, Tensor] | None, key: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Stores with room for more columns, and what the old ones held."""
    pair = tuple(key.new_zeros(rows, key.shape[1], columns, key.shape[3]) for _ in range(2))
    for new, old in zip(pair, stores or (), strict=False):
        new[:, :, : old.shape[2]] = old
    return pair[0], pair[1]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    packing: Packing,
    memory: Memory | None = None,
    sliding_window: int | None = None,
    **_: Any,  # Any: what other attentions of transformers take
) -> tuple[Tensor, None]:
    """Attention of one packed pass, in the form that transformers calls.

    [1, heads, tokens, depth] -> [1, tokens, heads, depth]. A `sliding_window` narrows passes without a memory; with
    one, whoever reads keeps within the window.
    """
    shared = packing.prefix
    parts = []
    if shared:
        first = tuple(tensor[:, :, :shared] for tensor in (query, key, value))
        begin = _causally(first[0], first[1], first[2], scaling, packing, sliding_window, None)
        parts.append(begin.transpose(1, 2)[0])
    queries = _to_grid(query, packing)
    if memory is None:
        keys, values = (_behind_prefix(tensor, packing) for tensor in (key, value))
        grid = _causally(queries, keys, values, scaling, packing, sliding_window, packing.mask)
    else:
        keys, values = memory.extend(cast("int", module.layer_idx), key, value, packing)
        grid = _attend(queries, keys, values, packing.mask, scaling)  # [rows, heads, width, depth]
    parts.append(grid.transpose(1, 2).flatten(0, 1)[packing.cells])
    return torch.cat(parts)[None], None


def _causally(  # noqa: PLR0917 -- as attention is written everywhere
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float,
    packing: Packing,
    window: int | None,
    mask: Tensor | None,
) -> Tensor:
    """Attention of the last tokens of each row to all of them, none to its right; [rows, heads, width, depth].

    `mask` is the causal one if it is at hand already.
    """
    width, seen = query.shape[2], key.shape[2]
    slides = window is not None and seen > window
    if packing.kernel == "fused":
        kind = query.device.type
        if torch.is_autocast_enabled(kind):  # rotated queries and keys come in float32, values do not
            query, key, value = (tensor.to(torch.get_autocast_dtype(kind)) for tensor in (query, key, value))
        fused = functional.scaled_dot_product_attention
        if slides:
            near = _causal(width, seen, window, query)
            return fused(query, key, value, attn_mask=near, scale=scaling, enable_gqa=True)
        if width == seen:
            return fused(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
        corner = cast("Tensor", causal_lower_right(width, seen))
        return fused(query, key, value, attn_mask=corner, scale=scaling, enable_gqa=True)
    if slides or mask is None:
        mask = _causal(width, seen, window if slides else None)[None, None]
    return _attend(query, key, value, mask, scaling)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """Scaled dot-product attention, [rows, heads, width, depth].

    The heads of one key-value group stand in one line as further queries, so no key is copied for them. At the
    lengths of short tasks three plain products are faster than torch's fused kernel, most of all in bfloat16.
    """
    rows, heads = key.shape[:2]
    groups = query.shape[1] // heads
    lined = query.reshape(rows * heads, -1, query.shape[3])  # [rows * key-value heads, groups * width, depth]
    bias = mask[:, 0].repeat(1, groups, 1)
    if len(bias) > 1:
        bias = bias.repeat_interleave(heads, dim=0)
    scores = torch.baddbmm(bias, lined, key.flatten(0, 1).transpose(1, 2), alpha=scaling)
    out = torch.bmm(scores.softmax(-1), value.flatten(0, 1))
    return out.reshape(query.shape)


def _causal(width: int, seen: int | None = None, window: int | None = None, like: Tensor | None = None) -> Tensor:
    """[width, seen]: 0 where one of the last `width` tokens may look, -inf to its right and behind its window."""
    seen = width if seen is None else seen
    mask = torch.zeros(width, seen) if like is None else like.new_zeros(width, seen)
    far = torch.ones(width, seen, dtype=torch.bool, device=mask.device)
    forbidden = far.triu(1 + seen - width)
    if window is not None:
        forbidden |= far.tril(seen - width - window)
    return mask.masked_fill_(forbidden, float("-inf"))


def _to_grid(tensor: Tensor, packing: Packing) -> Tensor:
    """Own tokens of [1, heads, tokens, depth] -> [rows, heads, width, depth], zeros where a row is shorter."""
    own = tensor[0, :, packing.prefix :].transpose(0, 1)  # [own tokens, heads, depth]
    if len(own) == packing.rows * packing.width:
        grid = own.contiguous()
    else:
        grid = own.new_zeros(packing.rows * packing.width, *own.shape[1:]).index_copy(0, packing.cells, own)
    return grid.view(packing.rows, packing.width, *own.shape[1:]).transpose(1, 2)


def _behind_prefix(tensor: Tensor, packing: Packing) -> Tensor:
    """The same for keys or values, with the prefix in front of every row."""
    begin = tensor[:, :, : packing.prefix].expand(packing.rows, -1, -1, -1)
    return torch.cat([begin, _to_grid(tensor, packing)], dim=2)


AttentionInterface.register(ATTENTION, packed_attention)
