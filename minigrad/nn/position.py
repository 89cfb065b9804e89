"""Where a token stands: attention alone cannot tell, so a position is added to it, or turned into it, or counted beside it."""
from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from .. import ops
from ..tensor import Tensor
from . import init
from .arguments import checked
from .layers import Embedding
from .module import Module


class SinusoidalPositions(Module):
    """Adds sines and cosines of falling frequency (Vaswani et al. 2017, sec. 3.5): (B, T, dim) to the same, T ≤ max_len.

    Entry 2i of position t is sin(t / 10000^(2i/dim)), entry 2i + 1 the cosine.  Nothing here is trained or saved.
    """
    @checked
    def __init__(self, dim: int, max_len: int = 5000):
        if dim % 2:
            raise ValueError(f"SinusoidalPositions: dim {dim} is odd, but sines and cosines come in pairs: make it even")
        angles = np.arange(max_len)[:, None] * 10000.0 ** (-np.arange(0, dim, 2) / dim)        # (max_len, dim / 2)
        self.table = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(max_len, dim).astype(np.float32)

    def forward(self, x: Any) -> Any:
        return x + Tensor(_rows(self.table, x.shape[-2], type(self).__name__), dtype=x.dtype, device=_device(x))


class LearnedPositions(Module):
    """Adds a trained vector for each position (as BERT and GPT-2 do): (B, T, dim) to the same, T ≤ max_len."""
    @checked
    def __init__(self, max_len: int, dim: int, *, rng: init.Rng = None):
        self.embedding = Embedding(max_len, dim, rng=rng)

    def forward(self, x: Any) -> Any:
        return x + _rows(self.embedding.weight, x.shape[-2], type(self).__name__)


class RelativePositionBias(Embedding):
    """A trained number for each head and each distance, to add to attention's scores (Raffel et al. 2020, T5): (1, heads, T, S).

    Small distances have a bucket each, larger ones share logarithmically growing buckets up to `max_distance`.
    `bidirectional` gives what lies ahead buckets of its own; else it all counts as distance 0.
    """
    @checked
    def __init__(self, num_heads: int, num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True,
                 *, rng: init.Rng = None):
        super().__init__(num_buckets, num_heads, rng=rng)
        self.num_buckets, self.max_distance, self.bidirectional = num_buckets, max_distance, bidirectional

    def forward(self, T: int, S: int, offset: int = 0) -> Tensor:
        """Queries at offset … offset + T - 1, keys at 0 … S - 1."""
        distance = np.arange(S)[None] - (np.arange(T)[:, None] + offset)
        return ops.transpose(super().forward(self.buckets(distance)), (2, 0, 1))[None]

    def buckets(self, distance: np.ndarray) -> np.ndarray:
        """The bucket of each distance, key minus query."""
        n, first = self.num_buckets, 0
        if self.bidirectional:
            n //= 2
            first = np.where(distance > 0, n, 0)
            distance = np.abs(distance)
        else:
            distance = np.maximum(-distance, 0)
        exact = n // 2
        far = exact + np.log(np.maximum(distance, 1) / exact) / math.log(self.max_distance / exact) * (n - exact)
        return first + np.where(distance < exact, distance, np.minimum(far.astype(np.int64), n - 1))


class RotaryPositions(Module):
    """Turns each pair of features by an angle that grows with the position (Su et al. 2021), so query · key depends on distance.

    The pairs are (i, i + dim/2), the half-split form of LLaMA's checkpoints; `base` sets how slowly the last pair turns.
    `scaling`, rope_scaling in a checkpoint's config.json, slows the pairs down so that longer texts can be read:
    {"rope_type": "linear", "factor": f} turns all of them 1/f as fast, {"rope_type": "llama3", …} only the slow ones.
    """
    @checked
    def __init__(self, dim: int, base: float = 10000.0, scaling: dict[str, Any] | None = None):
        if dim % 2:
            raise ValueError(f"RotaryPositions: dim {dim} is odd, but features turn in pairs: make it even")
        if isinstance(base, bool) or not isinstance(base, Real) or not 0 < base < math.inf:
            raise ValueError(f"RotaryPositions: base, or rope_theta, is {base!r}; expected a finite number above 0")
        self.dim, self.base = dim, base
        frequencies = np.float32(base) ** (-np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim))
        self.frequencies = _scaled(frequencies, scaling or {}).astype(np.float32)              # (dim / 2,), radians a position

    def forward(self, x: Any, positions: Any = None) -> Any:
        """x (…, T, dim) at `positions` (T,), or (B, T) for x (B, heads, T, dim); 0 … T - 1 by default."""
        positions = np.arange(x.shape[-2]) if positions is None else np.asarray(positions)
        return rotate(x, *self.tables(positions, x.dtype, _device(x)))

    def tables(self, positions: np.ndarray, dtype: Any = np.float32, device: str = "cpu") -> tuple[Tensor, Tensor]:
        """Cosines and sines for `rotate`: (T, dim) for positions (T,), (B, 1, T, dim) for (B, T)."""
        positions = positions[:, None] if positions.ndim == 2 else positions   # the same for every head
        angles = positions[..., None].astype(np.float32) * self.frequencies     # (…, T, dim / 2)
        cos, sin = (Tensor(np.concatenate([f(angles)] * 2, -1), dtype=dtype, device=device) for f in (np.cos, np.sin))
        return cos, sin


def rotate(x: Any, cos: Any, sin: Any) -> Any:
    """Each pair (i, i + dim/2) of the last axis of x turned by the angle whose cosine and sine are given."""
    first, second = ops.split(x, x.shape[-1] // 2, axis=-1)
    return x * cos + ops.concatenate([-second, first], -1) * sin


def _scaled(frequencies: np.ndarray, scaling: dict[str, Any]) -> np.ndarray:
    """Frequencies slowed down as a checkpoint says.

    "llama3" (Grattafiori et al. 2024): pairs that turn at least `high_freq_factor` times within the
    `original_max_position_embeddings` stay as they are, those that turn at most `low_freq_factor` times become `factor` times
    as slow, and in between the two are mixed.
    """
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return frequencies
    if kind not in ("linear", "llama3"):
        raise ValueError(f"rope_type {kind!r} is not known: it is 'default', 'linear' or 'llama3'")
    needed = {"linear": ["factor"],
              "llama3": ["factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"]}[kind]
    if missing := [name for name in needed if name not in scaling]:
        raise ValueError(f"rope_type {kind!r} needs {', '.join(missing)} as well: add what the checkpoint's config.json says")
    for name in needed:
        if isinstance(scaling[name], bool) or not isinstance(scaling[name], Real) or not 0 < scaling[name] < math.inf:
            raise ValueError(f"rope_type {kind!r}: {name} is {scaling[name]!r}; expected a finite number above 0")
    slow = frequencies / scaling["factor"]
    if kind == "linear":
        return slow
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    if not low < high:
        raise ValueError(f"rope_type {kind!r}: low_freq_factor is {low} and high_freq_factor {high}; expected the second to be "
                         "larger")
    keep = np.clip((turns - low) / (high - low), 0, 1)
    return keep * frequencies + (1 - keep) * slow


def _rows(table: Any, length: int, name: str) -> Any:
    if length > table.shape[0]:
        raise ValueError(f"{name}: a sequence of {length} is longer than max_len={table.shape[0]}: "
                         "cut it, or make max_len larger")
    return table[:length]


def _device(x: Any) -> str:
    return x.device if isinstance(x, Tensor) else "cpu"
