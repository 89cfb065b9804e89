"""GPT-2 (Radford et al. 2019), with the attribute names its Hugging Face checkpoints use."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..nn import Dropout, KVCache, LayerNorm, Module, init
from ..nn.attention import merge_heads
from ..nn.layers import activated
from . import seen
from .checkpoint.layout import Layout
from .decoder import CausalLM, DecoderForSequenceClassification, Reading
from .layers import activation, embedding, linear
from .model import Config, PretrainedModel
from .outputs import BaseOutput


@dataclass
class GPT2Config(Config):
    """GPT-2's sizes and switches, under their names in config.json."""
    model_type = "gpt2"
    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None                  # 4 · n_embd
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is no multiple of n_head {self.n_head}")
        activation(self.activation_function, "activation_function")
        if self.rest.get("add_cross_attention"):
            raise ValueError("add_cross_attention is not supported: this GPT-2 reads one text only")

    @property
    def longest(self) -> int:
        return self.n_positions


class Attention(Module):
    def __init__(self, c: GPT2Config, index: int, rng: np.random.Generator):
        self.heads, self.p, self.rng = c.n_head, c.attn_pdrop, rng
        self.scale = math.sqrt(c.n_head / c.n_embd) if c.scale_attn_weights else 1.0
        if c.scale_attn_by_inverse_layer_idx:
            self.scale /= index + 1
        self.c_attn, self.c_proj = linear(c.n_embd, 3 * c.n_embd), linear(c.n_embd, c.n_embd)
        self.resid_dropout = Dropout(c.resid_pdrop, rng=rng)

    def forward(self, x, reading, cache):       # (B, T, D)
        B, T, _ = x.shape
        q, k, v = ops.transpose(ops.reshape(self.c_attn(x), (B, T, 3, self.heads, -1)), (2, 0, 3, 1, 4))       # (B, heads, T, d)
        if cache is not None:
            k, v = cache.extend(k, v)
        p = self.p if self.training else 0.0
        y = seen.attention(q, k, v, reading.mask, p, reading.is_causal, scale=self.scale, rng=self.rng)
        return self.resid_dropout(self.c_proj(merge_heads(y)))


class FeedForward(Module):
    def __init__(self, c: GPT2Config, rng: np.random.Generator):
        inner = c.n_inner or 4 * c.n_embd
        self.c_fc, self.c_proj = linear(c.n_embd, inner), linear(inner, c.n_embd)
        self.activation, self.dropout = activation(c.activation_function), Dropout(c.resid_pdrop, rng=rng)

    def forward(self, x):
        return self.dropout(self.c_proj(activated(self.c_fc, self.activation, x)))


class Block(Module):
    def __init__(self, c: GPT2Config, index: int, rng: np.random.Generator):
        self.ln_1, self.attn = LayerNorm(c.n_embd, c.layer_norm_epsilon), Attention(c, index, rng)
        self.ln_2, self.mlp = LayerNorm(c.n_embd, c.layer_norm_epsilon), FeedForward(c, rng)

    def forward(self, x, reading, cache):
        x = x + self.attn(self.ln_1(x), reading, cache)
        return x + self.mlp(self.ln_2(x))


class GPT2Pretrained(PretrainedModel):
    """What all GPT-2 models share: matrices are stored (in, out), and old files hold causal masks under the name of biases."""
    config_class = GPT2Config
    layout = Layout(drop=("**.attn.bias", "**.attn.masked_bias"), base="transformer",
                    transpose=("**.c_attn.weight", "**.c_proj.weight", "**.c_fc.weight"))

    def draw(self, names: list[str], rng: init.Rng) -> None:
        """As everywhere, but what is added to the residual stream is the smaller, the more layers add to it (sec. 2.3)."""
        super().draw(names, rng)
        own = self.state_dict()
        for name in names:
            if name.endswith("c_proj.weight"):
                own[name].copy_(own[name].data / math.sqrt(2 * self.config.n_layer))


class GPT2Model(GPT2Pretrained):
    """The decoder: token ids in, a vector for each token out, which has seen the tokens up to it."""

    def __init__(self, config: GPT2Config, rng: init.Rng = None, drawn: bool = True):
        rng = init.generator(rng)
        self.config = config
        self.wte, self.wpe = embedding(config.vocab_size, config.n_embd), embedding(config.n_positions, config.n_embd)
        self.drop = Dropout(config.embd_pdrop, rng=rng)
        self.h = [Block(config, i, rng) for i in range(config.n_layer)]
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        if drawn:
            self.draw(list(self.state_dict()), rng)

    def forward(self, input_ids: Any, attention_mask: Any = None, past_key_values: Sequence[KVCache] | None = None,
                position_ids: Any = None) -> BaseOutput:
        """Read a batch.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, S), 1 for a token and 0 for padding, S = T + what the caches hold; all ones by default.
            past_key_values: a KVCache for each layer, with what was read before; these tokens are added to it.
            position_ids: (B, T), by default those that follow on what was read before.

        Raises:
            ValueError: a shape is wrong, or T is more than n_positions.
            IndexError: an id is not in the vocabulary, or a position n_positions or more.
        """
        c = self.config
        reading = Reading.of(input_ids, attention_mask, position_ids, past_key_values, c.n_layer, c.longest)
        x = self.drop(self.wte(reading.ids) + self.wpe(reading.positions))
        for block, cache in zip(self.h, reading.caches, strict=True):
            x = block(seen.state(x), reading, cache)
        return BaseOutput(seen.state(self.ln_f(x)), past_key_values=past_key_values)


class GPT2LMHeadModel(CausalLM, GPT2Pretrained):
    """GPT-2 that scores, for each token, what comes next; it writes with `generate`."""
    decoder_class, tied = GPT2Model, {"lm_head.weight": "transformer.wte.weight"}

    def new_cache(self, max_len: int) -> list[KVCache]:
        return [KVCache(max_len) for _ in self.transformer.h]


class GPT2ForSequenceClassification(DecoderForSequenceClassification, GPT2Pretrained):
    """GPT-2 with a linear layer on the last token of each text that scores `config.num_labels` classes."""
    decoder_class = GPT2Model
