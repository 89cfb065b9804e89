"""Layers of two inputs: their cosine, their distance, and a bilinear map of both."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from . import init
from .arguments import checked
from .module import Module, Parameter


class CosineSimilarity(Module):
    """The cosine of the angle between two inputs, which are broadcast, along `dim`."""

    @checked
    def __init__(self, dim: int = 1, eps: float = 1e-8):
        self.dim, self.eps = dim, eps

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of the difference of two inputs, (N, D) each, to (N,)."""

    @checked
    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
        if p < 0:
            raise ValueError(f"PairwiseDistance: p={p} is no norm: give 0 or more")
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class Bilinear(Module):
    """x1ᵀ W x2 + b for each output: (…, in1_features) and (…, in2_features) to (…, out_features).

    `weight` is (out_features, in1_features, in2_features); it and `bias` are drawn uniformly from ±1/√in1_features.
    """

    @checked
    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, *, rng: init.Rng = None
    ):
        if in1_features < 1:
            raise ValueError(f"Bilinear: in1_features={in1_features} must be 1 or more")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        bound, rng = 1 / math.sqrt(in1_features), init.generator(rng)
        weight = init.empty(out_features, in1_features, in2_features)
        self.weight = Parameter(init.uniform_(weight, -bound, bound, rng=rng))
        self.bias = Parameter(init.uniform_(init.empty(out_features), -bound, bound, rng=rng)) if bias else None

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.bilinear(x1, x2, self.weight, self.bias)
