"""The plain layers: Linear, LayerNorm, Dropout and Flatten.

Names, arguments, defaults and weight layouts are torch's; `rng` says where first weights and dropout are drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import functional as F
from .. import ops
from ..ops.shape import axis_of
from . import init
from .arguments import checked
from .module import Module, Parameter


class Linear(Module):
    """y = x Wᵀ + b over the last axis: (…, in_features) to (…, out_features).

    `weight` is (out_features, in_features); it and `bias` are first drawn uniformly from ±1/√in_features.
    """

    @checked
    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: init.Rng = None):
        if in_features < 0 or out_features < 0:
            raise ValueError(
                f"Linear: in_features={in_features} and out_features={out_features} are sizes: give 0 or more"
            )
        self.in_features, self.out_features = in_features, out_features
        bound, rng = init.over_root(in_features), init.generator(rng)
        self.weight = Parameter(init.uniform_(init.empty(out_features, in_features), -bound, bound, rng=rng))
        self.bias = Parameter(init.uniform_(init.empty(out_features), -bound, bound, rng=rng)) if bias else None

    def forward(self, x: Any) -> Any:
        return F.linear(x, self.weight, self.bias)


def gelu_tanh(x: Any, bias: Any = None) -> Any:
    """GELU in its approximate form."""
    return F.gelu(x, "tanh", bias=bias)


def activated(layer: Module, activation: Callable, x: Any) -> Any:
    """activation(layer(x)); a GELU after a plain Linear adds its bias itself, to save a pass over memory."""
    if activation in (F.gelu, gelu_tanh) and type(layer) is Linear and layer.is_plain:
        return activation(F.linear(x, layer.weight), bias=layer.bias)
    return activation(layer(x))


class LayerNorm(Module):
    """Give each vector zero mean and unit variance, then scale and shift it (Ba et al. 2016).

    Args:
        normalized_shape: the size of the last axis, or of the last few, which are then normalised together.
        eps: added to the variance.
        elementwise_affine, bias: whether there is a `weight`, and with it a `bias`.

    `blend` (α, 1 by default) brings the layer in gradually: y = x + α (LN(x) - x).
    """

    @checked
    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ):
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.blend = eps, 1.0
        self.weight = Parameter(init.ones_(init.empty(*self.normalized_shape))) if elementwise_affine else None
        self.bias = Parameter(init.zeros_(init.empty(*self.normalized_shape))) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        y = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return y if self.blend == 1 else x + self.blend * (y - x)


class Dropout(Module):
    """In training, each entry is 0 with probability p and otherwise divided by 1 - p; in evaluation nothing happens."""

    @checked
    def __init__(self, p: float = 0.5, *, rng: init.Rng = None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p={p} is not a probability below 1: give 0 <= p < 1")
        self.p, self.rng = p, init.generator(rng)

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training, rng=self.rng)


class Dropout1d(Dropout):
    """In training, each channel of (N, C, L) is 0 with probability p and otherwise divided by 1 - p."""

    def forward(self, x: Any) -> Any:
        return F.dropout1d(x, self.p, self.training, rng=self.rng)


class Dropout2d(Dropout):
    """In training, each channel of (N, C, H, W) is 0 with probability p and otherwise divided by 1 - p."""

    def forward(self, x: Any) -> Any:
        return F.dropout2d(x, self.p, self.training, rng=self.rng)


class Dropout3d(Dropout):
    """In training, each channel of (N, C, D, H, W) is 0 with probability p and otherwise divided by 1 - p."""

    def forward(self, x: Any) -> Any:
        return F.dropout3d(x, self.p, self.training, rng=self.rng)


class AlphaDropout(Dropout):
    """Dropout that keeps a mean of 0 and a variance of 1, for networks with SELU."""

    def forward(self, x: Any) -> Any:
        return F.alpha_dropout(x, self.p, self.training, rng=self.rng)


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels of (N, C, …)."""

    def forward(self, x: Any) -> Any:
        return F.feature_alpha_dropout(x, self.p, self.training, rng=self.rng)


class Identity(Module):
    """x itself; takes any arguments, so that it can stand in any layer's place."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def forward(self, x: Any) -> Any:
        return x


class Unflatten(Module):
    """One axis cut into several: `Unflatten(1, (2, 3))` makes (N, 6) to (N, 2, 3); one size may be -1."""

    @checked
    def __init__(self, dim: int, unflattened_size: Sequence[int]):
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Any) -> Any:
        axis = axis_of("Unflatten", x, self.dim)
        known = math.prod(n for n in self.unflattened_size if n != -1)
        sizes = tuple(x.shape[axis] // (known or 1) if n == -1 else n for n in self.unflattened_size)
        if math.prod(sizes) != x.shape[axis] or self.unflattened_size.count(-1) > 1:
            raise ValueError(
                f"Unflatten: axis {axis} of {tuple(x.shape)}, {x.shape[axis]} long, is not {self.unflattened_size}"
            )
        return ops.reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


class Flatten(Module):
    """All axes from `start_dim` to `end_dim` made one: (N, …) to (N, ·)."""

    @checked
    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return ops.flatten(x, self.start_dim, self.end_dim)
