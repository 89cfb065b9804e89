"""GPT-2 (Radford et al. 2019), with the attribute names its Hugging Face checkpoints use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import ops
from ..nn import Dropout, LayerNorm, Module, init
from ..nn.attention import merge_heads
from ..nn.layers import activated
from ..tensor import Tensor
from . import seen
from .blocks import Blocks
from .checkpoint.layout import Layout
from .config import Config
from .decoder import CausalLM, Decoder, DecoderForSequenceClassification, Reading
from .layers import activation, embedding, linear
from .model import PretrainedModel


@dataclass
class GPT2Config(Config):
    """GPT-2's sizes and switches, under their names in config.json."""

    model_type = "gpt2"
    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # 4 · n_embd
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
            raise ValueError(f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}")
        activation(self.activation_function, "activation_function")
        if self.rest.get("add_cross_attention"):
            raise ValueError("add_cross_attention is not supported: this GPT-2 reads one text only")

    @property
    def longest(self) -> int:
        return self.n_positions


class Attention(Module):
    """Causal multi-head self-attention, with one projection for query, key and value."""

    def __init__(self, c: GPT2Config, index: int, rng: np.random.Generator):
        self.heads, self.p, self.rng = c.n_head, c.attn_pdrop, rng
        self.scale = math.sqrt(c.n_head / c.n_embd) if c.scale_attn_weights else 1.0
        if c.scale_attn_by_inverse_layer_idx:
            self.scale /= index + 1
        self.c_attn, self.c_proj = linear(c.n_embd, 3 * c.n_embd), linear(c.n_embd, c.n_embd)
        self.resid_dropout = Dropout(c.resid_pdrop, rng=rng)

    def forward(self, x, reading, cache):  # (B, T, D)
        B, T, _ = x.shape
        # (B, heads, T, d)
        q, k, v = ops.transpose(ops.reshape(self.c_attn(x), (B, T, 3, self.heads, -1)), (2, 0, 3, 1, 4))
        if cache is not None:
            k, v = cache.extend(k, v)
        p = self.p if self.training else 0.0
        y = seen.attention(q, k, v, reading.mask, p, reading.is_causal, scale=self.scale, rng=self.rng)
        return self.resid_dropout(self.c_proj(merge_heads(y)))


class FeedForward(Module):
    """The feed-forward network of a block."""

    def __init__(self, c: GPT2Config, rng: np.random.Generator):
        inner = c.n_inner or 4 * c.n_embd
        self.c_fc, self.c_proj = linear(c.n_embd, inner), linear(inner, c.n_embd)
        self.activation, self.dropout = activation(c.activation_function), Dropout(c.resid_pdrop, rng=rng)

    def forward(self, x):
        return self.dropout(self.c_proj(activated(self.c_fc, self.activation, x)))


class Block(Module):
    """One block of the decoder, pre-norm: attention, then the feed-forward network."""

    def __init__(self, c: GPT2Config, index: int, rng: np.random.Generator):
        self.ln_1, self.attn = LayerNorm(c.n_embd, c.layer_norm_epsilon), Attention(c, index, rng)
        self.ln_2, self.mlp = LayerNorm(c.n_embd, c.layer_norm_epsilon), FeedForward(c, rng)

    def forward(self, x, reading, cache):
        x = x + self.attn(self.ln_1(x), reading, cache)
        return x + self.mlp(self.ln_2(x))


class GPT2Pretrained(PretrainedModel):
    """What all GPT-2 models share: matrices are stored (in, out), and old files store causal masks as biases."""

    config_class = GPT2Config
    layout = Layout(
        drop=("**.attn.bias", "**.attn.masked_bias"),
        base="transformer",
        transpose=("**.c_attn.weight", "**.c_proj.weight", "**.c_fc.weight"),
    )

    def draw(self, names: list[str], rng: init.Rng) -> None:
        """As for every model, but projections to the residual stream are scaled by the number of layers (sec. 2.3)."""
        super().draw(names, rng)
        own = self.state_dict()
        for name in names:
            if name.endswith("c_proj.weight"):
                own[name].copy_(own[name].data / math.sqrt(2 * self.config.n_layer))


class GPT2Model(Decoder, GPT2Pretrained):
    """The decoder: token ids in, a vector for each token out, computed from the tokens up to it."""

    blocks = Blocks(
        "h",
        depth="n_layer",
        width="n_inner",
        expand=("mlp.c_fc",),
        contract="mlp.c_proj",
        attention="attn",
        project=("attn.c_attn",),
        merge="attn.c_proj",
    )

    def build(self, c: GPT2Config, rng: np.random.Generator) -> None:
        self.wte, self.wpe = embedding(c.vocab_size, c.n_embd), embedding(c.n_positions, c.n_embd)
        self.drop = Dropout(c.embd_pdrop, rng=rng)
        self.h = [Block(c, i, rng) for i in range(c.n_layer)]
        self.ln_f = LayerNorm(c.n_embd, c.layer_norm_epsilon)

    @property
    def stack(self) -> list[Block]:
        """The layers, in order."""
        return self.h

    def read(self, reading: Reading) -> Tensor:
        """The vectors (B, T, D) of the tokens."""
        x = self.drop(self.wte(reading.ids) + self.wpe(reading.positions))
        for block, cache in zip(self.h, reading.caches, strict=True):
            x = block(seen.state(x), reading, cache)
        return seen.state(self.ln_f(x))


class GPT2LMHeadModel(CausalLM, GPT2Pretrained):
    """GPT-2 that scores, for each token, the next one; it writes with `generate`."""

    decoder_class, tied = GPT2Model, {"lm_head.weight": "transformer.wte.weight"}


class GPT2ForSequenceClassification(DecoderForSequenceClassification, GPT2Pretrained):
    """GPT-2 with a linear layer on the last token of each text that scores `config.num_labels` classes."""

    decoder_class = GPT2Model
