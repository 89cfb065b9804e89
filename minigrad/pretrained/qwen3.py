"""Qwen3 (Yang et al. 2025): LLaMA that normalises each head's queries and keys before it rotates them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..nn import RMSNorm
from .llama import Attention, LlamaForCausalLM, LlamaForSequenceClassification, LlamaModel
from .qwen2 import Qwen2Config


@dataclass
class Qwen3Config(Qwen2Config):
    """Qwen3's sizes and switches; a head's size is given, and need not be hidden_size / num_attention_heads."""

    model_type = "qwen3"
    head_dim: int | None = 128


class Qwen3Attention(Attention):
    """LLaMA's attention with queries and keys normalised per head."""

    def __init__(self, c: Qwen3Config, rng: np.random.Generator):
        super().__init__(c, rng)
        self.q_norm, self.k_norm = (RMSNorm(c.size_of_head, c.rms_norm_eps) for _ in range(2))


class Qwen3Model(LlamaModel):
    """Token ids in, a vector for each token out."""

    config_class, attention_class = Qwen3Config, Qwen3Attention


class Qwen3ForCausalLM(LlamaForCausalLM):
    """Qwen3 that scores, for each token, the next one; it writes with `generate`."""

    config_class, decoder_class = Qwen3Config, Qwen3Model


class Qwen3ForSequenceClassification(LlamaForSequenceClassification):
    """Qwen3 with a linear layer on the last token of each text that scores `config.num_labels` classes."""

    config_class, decoder_class = Qwen3Config, Qwen3Model
