"""TRL's SFTTrainer as it comes, on the same random base, lengths and adapter as benchmarks/tuning_gpu.py."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path

import torch
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import BitsAndBytesConfig, PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

from datasets import Dataset

WARM_UP = 3
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Stopwatch(TrainerCallback):
    """Seconds of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        """Note the time when the device has finished."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def main() -> None:
    """Train some steps and print their pace and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--method", choices=["lora", "qlora"], default="lora")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--answers", type=int, default=256)
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    words = json.loads((options.base / "config.json").read_text())["vocab_size"]
    made = random.Random(0)
    rows = []
    for _ in range(options.micro_batch * options.steps):
        line = [made.randrange(words) for _ in range(options.tokens)]
        prompt = options.tokens - options.answers
        rows.append({"input_ids": line, "completion_mask": [0] * prompt + [1] * options.answers})
    packed = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    config = SFTConfig(
        output_dir=str(options.base.parent / "trl"),
        per_device_train_batch_size=options.micro_batch,
        max_steps=options.steps,
        max_length=options.tokens,
        bf16=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs={
            "dtype": "bfloat16",
            **({"quantization_config": packed} if options.method == "qlora" else {}),
        },
    )
    watch = Stopwatch()
    trainer = SFTTrainer(
        model=str(options.base),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=_no_words(words),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=LINEAR, task_type="CAUSAL_LM"),
        callbacks=[watch],
    )
    trainer.train()
    seconds = statistics.median(
        [after - before for before, after in zip(watch.ends, watch.ends[1:], strict=False)][WARM_UP - 1 :]
    )
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    print(
        json.dumps(
            {
                "who": "TRL",
                "method": options.method,
                "seconds_per_step": seconds,
                "tokens_per_s": options.micro_batch * options.tokens / seconds,
                "peak_gib": peak,
            }
        )
    )


def _no_words(count: int) -> PreTrainedTokenizerFast:
    """A tokenizer that is asked for nothing: the rows are token ids."""
    words = {f"w{number}": number for number in range(count)}
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106 -- a word
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="w1", pad_token="w2")  # noqa: S106 -- words


if __name__ == "__main__":
    main()
