from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from freehold.tuning.decoder import Decoder
from freehold.tuning.packing import Memory, pack
from freehold.tuning.tokens import shared_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from freehold.tuning.bases import BaseModel


@pytest.fixture(scope="module")
def decoder(base: BaseModel) -> Decoder:
    return Decoder(base.folder)


@pytest.fixture(scope="module")
def plain(base: BaseModel) -> Callable[[Sequence[int]], Tensor]:
    """Logits of one sequence by transformers' own way."""
    model = AutoModelForCausalLM.from_pretrained(base.folder).eval()

    def logits(tokens: Sequence[int]) -> Tensor:
        with torch.inference_mode():
            found: Tensor = model(torch.tensor([tokens])).logits[0]
        return found

    return logits


tokens = st.lists(st.integers(3, 400), min_size=1, max_size=9)


@settings(max_examples=25, deadline=None)
@given(prefix=st.lists(st.integers(3, 400), max_size=6), rows=st.lists(tokens, min_size=1, max_size=4))
def test_a_packed_pass_gives_the_logits_of_separate_passes(
    decoder: Decoder, plain: Callable[[Sequence[int]], Tensor], prefix: list[int], rows: list[list[int]]
) -> None:
    packing = pack(len(prefix), [len(row) for row in rows])
    line = torch.tensor([[*prefix, *(token for row in rows for token in row)]])
    with torch.inference_mode():
        found = decoder.logits(decoder.run(decoder.embed(line), packing)[0])
    begin = len(prefix)
    for row in rows:
        expected = plain([*prefix, *row])
        torch.testing.assert_close(found[begin : begin + len(row)], expected[len(prefix) :], atol=1e-4, rtol=1e-4)
        begin += len(row)
    torch.testing.assert_close(found[: len(prefix)], plain([*prefix, *rows[0]])[: len(prefix)], atol=1e-4, rtol=1e-4)


def test_a_pass_that_continues_a_memory_sees_what_was_read_before(
    decoder: Decoder, plain: Callable[[Sequence[int]], Tensor]
) -> None:
    whole = [5, 6, 7, 8, 9, 10, 11]
    memory = Memory()
    with torch.inference_mode():
        decoder.run(decoder.embed(torch.tensor([whole[:4]])), pack(0, [4]), memory=memory)
        continued = pack(4, [3])
        continued.columns.copy_(torch.tensor([4, 5, 6]))
        rest = type(continued)(
            prefix=0,
            rows=1,
            width=3,
            cells=continued.cells,
            positions=continued.columns[None],
            mask=continued.mask,
            columns=continued.columns,
        )
        found = decoder.logits(decoder.run(decoder.embed(torch.tensor([whole[4:]])), rest, memory=memory)[0])
    torch.testing.assert_close(found, plain(whole)[4:], atol=1e-4, rtol=1e-4)


def test_gradients_through_a_shared_prefix_are_the_sum_over_its_rows(decoder: Decoder) -> None:
    prefix, rows = [9, 8, 7], [[3, 4], [5, 6, 7]]

    def gradient(line: list[int], prefix_tokens: int, lengths: list[int], own: list[int]) -> Tensor:
        states = decoder.embed(torch.tensor([line])).detach().requires_grad_()
        out = decoder.run(states, pack(prefix_tokens, lengths))[0]
        out[own].sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        assert states.grad is not None
        return states.grad[0]

    together = gradient([*prefix, *rows[0], *rows[1]], 3, [2, 3], [3, 4, 5, 6, 7])
    apart = [gradient([*prefix, *row], 0, [3 + len(row)], list(range(3, 3 + len(row)))) for row in rows]
    torch.testing.assert_close(together[:3], apart[0][:3] + apart[1][:3], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together[5:], apart[1][3:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([(1, 2, 3), (1, 2, 4)], 2),
        ([(1, 2), (1, 2, 4)], 1),  # one token of each row stays its own: its state predicts the answer
        ([(1, 2, 3), (1, 2, 3)], 2),
        ([(1,), (2,)], 0),
        ([(5, 2), (6, 2)], 0),
    ],
)
def test_the_shared_prefix_is_what_all_prompts_begin_with(prompts: list[tuple[int, ...]], expected: int) -> None:
    assert shared_prefix(prompts) == expected
