"""Position encodings, without which attention does not depend on the order of the tokens."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from .. import backend, ops
from ..builtin import builtin
from ..primitive import definition
from ..tensor import Tensor, as_array
from . import init
from .arguments import checked
from .embeddings import Embedding
from .module import Module


class SinusoidalPositions(Module):
    """Adds sines and cosines of falling frequency (Vaswani et al. 2017, sec. 3.5) to x (B, T, dim), T ≤ max_len.

    Entry 2i of position t is sin(t / 10000^(2i/dim)), entry 2i + 1 the cosine.  Nothing here is trained or saved.
    """

    @checked
    def __init__(self, dim: int, max_len: int = 5000):
        if dim % 2:
            raise ValueError(
                f"SinusoidalPositions: dim {dim} is odd, but sines and cosines come in pairs: make it even"
            )
        angles = np.arange(max_len)[:, None] * 10000.0 ** (-np.arange(0, dim, 2) / dim)  # (max_len, dim / 2)
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
    """A trained bias for each head and distance, added to attention scores (Raffel et al. 2020): (1, heads, T, S).

    Small distances have a bucket each, larger ones share logarithmically growing buckets up to `max_distance`.
    `bidirectional` gives keys after the query buckets of their own; otherwise they all count as distance 0.
    """

    @checked
    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        *,
        rng: init.Rng = None,
    ):
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
    """Rotates pairs of features by an angle proportional to the position (Su et al. 2021).

    The product of a query and a key then depends on the distance between them.

    The pairs are (i, i + dim/2), the half-split form of LLaMA's checkpoints; `base` sets how slowly the last pair
    turns. `scaling`, rope_scaling in a checkpoint's config.json, slows the pairs down so that longer texts can be
    read: {"rope_type": "linear", "factor": f} turns all of them 1/f as fast; "llama3" and "yarn" only the slow ones,
    "longrope" each by a number of its own, "dynamic" the more, the longer the text is; see `scaled_frequencies`.
    """

    def __init__(self, dim: int, base: float = 10000.0, scaling: dict[str, Any] | None = None):
        if dim % 2:
            raise ValueError(f"RotaryPositions: dim {dim} is odd, but features turn in pairs: make it even")
        self.dim, self.base, self.scaling = dim, base, scaling or {}
        self.frequencies, self.amplitude = scaled_frequencies(dim, base, self.scaling)  # (dim / 2,), radians a position

    def forward(self, x: Any, positions: Any = None) -> Any:
        """x (…, T, dim) at `positions` (T,), or (B, T) for x (B, heads, T, dim); 0 … T - 1 by default."""
        positions = np.arange(x.shape[-2]) if positions is None else np.asarray(positions)
        return rotate(x, *self.tables(positions, x.dtype, _device(x)))

    def tables(self, positions: np.ndarray, dtype: Any = np.float32, device: str = "cpu") -> tuple[Tensor, Tensor]:
        """Cosines and sines for `rotate`: (T, dim) for positions (T,), (B, 1, T, dim) for (B, T)."""
        positions = positions[:, None] if positions.ndim == 2 else positions  # the same for every head
        frequencies, amplitude = self.frequencies, self.amplitude
        if self.scaling.get("rope_type", self.scaling.get("type")) in ("dynamic", "longrope"):
            frequencies, amplitude = scaled_frequencies(
                self.dim, self.base, self.scaling, int(positions.max(initial=-1)) + 1
            )
        angles = positions[..., None].astype(np.float32) * frequencies  # (…, T, dim / 2)
        cos, sin = (
            Tensor(np.concatenate([f(angles) * np.float32(amplitude)] * 2, -1), dtype=dtype, device=device)
            for f in (np.cos, np.sin)
        )
        return cos, sin


@builtin(in_float32="halves and integers")
@definition
def rotate(x, cos, sin, /):
    """Each pair (i, i + dim/2) of the last axis of x turned by the angle whose cosine and sine are given."""
    first, second = ops.split(x, x.shape[-1] // 2, axis=-1)
    return x * cos + ops.concatenate([-second, first], -1) * sin


rotate.in_symbols(x="g turned back", cos="g · x", sin="g · x turned by 90°")


SCALINGS = {  # the entries that each kind requires
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor", "max_position_embeddings"),
    "yarn": ("factor", "original_max_position_embeddings"),
    "longrope": ("short_factor", "long_factor", "original_max_position_embeddings"),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
}
LISTS = ("short_factor", "long_factor")  # the others are numbers, and so are those that a kind may have:
OPTIONAL = ("beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim")


def scaled_frequencies(dim: int, base: float, scaling: dict[str, Any], length: int = 0) -> tuple[np.ndarray, float]:
    """The frequency of each pair, (dim / 2,) float32 radians a position, in a text of `length`; and the amplitude.

    The amplitude multiplies the cosines and sines.

    With S the `original_max_position_embeddings` and f the `factor`:

    "linear" (Chen et al. 2023): f times as slow.  "dynamic": in texts longer than L = `max_position_embeddings` a
    larger base, by (f · length / L - f + 1)^(dim / (dim - 2)).  "llama3" (Grattafiori et al. 2024): pairs that turn at
    least `high_freq_factor` times within S stay as they are, those that turn at most `low_freq_factor` times become f
    times as slow, and in between the two are mixed.  "yarn" (Peng et al. 2023): alike, between `beta_fast` and
    `beta_slow` turns, and mixed by the pair's number.  "longrope" (Ding et al. 2024): each pair is slower by its
    number in `short_factor` or, in texts longer than S, `long_factor`.
    """
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in SCALINGS:
        raise ValueError(f"rope_type {kind!r} is not known: it is one of {', '.join(map(repr, SCALINGS))}")
    if missing := [name for name in SCALINGS[kind] if scaling.get(name) is None]:
        raise ValueError(
            f"rope_type {kind!r} needs {', '.join(missing)} as well: add what the checkpoint's config.json says"
        )
    for name in (*SCALINGS[kind], *OPTIONAL):
        value = scaling.get(name)
        if name not in LISTS and value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise ValueError(f"{name} of the rotary positions is {value!r:.80}: expected a number")
    if kind == "dynamic":
        factor, longest = scaling["factor"], scaling["max_position_embeddings"]
        base = base * (factor * max(length, longest) / longest - (factor - 1)) ** (dim / (dim - 2))
    frequencies = np.float32(base) ** (-np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim))
    if kind in ("default", "dynamic"):
        return frequencies, 1.0
    if kind == "linear":
        return (frequencies / scaling["factor"]).astype(np.float32), 1.0
    if kind == "longrope":
        return _longrope(frequencies, scaling, length)
    keep, amplitude = _llama3(frequencies, scaling) if kind == "llama3" else _yarn(dim, base, scaling)
    return (keep * frequencies + (1 - keep) * frequencies / scaling["factor"]).astype(np.float32), amplitude


def _longrope(frequencies: np.ndarray, scaling: dict[str, Any], length: int) -> tuple[np.ndarray, float]:
    """The frequencies divided by the factors of the checkpoint, and the amplitude."""
    original: int = scaling["original_max_position_embeddings"]
    slower = np.asarray(scaling["long_factor" if length > original else "short_factor"], np.float32)
    if slower.shape != frequencies.shape:
        raise ValueError(
            f"short_factor and long_factor must have {len(frequencies)} numbers each, one for each "
            f"pair, not {len(slower)}"
        )
    factor = scaling.get("factor") or scaling.get("max_position_embeddings", original) / original
    usual = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return frequencies / slower, _given(scaling, "attention_factor", usual)


def _llama3(frequencies: np.ndarray, scaling: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The share (dim / 2,) of each frequency that is kept, and the amplitude."""
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    return np.clip((turns - low) / (high - low), 0, 1), 1.0


def _yarn(dim: int, base: float, scaling: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The share (dim / 2,) of each frequency that is kept, and the amplitude."""
    original: int = scaling["original_max_position_embeddings"]
    low, high = (
        dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))  # the pair with these turns
        for turns in (_given(scaling, "beta_fast", 32), _given(scaling, "beta_slow", 1))
    )
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    keep = 1 - np.clip((np.arange(dim // 2, dtype=np.float32) - low) / (high - low or 0.001), 0, 1)
    factor, scale, scale_all = scaling["factor"], scaling.get("mscale"), scaling.get("mscale_all_dim")
    usual = _sharpness(factor, scale) / _sharpness(factor, scale_all) if scale and scale_all else _sharpness(factor)
    return keep, _given(scaling, "attention_factor", usual)


def _sharpness(factor: float, scale: float = 1.0) -> float:
    return 0.1 * scale * math.log(factor) + 1 if factor > 1 else 1.0


def _given(scaling: dict[str, Any], name: str, usual: float) -> float:
    return usual if scaling.get(name) is None else scaling[name]


def _rows(table: Any, length: int, name: str) -> Any:
    if length > table.shape[0]:
        raise ValueError(
            f"{name}: a sequence of {length} is longer than max_len={table.shape[0]}: cut it, or make max_len larger"
        )
    return table[:length]


def _device(x: Any) -> str:
    return backend.of(as_array(x)).name
