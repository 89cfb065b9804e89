"""Activations as modules that keep their options; `minigrad.functional` says what each computes.

Names, arguments and defaults are torch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from . import init
from .arguments import checked
from .module import Module, Parameter


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return F.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6)."""

    def forward(self, x: Any) -> Any:
        return F.relu6(x)


class LeakyReLU(Module):
    """x where it is positive, negative_slope · x where it is not."""

    @checked
    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return F.leaky_relu(x, self.negative_slope)


class GELU(Module):
    """x Φ(x); `approximate` is "none" (the erf form) or "tanh"."""

    @checked
    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return F.gelu(x, self.approximate)


class SiLU(Module):
    """x · sigmoid(x)."""

    def forward(self, x: Any) -> Any:
        return F.silu(x)


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)."""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""

    @checked
    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Any:
        return F.softplus(x, self.beta, self.threshold)


class Softmax(Module):
    """exp(x), scaled to sum to one along `dim`."""

    @checked
    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.softmax(x, self.dim)


class LogSoftmax(Module):
    """log(softmax(x)) along `dim`."""

    @checked
    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.log_softmax(x, self.dim)


class Softmin(Module):
    """exp(-x), scaled to sum to one along `dim`."""

    @checked
    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.softmin(x, self.dim)


class Softmax2d(Module):
    """exp(x), scaled to sum to one over the channels: (N, C, H, W) or (C, H, W)."""

    def forward(self, x: Any) -> Any:
        if len(x.shape) not in (3, 4):
            raise ValueError(f"Softmax2d takes (N, C, H, W) or (C, H, W), but was given {tuple(x.shape)}")
        return F.softmax(x, -3)


class PReLU(Module):
    """x where it is positive, weight · x where it is not: one learned `weight`, or one for each channel (axis 1)."""

    @checked
    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x: Any) -> Any:
        return F.prelu(x, self.weight)


class ELU(Module):
    """x where it is positive, alpha · (eˣ - 1) where it is not."""

    @checked
    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return F.elu(x, self.alpha)


class CELU(Module):
    """x where it is positive, alpha · (exp(x / alpha) - 1) where it is not."""

    @checked
    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return F.celu(x, self.alpha)


class SELU(Module):
    """The scaled ELU that keeps mean 0 and variance 1."""

    def forward(self, x: Any) -> Any:
        return F.selu(x)


class Mish(Module):
    """x · tanh(softplus(x))."""

    def forward(self, x: Any) -> Any:
        return F.mish(x)


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: Any) -> Any:
        return F.hardsigmoid(x)


class Hardswish(Module):
    """x · hardsigmoid(x)."""

    def forward(self, x: Any) -> Any:
        return F.hardswish(x)


class Hardtanh(Module):
    """x held between min_val and max_val."""

    @checked
    def __init__(self, min_val: float = -1.0, max_val: float = 1.0):
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Any:
        return F.hardtanh(x, self.min_val, self.max_val)


class LogSigmoid(Module):
    """log(sigmoid(x))."""

    def forward(self, x: Any) -> Any:
        return F.logsigmoid(x)


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, x: Any) -> Any:
        return F.softsign(x)


class Softshrink(Module):
    """x moved towards 0 by lambd, but not beyond it."""

    @checked
    def __init__(self, lambd: float = 0.5):
        self.lambd = lambd

    def forward(self, x: Any) -> Any:
        return F.softshrink(x, self.lambd)


class Hardshrink(Module):
    """x where it is further than lambd from 0, else 0."""

    @checked
    def __init__(self, lambd: float = 0.5):
        self.lambd = lambd

    def forward(self, x: Any) -> Any:
        return F.hardshrink(x, self.lambd)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, x: Any) -> Any:
        return F.tanhshrink(x)


class Threshold(Module):
    """x where it is above the threshold, else `value`."""

    @checked
    def __init__(self, threshold: float, value: float):
        self.threshold, self.value = threshold, value

    def forward(self, x: Any) -> Any:
        return F.threshold(x, self.threshold, self.value)


class GLU(Module):
    """a · sigmoid(b), with a and b the two halves of x along `dim`."""

    @checked
    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.glu(x, self.dim)


class RReLU(Module):
    """x where it is positive, a · x where it is not, a drawn for each entry in training, from lower to upper."""

    @checked
    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, *, rng: init.Rng = None):
        self.lower, self.upper, self.rng = lower, upper, init.generator(rng)

    def forward(self, x: Any) -> Any:
        return F.rrelu(x, self.lower, self.upper, self.training, rng=self.rng)
