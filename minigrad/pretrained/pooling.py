"""One vector for a text, of those of its tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, ops
from ..tensor import Tensor
from .inputs import as_given, host_array

POOLINGS = ("mean", "cls", "max")


def pooled(x: Tensor, attention_mask: Any, pooling: str = "mean", normalize: bool = True) -> Tensor:
    """The vectors (B, D) of texts, made of those of their tokens (B, T, D), where the mask (B, T) is not 0.

    Args:
        pooling: "mean" over the tokens, "cls" for the first one's, or "max" in each dimension.
        normalize: divide each by its length, so that their products are cosines.

    Raises ValueError for another pooling.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; expected one of {', '.join(map(repr, POOLINGS))}")
    if pooling == "cls":
        first = host_array(attention_mask).argmax(1)  # after padding on the left, if there is any
        y = x[np.arange(len(first)), first]
    else:
        mask = backend.of(x.data).xp.asarray(as_given(attention_mask)).astype(x.dtype)[..., None]
        y = (x * mask).sum(1) / mask.sum(1) if pooling == "mean" else ops.where(mask > 0, x, -np.inf).max(1)
    return y / ops.sqrt((y * y).sum(-1, keepdims=True)) if normalize else y
