"""Our loop on one accelerator: model FLOPs utilisation, and peak memory against the plan, at random weights.

Speed and memory do not depend on what the weights are, so a shape is enough and no checkpoint is needed. Rows have all
the same length and share no prefix; a micro-batch of them is one packed line. What is counted, per token: 2 FLOPs for
each weight of a linear layer of the blocks going forwards, as many for the gradient of its input, as many again for its
own if it learns; attention over half of the sequence, three times; the head at answer tokens alone. Anything computed a
second time (gradient checkpointing, pieces of logits, unpacking of 4 bits) and the adapter's own products count for
nothing. Results are the median of the steps after the first three.

    .venv/bin/python benchmarks/tuning_gpu.py --shape llama-3.1-8b --method lora
    .venv/bin/python benchmarks/tuning_gpu.py --shape llama-3.1-8b --method qlora --gradient-checkpointing
    .venv/bin/python benchmarks/tuning_gpu.py --shape tiny --method lora --tokens 128 --peak-tflops 0.05   # a processor
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from freehold.core.progress import Silent
from freehold.tuning.answers import AnswerLosses
from freehold.tuning.decoder import Decoder
from freehold.tuning.loop import fit
from freehold.tuning.lora import PREFIX, add_adapter, learning_weights
from freehold.tuning.metrics import read_metrics
from freehold.tuning.objective import Answers
from freehold.tuning.place import shared, taken_place, weights_dtype
from freehold.tuning.plan_inputs import base_facts, gpu, local_gpu
from freehold.tuning.plan_memory import Load, plan_memory
from freehold.tuning.recipe import load_recipe
from freehold.tuning.source import TokenRows
from freehold.tuning.tokens import Encoded
from freehold.tuning.train import resolve

if TYPE_CHECKING:
    from freehold.tuning.recipe import Recipe

WARM_UP = 3
SHAPES = {
    "llama-3.1-8b": {
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
    },
    "llama-1b": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
    },
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
    },
}


@dataclass(frozen=True, slots=True)
class Flops:
    """What one row asks of the model, recomputation apart."""

    blocks: float
    attention: float
    head: float

    @property
    def total(self) -> float:
        """All parts."""
        return self.blocks + self.attention + self.head


def row_flops(shape: dict[str, int], *, tokens: int, answers: int, learns_all: bool) -> Flops:
    """Model FLOPs of one row of `tokens` computed tokens, forwards and backwards."""
    width, heads = shape["hidden_size"], shape["num_attention_heads"]
    depth = width // heads
    key_value = shape["num_key_value_heads"] * depth
    linear = 2 * width * width + 2 * width * key_value + 3 * width * shape["intermediate_size"]
    passes = 3 if learns_all else 2  # forwards, gradient of the input, and of the weight where it learns
    # scores and their product with the values: 2 FLOPs each per head's channel and visible token, half being visible
    attention = 2 * 2 * width * (tokens + 1) / 2
    return Flops(
        blocks=passes * 2.0 * linear * shape["num_hidden_layers"] * tokens,
        attention=3.0 * attention * shape["num_hidden_layers"] * tokens,
        head=passes * 2.0 * width * shape["vocab_size"] * answers,
    )


def random_base(name: str, folder: Path) -> Path:
    """A model of that shape with random weights, in bfloat16, as a Hugging Face folder; made once."""
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(
                LlamaConfig(**SHAPES[name], tie_word_embeddings=False), dtype=torch.bfloat16
            )
        model.save_pretrained(folder)
        del model
        if device == "cuda":
            torch.cuda.empty_cache()
    return folder


def random_rows(shape: dict[str, int], *, count: int, tokens: int, answers: int) -> list[Encoded]:
    """Rows of which `tokens` are computed: the last answer token predicts nothing."""
    made = random.Random(0)
    rows = []
    for _ in range(count):
        line = tuple(made.randrange(shape["vocab_size"]) for _ in range(tokens + 1))
        rows.append(Encoded(line[: tokens + 1 - answers], line[tokens + 1 - answers :]))
    return rows


def measure(recipe: Recipe, base: Path, rows: list[Encoded], run_folder: Path) -> tuple[list[float], int, float]:
    """Seconds of each step, peak bytes of the device, and the last loss, by the loop that `freehold tune` runs."""
    shutil.rmtree(run_folder, ignore_errors=True)
    run_folder.mkdir(parents=True)
    with taken_place(recipe) as place:
        decoder = Decoder(
            base,
            device=place.device,
            dtype=weights_dtype(recipe, place.device),
            quantization=recipe.quantization if recipe.weights == "qlora" else None,
        )
        decoder.recomputes = recipe.training.gradient_checkpointing
        if recipe.weights == "full":
            decoder.let_all_learn()
        else:
            add_adapter(decoder, recipe.lora, hub_id="random", revision=None, seed=0)
        if place.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(place.device)
        source = TokenRows(rows, first_layer=0, device=place.device)
        module = shared(AnswerLosses(decoder), decoder, recipe, place)
        record, _ = fit(
            module=module,
            weights=learning_weights(decoder, prefix="" if recipe.weights == "full" else PREFIX),
            objective=Answers(source, rows),
            train_cases=range(len(rows)),
            validation_cases=range(0),
            recipe=recipe,
            place=place,
            guessing=1e9,  # random weights say nothing about divergence
            fingerprint="benchmark",
            run_folder=run_folder,
            progress=Silent(),
            started=(time.perf_counter(), time.process_time()),
        )
    seconds = [line["seconds"] for line in read_metrics(run_folder)]
    steps = [after - before for before, after in pairwise([0.0, *seconds])]
    return steps, record.peak_memory_bytes, record.losses[-1]


def main() -> None:
    """Measure one configuration, print it, append it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="llama-3.1-8b")
    parser.add_argument("--method", choices=["lora", "qlora", "full"], default="lora")
    parser.add_argument("--tokens", type=int, default=2048, help="computed tokens of a row")
    parser.add_argument("--answers", type=int, default=256, help="answer tokens of a row")
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--accumulate", type=int, default=1, help="micro-batches of a step")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--peak-tflops", type=float, help="dense bfloat16 peak; default: the shipped table's")
    parser.add_argument("--out", type=Path, default=Path("build") / "tuning_gpu")
    options = parser.parse_args()
    if options.steps <= WARM_UP:
        sys.exit(f"--steps is {options.steps}; the first {WARM_UP} are not counted, so it must be more.")
    shape = SHAPES[options.shape]
    base = random_base(options.shape, options.out / "bases" / options.shape)
    batch = options.micro_batch * options.accumulate
    recipe = resolve(
        load_recipe(
            "smollm2-135m-cpu",
            [
                f"base={base}",
                f"method={options.method}",
                "lora.upper_layers=null",
                "devices.type=auto",
                "training.epochs=1",
                f"training.batch_size={batch}",
                f"training.micro_batch_size={options.micro_batch}",
                f"training.max_tokens={options.tokens + 1}",
                f"training.gradient_checkpointing={str(options.gradient_checkpointing).lower()}",
                "training.checkpoint_steps=1000000",
                "training.learning_rate=0.00001",
            ],
        )
    )
    rows = random_rows(shape, count=batch * options.steps, tokens=options.tokens, answers=options.answers)
    steps, peak_bytes, loss = measure(recipe, base, rows, options.out / "run")
    seconds = statistics.median(steps[WARM_UP:])
    flops = row_flops(shape, tokens=options.tokens, answers=options.answers, learns_all=options.method == "full").total
    device = local_gpu() if recipe.devices.type == "cuda" else None
    table = gpu(device).hardware if device else None
    peak_tflops = options.peak_tflops or (table.tflops["bf16"] if table else None)
    load = Load(
        tokens=options.micro_batch * options.tokens,
        sequence_tokens=options.tokens,
        answer_tokens=options.micro_batch * options.answers,
    )
    memory, _ = plan_memory(recipe, base_facts(str(base)), load, on_gpu=recipe.devices.type == "cuda")
    forecast = memory.total / 2**30
    result = {
        "shape": options.shape,
        "method": options.method,
        "device": device or recipe.devices.type,
        "precision": recipe.precision,
        "tokens": options.tokens,
        "answers": options.answers,
        "micro_batch": options.micro_batch,
        "accumulate": options.accumulate,
        "gradient_checkpointing": options.gradient_checkpointing,
        "seconds_per_step": seconds,
        "tokens_per_s": batch * options.tokens / seconds,
        "model_tflops_per_s": batch * flops / seconds / 1e12,
        "mfu": None if peak_tflops is None else batch * flops / seconds / 1e12 / peak_tflops,
        "peak_gib": peak_bytes / 2**30,
        "forecast_gib": forecast,
        "peak_of_forecast": peak_bytes / 2**30 / forecast,
        "loss": loss,
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))
    with (options.out / "results.jsonl").open("a") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
