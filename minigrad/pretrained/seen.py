"""Collects intermediate results on request: the hidden states between layers, and the attention weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .. import functional as F
from .. import ops
from ..tensor import Tensor

Kept = dict[str, list[Tensor]]
_KEPT: ContextVar[Kept | None] = ContextVar("kept", default=None)


@contextmanager
def kept(*names: str) -> Iterator[Kept]:
    """Keep "hidden_states", "attentions" or both while the block runs."""
    found: Kept = {name: [] for name in names}
    token = _KEPT.set(found)
    try:
        yield found
    finally:
        _KEPT.reset(token)


def is_kept(name: str = "") -> bool:
    """Whether anything, or what has that name, is being kept."""
    found = _KEPT.get()
    return found is not None and (not name or name in found)


def state(x: Any, part: str = "") -> Any:
    """Keep x as the next hidden state of a part of the model, such as "decoder_", and return it."""
    return _note("hidden_states", x, part)


def weights(x: Any, part: str = "") -> Any:
    """Keep x as the attention weights (B, heads, T, S) of the next layer, and return it."""
    return _note("attentions", x, part)


def _note(name, x, part):
    found = _KEPT.get()
    if found is not None and name in found:
        found.setdefault(part + name, []).append(x)
    return x


def attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    rng: Any = None,
) -> Any:
    """F.scaled_dot_product_attention; if the weights are kept, they are computed as its result for identity values."""
    options = {"scale": scale, "enable_gqa": enable_gqa}
    if is_kept("attentions"):
        one = Tensor(np.eye(k.shape[-2], dtype=np.float32), dtype=v.dtype, device=v.device)
        weights(
            F.scaled_dot_product_attention(
                q, k, ops.broadcast_to(one, (*k.shape[:-2], *one.shape)), mask, 0.0, is_causal, **options
            )
        )
    return F.scaled_dot_product_attention(q, k, v, mask, p, is_causal, rng=rng, **options)
