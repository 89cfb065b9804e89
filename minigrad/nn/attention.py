"""Attention layers: each position is computed from a weighted mean of the values at the positions it attends to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, ops
from .. import functional as F
from ..execution import recording
from ..tensor import Tensor, as_array, wrap
from . import init
from .arguments import checked
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
    """Several attentions in parallel, each on its own part of the features (Vaswani et al. 2017, sec. 3.2.2).

    The weights are laid out as in torch: `in_proj_weight` (3 · embed_dim, embed_dim) stacks query, key and value; where
    keys have `kdim` features, or values `vdim`, these are three, `q_proj_weight`, `k_proj_weight` and `v_proj_weight`.
    """

    @checked
    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        rng: init.Rng = None,
    ):
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: embed_dim {embed_dim} is not a multiple of num_heads {num_heads}: make it one"
            )
        if not 0 <= dropout < 1:
            raise ValueError(
                f"MultiheadAttention: dropout={dropout} is not a probability below 1: give 0 <= dropout < 1"
            )
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.rng = rng = init.generator(rng)
        sizes = [embed_dim, embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim]
        if sizes == [embed_dim] * 3:
            self.in_proj_weight = Parameter(init.xavier_uniform_(init.empty(3 * embed_dim, embed_dim), rng=rng))
        else:
            self.in_proj_weight = None
            self.q_proj_weight, self.k_proj_weight, self.v_proj_weight = (
                Parameter(init.xavier_uniform_(init.empty(embed_dim, size), rng=rng)) for size in sizes
            )
        self.in_proj_bias = Parameter(init.zeros_(init.empty(3 * embed_dim))) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, rng=rng)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """Attend from `query` (T, B, D) to `key` and `value` (S, B, D); with batch_first, (B, T, D) and (B, S, D).

        The batch may be missing: then B is missing, too, in masks and weights.

        Args:
            key_padding_mask: (B, S), True where a key is padding and must not be attended to.
            attn_mask: (T, S), (B · heads, T, S) or four axes that broadcast to (B, heads, T, S), as those of
                RelativePositionBias do.  True where attention is forbidden; floats are added to the scores, and
                differentiated if they require a gradient.
            is_causal: position t attends to positions 0 … t only; unlike torch, no mask need be given with it.
            need_weights: return the attention weights too, (B, T, S), or (B, heads, T, S) if not averaged.

        Returns:
            (output of the query's shape, weights or None).  As in torch, True in a mask means *no*.
        """
        query, key, value = (x if isinstance(x, Tensor) else Tensor(x) for x in (query, key, value))
        if query.ndim == key.ndim == value.ndim == 2:  # one example
            batch = 0 if self.batch_first else 1
            query, key, value = (ops.expand_dims(x, batch) for x in (query, key, value))
            padding = None if key_padding_mask is None else key_padding_mask[None]
            options = need_weights, attn_mask, average_attn_weights, is_causal
            out, weights = self.forward(query, key, value, padding, *options)
            return ops.squeeze(out, batch), weights if weights is None else ops.squeeze(weights, 0)
        if not query.ndim == key.ndim == value.ndim == 3:
            raise ValueError(
                f"MultiheadAttention: query {query.shape}, key {key.shape} and value {value.shape} must have three "
                "axes each, or two, without a batch"
            )
        if not self.batch_first:
            query, key, value = (ops.swapaxes(x, 0, 1) for x in (query, key, value))
        H, (B, T, _), S = self.num_heads, query.shape, key.shape[1]
        if self.in_proj_weight is None:
            parts = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        else:
            parts = ops.split(self.in_proj_weight, self.embed_dim)
        biases = [None] * 3 if self.in_proj_bias is None else ops.split(self.in_proj_bias, self.embed_dim)
        q, k, v = (
            split_heads(F.linear(x, w, b), H) for x, w, b in zip((query, key, value), parts, biases, strict=True)
        )
        mask = self._mask(key_padding_mask, attn_mask, B, T, S, query.device)
        p = self.dropout if self.training else 0.0
        out = merge_heads(F.scaled_dot_product_attention(q, k, v, mask, p, is_causal, rng=self.rng))  # (B, T, D)
        out = self.out_proj(out)
        weights = None
        if need_weights:  # attention over the identity as values gives the weights themselves
            identity = Tensor(np.broadcast_to(np.eye(S, dtype=query.dtype), (B, H, S, S)), device=query.device)
            weights = F.scaled_dot_product_attention(q, k, identity, mask, is_causal=is_causal)
            weights = ops.mean(weights, 1) if average_attn_weights else weights
        return out if self.batch_first else ops.swapaxes(out, 0, 1), weights

    def _mask(self, padding: Any, given: Any, B: int, T: int, S: int, device: str) -> Any:
        """Both masks as one, (B, heads, T, S) or broadcastable: booleans (True allows), floats (added), or None."""
        H, added, allowed = self.num_heads, None, True
        shape = getattr(given, "shape", ())
        fits = len(shape) == 4 and all(n in (1, m) for n, m in zip(shape, (B, H, T, S)))
        for name, mask, shapes in (
            ("key_padding_mask", padding, {(B, S): (B, 1, 1, S)}),
            (
                "attn_mask",
                given,
                {(T, S): (T, S), (B * H, T, S): (B, H, T, S)} | ({tuple(shape): tuple(shape)} if fits else {}),
            ),
        ):
            if mask is None:
                continue
            mask = mask.to(device) if getattr(mask, "requires_grad", False) else as_array(mask, device=device)
            if mask.shape not in shapes or mask.dtype.kind in "iu":
                raise ValueError(
                    f"attention: {name} is {mask.dtype} of shape {mask.shape}: give booleans (True "
                    f"forbids) or floats (added to the scores) of shape {' or '.join(map(str, shapes))}"
                )
            mask = mask.reshape(shapes[mask.shape])
            if mask.dtype == bool:
                allowed = ~mask & allowed
            else:
                added = mask if added is None else added + mask
        if allowed is True:
            return added
        return allowed if added is None else ops.where(allowed, added, -math.inf)


class KVCache:
    """The keys and values of the tokens read so far, so that they are not computed again (inference only).

    Memory for `max_len` positions is allocated at the first use; `length` is the number filled.
    """

    def __init__(self, max_len: int):
        self.max_len, self.length = max_len, 0
        self.keys: Any = None
        self.values: Any = None

    def extend(self, k: Any, v: Any) -> tuple[Tensor, Tensor]:
        """Add k and v, (B, heads, T, d), and return all keys and values so far, as views.

        Raises:
            ValueError: more than max_len positions, or another batch than before.
            RuntimeError: the tape is recording: gradients do not flow through a cache.
        """
        if recording() and (k.requires_grad or v.requires_grad):
            raise RuntimeError("a KVCache keeps numbers, not gradients: use it inside `with mg.no_grad():`")
        if self.keys is None:
            xp, shape = backend.of(k.data).xp, (*k.shape[:2], self.max_len, k.shape[3])
            self.keys, self.values = xp.empty(shape, k.dtype), xp.empty(shape, v.dtype)
        end = self.length + k.shape[2]
        if end > self.max_len or k.shape[:2] != self.keys.shape[:2]:
            raise ValueError(
                f"KVCache of {self.keys.shape} holds {self.length} positions and was given {k.shape}: "
                "make max_len larger, or a new cache for a new batch"
            )
        self.keys[:, :, self.length : end], self.values[:, :, self.length : end] = k.data, v.data
        self.length = end
        return self.read()

    def read(self) -> tuple[Tensor, Tensor]:
        """All keys and values so far, as views."""
        return wrap(self.keys[:, :, : self.length], None), wrap(self.values[:, :, : self.length], None)

    def select(self, rows: Any) -> None:
        """Replace row i of the batch by row `rows[i]`, as beam search does to drop and duplicate beams."""
        rows = backend.of(self.keys).xp.asarray(rows)
        self.keys, self.values = self.keys[rows], self.values[rows]


class GroupedQueryAttention(Module):
    """Causal self-attention whose query heads share key and value heads (Ainslie et al. 2023), with optional cache.

    Query heads i·n … i·n + n - 1 share key head i, n = num_heads / num_kv_heads.  The names are those of LLaMA's
    checkpoints.

    Args:
        positions: rotates queries and keys by their position, such as `RotaryPositions(embed_dim // num_heads)`.
    """

    @checked
    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        bias: bool = False,
        positions: Module | None = None,
        *,
        rng: init.Rng = None,
    ):
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if min(num_heads, num_kv_heads) < 1 or embed_dim % num_heads or num_heads % num_kv_heads:
            raise ValueError(
                f"GroupedQueryAttention: embed_dim {embed_dim} must be a multiple of num_heads "
                f"{num_heads}, and that of num_kv_heads {num_kv_heads}"
            )
        self.num_heads, self.num_kv_heads, rng = num_heads, num_kv_heads, init.generator(rng)
        shared = embed_dim // num_heads * num_kv_heads
        self.q_proj, self.k_proj, self.v_proj = (
            Linear(embed_dim, size, bias, rng=rng) for size in (embed_dim, shared, shared)
        )
        self.o_proj, self.positions = Linear(embed_dim, embed_dim, bias, rng=rng), positions

    def forward(self, x: Any, cache: KVCache | None = None) -> Any:
        """x (B, T, embed_dim), the positions after those in the cache, to the same shape."""
        T, before = x.shape[1], 0 if cache is None else cache.length
        q, k, v = (
            split_heads(part(x), heads)
            for part, heads in (
                (self.q_proj, self.num_heads),
                (self.k_proj, self.num_kv_heads),
                (self.v_proj, self.num_kv_heads),
            )
        )
        if self.positions is not None:
            q, k = (self.positions(part, np.arange(before, before + T)) for part in (q, k))
        if cache is not None:
            k, v = cache.extend(k, v)
        # token t attends to itself and all before it
        mask = np.tri(T, before + T, before, dtype=bool) if T > 1 else None
        return self.o_proj(merge_heads(F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)))
