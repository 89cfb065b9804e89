"""T5 (Raffel et al. 2020), v1.0 and v1.1: an encoder and a decoder, with the attribute names of its checkpoints.

Positions enter as a bias, by distance, on the attention scores, which are not scaled; no other layer has a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import Array, is_half
from ..nn import Dropout, Embedding, Group, KVCache, Linear, Module, RelativePositionBias, RMSNorm, init
from ..nn.attention import merge_heads, split_heads
from ..tensor import Tensor
from . import seen
from .checkpoint.layout import Layout
from .config import Config
from .heads import token_loss
from .inputs import as_given, padding_mask, token_ids
from .layers import activation, embedding, linear
from .model import PretrainedModel
from .outputs import BaseOutput, Seq2SeqOutput
from .text.generation import Generates

FORBIDDEN = float(np.finfo(np.float16).min)  # added to a score: far below any other, and within every dtype
NEVER_USED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"  # in old files


@dataclass
class T5Config(Config):
    """T5's sizes, under their names in config.json.

    `tie_word_embeddings` false, as v1.1 has it, means an `lm_head` of its own and no scaling of what it is given.
    """

    model_type = "t5"
    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    pad_token_id: int = 0
    eos_token_id: int | list[int] | None = 1
    decoder_start_token_id: int = 0
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool | None = None

    def __post_init__(self):
        super().__post_init__()
        activation(self.inner_activation, "feed_forward_proj")
        self.num_decoder_layers = self.num_decoder_layers or self.num_layers
        if self.scale_decoder_outputs is None:
            self.scale_decoder_outputs = self.tie_word_embeddings

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward layers multiply two parts (Shazeer 2020), as v1.1's do."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def inner_activation(self) -> str:
        """The activation's published name; "gated-gelu" means the approximate GELU."""
        return "gelu_new" if self.feed_forward_proj == "gated-gelu" else self.feed_forward_proj.removeprefix("gated-")


class Norm(RMSNorm):
    """An RMSNorm that goes back to its weight's 16 bits, where the feed-forward layers have left float32."""

    def forward(self, x):
        y = super().forward(x)
        dtype = y.dtype if self.weight is None else self.weight.dtype
        return ops.astype(y, dtype) if is_half(dtype) else y


def plus(x: Any, more: Any) -> Any:
    """x + more; in float16 what becomes too large for it is brought back, as in transformers."""
    with np.errstate(over="ignore"):
        x = x + more
    if x.dtype != np.float16:
        return x
    xp, most = backend.of(x.data).xp, float(np.finfo(np.float16).max)
    most = xp.where(xp.isinf(x.data).any(), most - 1000, most).astype(np.float16)
    return ops.clip(x, -most, most)


class Attention(Module):
    """Multi-head attention to the own tokens or to those of a source, with scores that are not scaled."""

    def __init__(self, c: T5Config, rng: np.random.Generator, bias: RelativePositionBias | None = None, part: str = ""):
        self.part = part  # of the model: whose weights these are
        self.heads, inner, self.dropout = c.num_heads, c.num_heads * c.d_kv, Dropout(c.dropout_rate, rng=rng)
        self.q, self.k, self.v = (linear(c.d_model, inner, bias=False) for _ in range(3))
        self.o = linear(inner, c.d_model, bias=False)
        if bias is not None:
            self.relative_attention_bias = bias

    def forward(self, x, bias, source=None, cache=None):  # (B, T, D), (1 or B, H, T, S), (B, S, D)
        q = split_heads(self.q(x), self.heads)
        if source is not None and cache is not None and cache.length:
            k, v = cache.read()  # of the encoder's tokens, which stay the same while the decoder writes
        else:
            k, v = (split_heads(part(x if source is None else source), self.heads) for part in (self.k, self.v))
            if cache is not None:
                cache.max_len = cache.max_len if source is None else source.shape[1]
                k, v = cache.extend(k, v)
        dtype = q.dtype
        if is_half(dtype):  # scores that are not scaled leave the range of float16
            q, k, v = (ops.astype(part, np.float32) for part in (q, k, v))
        scores = ops.matmul(q, ops.swapaxes(k, -1, -2))  # (B, H, T, S)
        weights = ops.softmax(scores if bias is None else scores + bias)
        seen.weights(weights, self.part)
        y = merge_heads(ops.matmul(self.dropout(weights), v))
        return self.o(y if y.dtype == dtype else ops.astype(y, dtype))


class FeedForward(Module):
    """Two linear layers, or three whose first two are multiplied; its intermediate values exceed float16's range."""

    wi: Linear
    wi_0: Linear
    wi_1: Linear

    def __init__(self, c: T5Config, rng: np.random.Generator):
        for name in ("wi_0", "wi_1") if c.is_gated else ("wi",):
            setattr(self, name, linear(c.d_model, c.d_ff, bias=False))
        self.wo, self.dropout = linear(c.d_ff, c.d_model, bias=False), Dropout(c.dropout_rate, rng=rng)
        self.activation, self.is_gated = activation(c.inner_activation), c.is_gated

    def forward(self, x):
        x = self.activation(self.wi_0(x)) * self.wi_1(x) if self.is_gated else self.activation(self.wi(x))
        x = self.dropout(x)
        return self.wo(ops.astype(x, np.float32) if x.dtype == np.float16 else x)


class Block(Module):
    """Self-attention, cross-attention (in a decoder) and feed-forward, each behind a norm and added to its input."""

    def __init__(self, c: T5Config, rng: np.random.Generator, is_decoder: bool, bias: RelativePositionBias | None):
        own = Attention(c, rng, bias, "decoder_" if is_decoder else "encoder_")
        parts = [{"SelfAttention": own}, {"DenseReluDense": FeedForward(c, rng)}]
        if is_decoder:
            parts.insert(1, {"EncDecAttention": Attention(c, rng, part="cross_")})
        self.layer = [Group(**part, layer_norm=Norm(c.d_model, c.layer_norm_epsilon)) for part in parts]
        self.dropout = Dropout(c.dropout_rate, rng=rng)

    def forward(self, x, bias, source, source_bias, own_cache, source_cache):
        first, *second, last = self.layer
        x = plus(x, self.dropout(first.SelfAttention(first.layer_norm(x), bias, cache=own_cache)))
        for part in second:
            x = plus(x, self.dropout(part.EncDecAttention(part.layer_norm(x), source_bias, source, source_cache)))
        return plus(x, self.dropout(last.DenseReluDense(last.layer_norm(x))))


class Stack(Module):
    """The encoder or the decoder."""

    def __init__(self, c: T5Config, rng: np.random.Generator, words: Embedding, layers: int, is_decoder: bool):
        self.is_decoder, self.embed_tokens = is_decoder, words
        bias = RelativePositionBias(
            c.num_heads,
            c.relative_attention_num_buckets,
            c.relative_attention_max_distance,
            bidirectional=not is_decoder,
            rng=init.LATER,
        )
        self.block = [Block(c, rng, is_decoder, None if i else bias) for i in range(layers)]  # the first has it for all
        self.final_layer_norm = Norm(c.d_model, c.layer_norm_epsilon)
        self.dropout = Dropout(c.dropout_rate, rng=rng)

    def forward(self, ids, mask, source=None, source_mask=None, caches: Any = None):
        caches = caches or [None] * 2 * len(self.block)  # for each block, of its own tokens and of the encoder's
        before = caches[0].length if caches[0] else 0
        T, S, part = ids.shape[1], before + ids.shape[1], "decoder_" if self.is_decoder else "encoder_"
        allowed = padding_mask(mask, (len(ids), S))
        if self.is_decoder and T > 1:
            causal = backend.of(allowed).xp.tri(T, S, before, dtype=bool)
            allowed = causal if allowed is None else causal & allowed
        bias = self.block[0].layer[0].SelfAttention.relative_attention_bias(T, S, before)
        x = self.dropout(self.embed_tokens(ids))
        if allowed is not None:
            bias = ops.where(Tensor(allowed, device=x.device), bias, FORBIDDEN)
        source_bias = None
        if source is not None and (source_mask := padding_mask(source_mask, source.shape[:2])) is not None:
            source_bias = Tensor(
                backend.of(source_mask).xp.where(source_mask, 0, FORBIDDEN), dtype=x.dtype, device=x.device
            )
        for block, own_cache, source_cache in zip(self.block, caches[::2], caches[1::2], strict=True):
            x = block(seen.state(x, part), bias, source, source_bias, own_cache, source_cache)
        return seen.state(self.dropout(self.final_layer_norm(x)), part)


class T5EncoderModel(PretrainedModel):
    """The encoder alone: token ids in, a vector for each token out."""

    config_class = T5Config
    layout = Layout(drop=("decoder.**", "lm_head.*"))
    tied = {"encoder.embed_tokens.weight": "shared.weight"}

    def build(self, c: T5Config, rng: np.random.Generator) -> None:
        self.shared = embedding(c.vocab_size, c.d_model)
        self.encoder = Stack(c, rng, self.shared, c.num_layers, is_decoder=False)

    def encode(self, input_ids: Any, attention_mask: Any = None) -> Tensor:
        """A vector (B, S, d_model) for each token of `input_ids` (B, S); `attention_mask` (B, S) is 0 at padding."""
        return self.encoder(token_ids(input_ids), attention_mask)

    def forward(self, input_ids: Any, attention_mask: Any = None) -> BaseOutput:
        """The vectors of `encode`."""
        return BaseOutput(self.encode(input_ids, attention_mask))

    def draw(self, names: list[str], rng: init.Rng) -> None:
        """Give the named weights their first values: normal, the wider a layer's input the smaller; scales 1."""
        c, own = self.config, self.state_dict()
        deviations = {
            "shared": 1,
            "embed_tokens": 1,
            "lm_head": 1,
            "q": (c.d_model * c.d_kv) ** -0.5,
            "o": (c.num_heads * c.d_kv) ** -0.5,
            "wo": c.d_ff**-0.5,
        }
        for name in names:
            if own[name].ndim == 1:
                init.constant_(own[name], c.initializer_factor)
            else:
                std = deviations.get(name.split(".")[-2], c.d_model**-0.5)
                init.normal_(own[name], std=c.initializer_factor * std, rng=rng)


class T5Model(T5EncoderModel):
    """Encoder and decoder without a head."""

    layout = Layout(drop=(NEVER_USED, "lm_head.*"))
    tied = T5EncoderModel.tied | {"decoder.embed_tokens.weight": "shared.weight"}

    def build(self, c: T5Config, rng: np.random.Generator) -> None:
        super().build(c, rng)
        self.decoder = Stack(c, rng, self.shared, c.num_decoder_layers or c.num_layers, is_decoder=True)

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        past_key_values: Sequence[KVCache] | None = None,
        encoder_outputs: Any = None,
        decoder_attention_mask: Any = None,
    ) -> BaseOutput:
        """Read `input_ids`, and `decoder_input_ids` with them in view.

        Args:
            input_ids: (B, S) token ids.   attention_mask: (B, S), 1 for a token and 0 for padding.
            decoder_input_ids: (B, T) token ids, each of which sees those before it, and all of `input_ids`.
            past_key_values: caches, as `new_cache` makes them; then `decoder_input_ids` go on where those ended.
            encoder_outputs: what `encode` returned, (B, S, d_model), or a BaseOutput with it, instead of `input_ids`.
            decoder_attention_mask: 0 for padding among the decoder's tokens, (B, T) or, with a cache, (B, all of them).

        Raises:
            ValueError: a shape is wrong, or there is nothing for the encoder or the decoder to read.
            IndexError: an id is not in the vocabulary.
        """
        if input_ids is None and encoder_outputs is None:
            raise ValueError(
                f"{type(self).__name__} needs input_ids to read, or the encoder_outputs of model.encode(input_ids)"
            )
        if decoder_input_ids is None:
            raise ValueError(
                f"{type(self).__name__} needs decoder_input_ids, or labels to take them from: to have "
                "something written, call model.generate(input_ids, max_new_tokens=50)"
            )
        source = getattr(encoder_outputs, "last_hidden_state", encoder_outputs)
        source = self.encode(input_ids, attention_mask) if source is None else source
        ids = token_ids(decoder_input_ids, name="decoder_input_ids")
        x = self.decoder(ids, decoder_attention_mask, source, attention_mask, past_key_values)
        return BaseOutput(x, past_key_values=past_key_values, encoder_last_hidden_state=source)

    def new_cache(self, max_len: int) -> list[KVCache]:
        """Empty caches for `max_len` tokens of the decoder: for each layer, of its own and of the encoder's tokens."""
        return [KVCache(max_len) for _ in range(2 * self.config.num_decoder_layers)]


class T5ForConditionalGeneration(Generates, T5Model):
    """T5 as it was trained: the decoder scores every token of the vocabulary as the next."""

    layout = Layout(drop=(NEVER_USED,))
    tied = T5Model.tied | {"lm_head.weight": "shared.weight"}
    is_encoder_decoder = True

    def build(self, c: T5Config, rng: np.random.Generator) -> None:
        super().build(c, rng)
        self.lm_head = linear(c.d_model, c.vocab_size, bias=False)
        if c.tie_word_embeddings:
            self.lm_head.weight = self.shared.weight

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        labels: Any = None,
        past_key_values: Sequence[KVCache] | None = None,
        encoder_outputs: Any = None,
        decoder_attention_mask: Any = None,
    ) -> Seq2SeqOutput:
        """Score the next token; the arguments are T5Model's, and `labels` (B, T) of token ids, -100 where none counts.

        Without `decoder_input_ids` the decoder reads the start token and then the labels.
        """
        if decoder_input_ids is None and labels is not None:
            decoder_input_ids = self.shifted(labels)
        out = super().forward(
            input_ids, attention_mask, decoder_input_ids, past_key_values, encoder_outputs, decoder_attention_mask
        )
        x = out.last_hidden_state
        logits = self.lm_head(x * self.config.d_model**-0.5 if self.config.scale_decoder_outputs else x)
        return Seq2SeqOutput(token_loss(logits, labels), logits, past_key_values, out.encoder_last_hidden_state)

    def shifted(self, labels: Any) -> Array:
        """The decoder's input for `labels` (B, T): the start token, then all labels but the last."""
        labels, c = as_given(labels), self.config
        xp = backend.of(labels).xp
        ids = xp.concatenate([xp.full_like(labels[:, :1], c.decoder_start_token_id), labels[:, :-1]], 1)
        return xp.where(ids == -100, c.pad_token_id, ids)
