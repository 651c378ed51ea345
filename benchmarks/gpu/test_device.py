"""What a device computes against the processor: run by benchmarks/gpu/run.sh; without a GPU there is nothing to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from freehold.tuning.decoder import Decoder
from freehold.tuning.packing import pack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("prefix", [0, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_rows_have_the_logits_of_the_processor(tmp_path: Path, prefix: int, dtype: torch.dtype) -> None:
    """Forwards and backwards, with rows that share words and rows that do not."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    lengths = [40, 17, 90]
    line = torch.randint(512, (1, prefix + sum(lengths)))
    found = []
    for device, kind in ((torch.device("cpu"), torch.float32), (torch.device("cuda"), dtype)):
        decoder = Decoder(tmp_path, device=device, dtype=kind)
        packing = pack(prefix, lengths, device=device)
        states = decoder.embed(line.to(device)).requires_grad_()
        logits = decoder.logits(decoder.run(states, packing)[0]).float()
        logits.square().mean().backward()
        found.append((logits.detach().cpu(), states.grad.float().cpu()))
    tolerance = 1e-3 if dtype == torch.float32 else 5e-2
    for mine, theirs in zip(*found, strict=True):
        scale = mine.abs().max()
        assert (mine - theirs).abs().max() < tolerance * scale
