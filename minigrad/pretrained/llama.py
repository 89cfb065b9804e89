"""LLaMA (Touvron et al. 2023; Grattafiori et al. 2024), with the attribute names its Hugging Face checkpoints use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..nn import Module, RMSNorm, RotaryPositions
from ..nn.attention import merge_heads, split_heads
from ..nn.position import rotate
from ..tensor import Tensor
from . import seen
from .blocks import Blocks
from .checkpoint.layout import Layout
from .config import Config
from .decoder import CausalLM, Decoder, DecoderForSequenceClassification, Reading
from .layers import activation, embedding, linear


@dataclass
class LlamaConfig(Config):
    """LLaMA's sizes and switches, under their names in config.json, old or new."""

    model_type = "llama"
    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None  # as many as attention heads
    head_dim: int | None = None  # hidden_size / num_attention_heads
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float | None = None  # 10000
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None  # replaces the two above in newer files
    attention_bias: bool = False
    mlp_bias: bool = False
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    pad_token_id: int | None = None

    def __post_init__(self):
        super().__post_init__()
        heads = self.num_attention_heads
        if self.head_dim is None and self.hidden_size % heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {heads}: give a head_dim"
            )
        if heads % self.kv_heads:
            raise ValueError(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {self.kv_heads}")
        activation(self.hidden_act)

    @property
    def longest(self) -> int:
        scaling = {**(self.rope_scaling or {}), **(self.rope_parameters or {})}
        # the scaling allows longer texts than in training
        if scaling.get("rope_type", scaling.get("type")) == "dynamic":
            return int(self.max_position_embeddings * scaling["factor"])
        return self.max_position_embeddings

    @property
    def size_of_head(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def kv_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def windows(self) -> list[int | None]:
        """For each layer, how many tokens each token attends to, itself included; None for all."""
        return [None] * self.num_hidden_layers

    @property
    def rotary(self) -> RotaryPositions:
        """The rotation by positions that the entries describe."""
        trained_on = self.rest.get("original_max_position_embeddings") or self.max_position_embeddings
        said = {
            name: value
            for part in (self.rope_scaling, self.rope_parameters)
            for name, value in (part or {}).items()
            if value is not None
        }
        entries = {
            "rope_theta": self.rope_theta or 10000.0,
            "original_max_position_embeddings": trained_on,
            "max_position_embeddings": self.max_position_embeddings,
            **said,
        }
        if entries.get("partial_rotary_factor", 1) != 1:
            raise ValueError(
                f"partial_rotary_factor {entries['partial_rotary_factor']} is not supported: all features "
                "are rotated here"
            )
        return RotaryPositions(self.size_of_head, entries.pop("rope_theta"), entries)


class Attention(Module):
    """Causal attention whose query heads share fewer key and value heads.  Qwen has biases, or norms, of its own."""

    q_norm = k_norm = staticmethod(lambda heads: heads)

    def __init__(self, c: LlamaConfig, rng: np.random.Generator, qkv_bias: bool | None = None):
        self.heads, self.kv_heads, self.p, self.rng = c.num_attention_heads, c.kv_heads, c.attention_dropout, rng
        size, bias = c.size_of_head, c.attention_bias if qkv_bias is None else qkv_bias
        self.q_proj = linear(c.hidden_size, self.heads * size, bias)
        self.k_proj, self.v_proj = (linear(c.hidden_size, self.kv_heads * size, bias) for _ in range(2))
        self.o_proj = linear(self.heads * size, c.hidden_size, c.attention_bias)

    def forward(self, x, angles, reading, cache):  # (B, T, D)
        q, k, v = (
            split_heads(project(x), heads)
            for project, heads in (
                (self.q_proj, self.heads),
                (self.k_proj, self.kv_heads),
                (self.v_proj, self.kv_heads),
            )
        )
        q, k = rotate(self.q_norm(q), *angles), rotate(self.k_norm(k), *angles)
        if cache is not None:
            k, v = cache.extend(k, v)
        p = self.p if self.training else 0.0
        y = seen.attention(q, k, v, reading.mask, p, reading.is_causal, enable_gqa=True, rng=self.rng)
        return self.o_proj(merge_heads(y))


class FeedForward(Module):
    """SwiGLU (Shazeer 2020): the activation of one projection gates the other."""

    def __init__(self, c: LlamaConfig):
        self.gate_proj, self.up_proj = (linear(c.hidden_size, c.intermediate_size, c.mlp_bias) for _ in range(2))
        self.down_proj = linear(c.intermediate_size, c.hidden_size, c.mlp_bias)
        self.activation = activation(c.hidden_act)

    def forward(self, x):
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Layer(Module):
    """One layer of the decoder, pre-norm: attention, then the feed-forward network."""

    def __init__(self, c: LlamaConfig, attention: Attention):
        self.self_attn, self.mlp = attention, FeedForward(c)
        self.input_layernorm, self.post_attention_layernorm = (RMSNorm(c.hidden_size, c.rms_norm_eps) for _ in range(2))

    def forward(self, x, angles, reading, cache):
        x = x + self.self_attn(self.input_layernorm(x), angles, reading, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaModel(Decoder):
    """The decoder: token ids in, a vector for each token out, computed from the tokens up to it."""

    config_class: type[LlamaConfig] = LlamaConfig
    layout = Layout(drop=("**.rotary_emb.inv_freq",), base="model")
    attention_class: Callable[..., Attention] = Attention
    blocks = Blocks(
        "layers",
        depth="num_hidden_layers",
        width="intermediate_size",
        expand=("mlp.gate_proj", "mlp.up_proj"),
        contract="mlp.down_proj",
    )

    def build(self, c: LlamaConfig, rng: np.random.Generator) -> None:
        self.embed_tokens = embedding(c.vocab_size, c.hidden_size, c.pad_token_id)
        self.layers = [Layer(c, self.attention_class(c, rng)) for _ in range(c.num_hidden_layers)]
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.rotary = c.rotary

    @property
    def stack(self) -> list[Layer]:
        """The layers, in order."""
        return self.layers

    def read(self, reading: Reading) -> Tensor:
        """The vectors (B, T, D) of the tokens."""
        x, windows = self.embed_tokens(reading.ids), self.config.windows
        angles = self.rotary.tables(reading.positions, x.dtype, x.device)
        readings = {window: reading.within(window) for window in set(windows)}
        for layer, cache, window in zip(self.layers, reading.caches, windows, strict=True):
            x = layer(seen.state(x), angles, readings[window], cache)
        return seen.state(self.norm(x))


class LlamaForCausalLM(CausalLM):
    """LLaMA that scores, for each token, the next one; it writes with `generate`."""

    config_class: type[LlamaConfig] = LlamaConfig
    layout, decoder_class, tied = LlamaModel.layout, LlamaModel, {"lm_head.weight": "model.embed_tokens.weight"}


class LlamaForSequenceClassification(DecoderForSequenceClassification):
    """LLaMA with a linear layer on the last token of each text that scores `config.num_labels` classes."""

    config_class: type[LlamaConfig] = LlamaConfig
    layout, decoder_class = LlamaModel.layout, LlamaModel
