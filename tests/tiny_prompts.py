"""Small language models of both kinds with their tokenizers, and the words by which they name the classes."""

from pathlib import Path

import tiny_bert
import tiny_tokenizers

from minigrad.finetune import Template, Verbalizer
from minigrad.pretrained import AutoTokenizer, BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

WORDS = {"cooking": ["oven"], "music": ["chord", "drum"], "sailing": ["mast"]}
VERBALIZER, TEMPLATE = Verbalizer(WORDS), Template("{text} is of {mask}")


def bert(directory: Path, longest: int = 32):
    """A masked language model, with tiny_bert's words."""
    tiny_bert.save_model(directory)
    config = BertConfig(
        vocab_size=25,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=longest,
        initializer_range=0.5,
    )
    return BertForMaskedLM(config, rng=0).eval(), AutoTokenizer.from_pretrained(directory)


def gpt2(directory: Path, longest: int = 200):
    """A causal language model; ' world', ' hello' and every letter is a token."""
    tiny_tokenizers.byte_pairs(directory, "gpt2", model_max_length=longest)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=longest,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.5,
    )
    return GPT2LMHeadModel(config, rng=0).eval(), tokenizer
