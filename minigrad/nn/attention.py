"""Attention as a layer: every position asks, and takes from the others what answers it."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..tensor import Tensor, as_array
from . import init
from .layers import Linear
from .module import Module, Parameter


def split_heads(x: Any, heads: int) -> Any:
    """(B, T, D) to (B, heads, T, D / heads)."""
    B, T, D = x.shape
    return ops.swapaxes(ops.reshape(x, (B, T, heads, D // heads)), 1, 2)


def merge_heads(x: Any) -> Any:
    """(B, heads, T, d) to (B, T, heads · d)."""
    B, H, T, d = x.shape
    return ops.reshape(ops.swapaxes(x, 1, 2), (B, T, H * d))


class MultiheadAttention(Module):
    """Several attentions side by side, each on its own share of the features (Vaswani et al. 2017, sec. 3.2.2).

    Weights as torch keeps them: `in_proj_weight` (3 · embed_dim, embed_dim) is query, key and value on top of each other.
    """
    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, batch_first: bool = False,
                 rng: init.Rng = None):
        if embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: embed_dim {embed_dim} cannot be shared out over {num_heads} heads: make it a multiple")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.rng = rng = init.generator(rng)
        self.in_proj_weight = Parameter(init.xavier_uniform_(init.empty(3 * embed_dim, embed_dim), rng=rng))
        self.in_proj_bias = Parameter(init.zeros_(init.empty(3 * embed_dim))) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, rng)
        if bias:
            init.zeros_(self.out_proj.bias)

    def forward(self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
                attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False) -> tuple[Any, Any]:
        """Attend from `query` (T, B, D) to `key` and `value` (S, B, D); batch first, (B, T, D), if the layer was made so.

        Args:
            key_padding_mask: (B, S), True where a key is padding and must not be attended to.
            attn_mask: (T, S) or (B · heads, T, S), True where attention is forbidden; floats are added to the scores.
            is_causal: position t attends to positions 0 … t only; here no mask need be given with it.
            need_weights: return the attention weights too, (B, T, S), or (B, heads, T, S) if not averaged.

        Returns:
            (output of the query's shape, weights or None).  As in torch, True in a mask means *no*.
        """
        query, key, value = (x if isinstance(x, Tensor) else Tensor(x) for x in (query, key, value))
        if not self.batch_first:
            query, key, value = (ops.swapaxes(x, 0, 1) for x in (query, key, value))
        D, H = self.embed_dim, self.num_heads
        (B, T, _), S = query.shape, key.shape[1]
        parts = [slice(i * D, (i + 1) * D) for i in range(3)]
        q, k, v = (split_heads(F.linear(x, self.in_proj_weight[part], self.in_proj_bias if self.in_proj_bias is None else
                                        self.in_proj_bias[part]), H) for x, part in zip((query, key, value), parts, strict=True))
        mask = self._mask(key_padding_mask, attn_mask, is_causal, B, T, S)
        p = self.dropout if self.training else 0.0
        out = merge_heads(F.scaled_dot_product_attention(q, k, v, mask, p, rng=self.rng))      # (B, T, D)
        out = self.out_proj(out)
        weights = None
        if need_weights:                        # the values replaced by the identity: what is found are the weights themselves
            identity = Tensor(np.broadcast_to(np.eye(S, dtype=query.dtype), (B, H, S, S)), device=query.device)
            weights = F.scaled_dot_product_attention(q, k, identity, mask)
            weights = ops.mean(weights, 1) if average_attn_weights else weights
        return out if self.batch_first else ops.swapaxes(out, 0, 1), weights

    def _mask(self, padding: Any, given: Any, is_causal: bool, B: int, T: int, S: int) -> Any:
        """Both masks and causality as one that broadcasts to (B, heads, T, S): booleans (True: may attend) or floats to add."""
        allowed, added = None, None
        if padding is not None:
            allowed = ~np.asarray(_host(padding), bool).reshape(B, 1, 1, S)
        if is_causal:
            allowed = np.tri(T, S, dtype=bool) & (True if allowed is None else allowed)
        if given is not None:
            given = _host(given)
            given = given.reshape(B, self.num_heads, T, S) if given.ndim == 3 else given
            if given.dtype == bool:
                allowed = ~given & (True if allowed is None else allowed)
            else:
                added = given
        if added is None:
            return allowed
        return added if allowed is None else np.where(allowed, added, -math.inf)


def _host(mask: Any) -> np.ndarray:
    return mask.numpy() if isinstance(mask, Tensor) else as_array(mask)
