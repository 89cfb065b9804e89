"""Attention: for each query a mean of values, weighted by how well their keys match it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, ops
from ..backend import is_float
from ..builtin import builtin
from ..ops.shape import check_flags
from ..primitive import definition
from ..tensor import as_array, shaped


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    rng: np.random.Generator | int | None = None,
) -> Any:
    """softmax(query keyᵀ · scale + mask) value: for each query a mean of the values (Vaswani et al. 2017, eq. 1).

    Args:
        query: (…, T, d).   key: (…, S, d).   value: (…, S, e).   The leading axes are the same.
        attn_mask: broadcastable to (…, T, S); booleans, True where attention is allowed, or floats, added to the
            scores and differentiated if they require a gradient.  A query that may attend to nothing gets zeros.
        is_causal: position t may attend to positions 0 … t only.
        scale: 1/√d by default.
        dropout_p: dropout on the attention weights, drawn from `rng`.  (Pass 0 when not training.)
        enable_gqa: query has n times the heads (axis -3) of key and value; each key head serves n consecutive query
            heads.

    Returns:
        (…, T, e).

    Raises:
        ValueError: the shapes do not match; the message says which.
        TypeError: the mask has an integer dtype, in which 1 could mean allowed or forbidden.
    """
    query, key, value = (shaped(x, "attention") for x in (query, key, value))
    query, key, value = (x if is_float(x.dtype) else ops.astype(x, "float32") for x in (query, key, value))
    if min(len(x.shape) for x in (query, key, value)) < 2:
        raise ValueError(
            f"attention: query (…, T, d), key (…, S, d) and value (…, S, e) are needed, these have "
            f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        )
    check_flags("scaled_dot_product_attention", is_causal=is_causal, enable_gqa=enable_gqa)
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"attention: query {tuple(query.shape)} and key {tuple(key.shape)} must agree in the last "
            f"axis, key and value {tuple(value.shape)} in the last but one"
        )
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        n, rest = divmod(query.shape[-3], key.shape[-3])
        if rest:
            raise ValueError(
                f"attention: the {query.shape[-3]} heads of the query are not a multiple of the "
                f"{key.shape[-3]} of the key, which they are to share"
            )
        key, value = (
            ops.reshape(
                ops.broadcast_to(ops.expand_dims(x, -3), (*x.shape[:-2], n, *x.shape[-2:])),
                (*query.shape[:-2], *x.shape[-2:]),
            )
            for x in (key, value)
        )
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        raise ValueError(
            f"attention: the leading axes of query {tuple(query.shape)}, key {tuple(key.shape)} and value "
            f"{tuple(value.shape)} must be the same (enable_gqa=True lets heads of the query share a key)"
        )
    scores = (*query.shape[:-1], key.shape[-2])
    if attn_mask is not None:
        attn_mask = shaped(attn_mask, "attention")
        if not getattr(attn_mask, "requires_grad", False):
            attn_mask = backend.of(as_array(query)).xp.asarray(as_array(attn_mask))
        if attn_mask.dtype.kind in "iu":
            raise TypeError(
                f"attention: a mask of dtype {attn_mask.dtype} is ambiguous: give booleans (True may be "
                "attended to), as in mask == 1, or floats to be added"
            )
        if attn_mask.dtype not in (bool, query.dtype):
            attn_mask = ops.astype(attn_mask, query.dtype)
        mismatch = any(m not in (1, n) for m, n in zip(attn_mask.shape[::-1], scores[::-1]))
        if mismatch or len(attn_mask.shape) > len(scores):
            raise ValueError(
                f"attention: a mask of shape {tuple(attn_mask.shape)} does not broadcast to the scores' {scores}"
            )
    keep = ops.keep_mask(query, scores, dropout_p, rng)
    scale = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else scale
    return _scaled_dot_product_attention(query, key, value, attn_mask, keep, dropout_p, scale, is_causal)


@builtin(name="scaled_dot_product_attention", in_float32="halves", autocast="half")
@definition
def _scaled_dot_product_attention(q, k, v, mask, /, keep, p, scale, is_causal):
    """Scaled dot-product attention for checked arguments; `keep` is the dropout mask, already drawn."""
    scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) * scale  # (…, T, S)
    if mask is not None:
        scores = ops.where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask
    if is_causal:
        scores = ops.where(backend.of(as_array(q)).xp.tri(*scores.shape[-2:], dtype=bool), scores, -math.inf)
    if mask is not None:  # a row where nothing is allowed becomes uniform, then 0
        possible = ops.any(scores != -math.inf, -1, True)
        scores = ops.where(possible, scores, 0)
    weights = ops.softmax(scores)
    if mask is not None:
        weights = ops.where(possible, weights, 0)
    if keep is not None:
        weights = ops.dropout(weights, keep, p)
    return ops.matmul(weights, v)


_scaled_dot_product_attention.in_symbols(
    q="scale · S k, with S = P · (g vᵀ - Σ P g vᵀ), P = softmax(scale · q kᵀ)", k="scale · Sᵀ q", v="Pᵀ g", mask="S"
)
