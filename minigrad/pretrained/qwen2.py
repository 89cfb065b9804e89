"""Qwen2 (Yang et al. 2024): LLaMA whose queries, keys and values have biases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .llama import Attention, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, LlamaModel


@dataclass
class Qwen2Config(LlamaConfig):
    """Qwen2's sizes and switches; config.json does not mention the biases."""

    model_type = "qwen2"
    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32768
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    use_sliding_window: bool = False
    sliding_window: int | None = 4096  # ignored unless use_sliding_window
    max_window_layers: int = 28  # the first layers, which attend to all tokens
    layer_types: list[str] | None = None  # "full_attention" or "sliding_attention" for each layer

    def __post_init__(self):
        super().__post_init__()
        kinds = ("full_attention", "sliding_attention")
        if self.layer_types is not None and (
            len(self.layer_types) != self.num_hidden_layers or {*self.layer_types} - {*kinds}
        ):
            raise ValueError(
                f"layer_types {self.layer_types} must be one of {' and '.join(map(repr, kinds))} for each "
                f"of the {self.num_hidden_layers} layers"
            )

    @property
    def windows(self) -> list[int | None]:
        window = self.sliding_window if self.use_sliding_window else None
        types = self.layer_types or [
            "full_attention" if i < self.max_window_layers else "sliding_attention"
            for i in range(self.num_hidden_layers)
        ]
        return [window if kind == "sliding_attention" else None for kind in types]


class Qwen2Attention(Attention):
    """LLaMA's attention with biases on query, key and value."""

    def __init__(self, c: Qwen2Config, rng: np.random.Generator):
        super().__init__(c, rng, qkv_bias=True)


class Qwen2Model(LlamaModel):
    """Token ids in, a vector for each token out."""

    config_class, attention_class = Qwen2Config, Qwen2Attention


class Qwen2ForCausalLM(LlamaForCausalLM):
    """Qwen2 that scores, for each token, the next one; it writes with `generate`."""

    config_class, decoder_class = Qwen2Config, Qwen2Model


class Qwen2ForSequenceClassification(LlamaForSequenceClassification):
    """Qwen2 with a linear layer on the last token of each text that scores `config.num_labels` classes."""

    config_class, decoder_class = Qwen2Config, Qwen2Model
