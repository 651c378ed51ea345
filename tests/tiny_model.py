"""A Llama of some 180,000 random weights with a real tokenizer: quick enough for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from pathlib import Path

END_OF_TEXT, TURN_BEGINS, TURN_ENDS = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VOCABULARY = 448
LINES = (
    "My card was swallowed by the machine at Harbour Street and I need a new one.",
    "The transfer of 120 euros to my sister has not arrived yet, what is going on?",
    "Name the topic of the customer's message.",
    "card_lost card_swallowed transfer_pending transfer_failed refund_missing exchange_rate top_up_failed",
    '{"amount": 12.5, "currency": "EUR", "merchant": "Cafe Luna", "date": "2026-03-14", "wants": "refund"}',
    "I was charged twice for the same coffee, please give me my money back.",
    "Hallo, meine Karte geht nicht mehr. Können Sie mir bitte helfen?",
    "You are a helpful assistant. system user assistant",
)
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' -}}"
    "{%- endif -%}"
    "{%- for turn in messages -%}"
    "{{- '<|im_start|>' + turn['role'] + '\n' + turn['content'] + '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def make_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Save a random model with its tokenizer as a Hugging Face folder, and return the folder.

    4 layers of 64 channels, 4 heads over 2 key-value heads, tied embeddings. The tokenizer is byte-level BPE
    with merges, cut like SmolLM2's (`smollm` in llama.cpp's words), and the template is ChatML.
    """
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_train_tokenizer(),
        bos_token=TURN_BEGINS,
        eos_token=TURN_ENDS,
        pad_token=TURN_ENDS,
        unk_token=END_OF_TEXT,
        model_max_length=512,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids(TURN_BEGINS),
        eos_token_id=tokenizer.convert_tokens_to_ids(TURN_ENDS),
        pad_token_id=tokenizer.convert_tokens_to_ids(TURN_ENDS),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def _train_tokenizer() -> Tokenizer:
    """Merges learned from the built-in lines; the vocabulary is filled up to its full size."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT, TURN_BEGINS, TURN_ENDS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer
