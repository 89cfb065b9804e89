"""Qwen2 (Yang et al. 2024): LLaMA whose queries, keys and values have biases."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .llama import Attention, LlamaConfig, LlamaForCausalLM, LlamaModel


@dataclass
class Qwen2Config(LlamaConfig):
    """Qwen2's sizes and switches; nothing in config.json tells of the biases."""
    model_type = "qwen2"
    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32768
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.rest.get("use_sliding_window"):
            raise ValueError("use_sliding_window is not supported: every token sees all before it; load the model with "
                             "use_sliding_window=False if its texts are shorter than the window")


class Qwen2Attention(Attention):
    def __init__(self, c: Qwen2Config, rng: np.random.Generator):
        super().__init__(c, rng, qkv_bias=True)


class Qwen2Model(LlamaModel):
    """Token ids in, a vector for each token out."""
    config_class, attention_class = Qwen2Config, Qwen2Attention


class Qwen2ForCausalLM(LlamaForCausalLM):
    """Qwen2 that scores, for each token, what comes next; it writes with `generate`."""
    config_class, decoder_class = Qwen2Config, Qwen2Model
