"""The Transformer (Vaswani et al. 2017): layers of attention and a small network on each position, stacked.

Torch's names and defaults.  `norm_first` puts the normalisation before each part (pre-norm, easier to train deep)
instead of after it (post-norm, the original).  In torch's masks True means *no*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functional as F
from . import init
from .arguments import checked
from .attention import MultiheadAttention
from .layers import Dropout, LayerNorm, Linear, activated
from .module import Module

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


class _Layer(Module):
    """The base of encoder and decoder layers: residual connections, normalised before or after each part."""

    norm_first: bool

    def __init__(
        self,
        d_model: int,
        dim_feedforward: int,
        dropout: float,
        activation: str | Callable,
        eps: float,
        norm_first: bool,
        bias: bool,
        rng: init.Rng,
    ):
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            raise ValueError(
                f"{type(self).__name__}: activation {activation!r} is not known: type "
                f"{' or '.join(map(repr, ACTIVATIONS))}, or give a function"
            )
        self.activation = ACTIVATIONS.get(activation, activation) if isinstance(activation, str) else activation
        self.norm_first = norm_first
        self.linear1 = Linear(d_model, dim_feedforward, bias, rng=rng)
        self.linear2 = Linear(dim_feedforward, d_model, bias, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)

    def around(self, x: Any, norm: LayerNorm, part: Callable[[Any], Any]) -> Any:
        """The residual connection around `part`, normalised before it (pre-norm) or after the sum (post-norm)."""
        return x + self.dropout(part(norm(x))) if self.norm_first else norm(x + self.dropout(part(x)))

    def feed_forward(self, x: Any) -> Any:
        """linear, activation, linear, on each position by itself."""
        return self.linear2(self.dropout(activated(self.linear1, self.activation, x)))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a two-layer network: (T, B, d_model) to the same, batch first if asked."""

    @checked
    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        rng: init.Rng = None,
    ):
        rng = init.generator(rng)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, rng=rng)
        super().__init__(d_model, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias, rng)
        self.norm1, self.norm2 = (LayerNorm(d_model, layer_norm_eps, bias=bias) for _ in range(2))

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        def attend(x):
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        x = self.around(src, self.norm1, attend)
        return self.around(x, self.norm2, self.feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's output (`memory`), then a two-layer network."""

    @checked
    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        rng: init.Rng = None,
    ):
        rng = init.generator(rng)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, rng=rng)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, rng=rng)
        super().__init__(d_model, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias, rng)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(d_model, layer_norm_eps, bias=bias) for _ in range(3))

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
    ) -> Any:
        def attend(x):
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def look_up(x):
            return self.multihead_attn(x, memory, memory, memory_key_padding_mask, False, memory_mask)[0]

        x = self.around(tgt, self.norm1, attend)
        x = self.around(x, self.norm2, look_up)
        return self.around(x, self.norm3, self.feed_forward)


class _Stack(Module):
    """`num_layers` layers, each initialised by itself, and a final normalisation if given (pre-norm needs one)."""

    def __init__(self, layer: Callable[[], Module], num_layers: int, norm: Module | None = None):
        if isinstance(layer, Module):
            raise TypeError(
                f"{type(self).__name__} takes a function that makes a layer, so that no two start alike: "
                "lambda: nn.TransformerEncoderLayer(512, 8, rng=rng)"
            )
        self.layers, self.norm = [layer() for _ in range(num_layers)], norm

    def forward(self, x: Any, *memory: Any, **masks: Any) -> Any:
        """Apply the layers in order, each with the same masks."""
        for layer in self.layers:
            x = layer(x, *memory, **masks)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """A stack of encoder layers.  Torch copies one layer; here `layer` is a function that makes one."""

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        """src (T, B, d_model), batch first if the layers are, to the same; `mask` is each layer's `src_mask`."""
        return super().forward(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=is_causal)


class TransformerDecoder(_Stack):
    """A stack of decoder layers: (target, memory) to the target's shape."""


class Transformer(Module):
    """Encoder and decoder: the decoder attends to the encoded source sequence."""

    @checked
    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable = "relu",
        *,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        rng: init.Rng = None,
    ):
        sizes, rng = (
            (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias),
            init.generator(rng),
        )
        self.encoder = TransformerEncoder(
            lambda: TransformerEncoderLayer(*sizes, rng=rng),
            num_encoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias),
        )
        self.decoder = TransformerDecoder(
            lambda: TransformerDecoderLayer(*sizes, rng=rng),
            num_decoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias),
        )

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
    ) -> Any:
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
        )
