"""Weights as direction times length, and weights of spectral norm one (torch.nn.utils.parametrizations)."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...execution import no_grad
from ...ops.shape import axis_of, whole_number
from ...tensor import Tensor, as_array
from .. import init
from ..module import Buffer, Module
from .parametrize import register_parametrization


class _WeightNorm(Module):
    def __init__(self, dim: int | None):
        self.dim = dim

    def forward(self, g: Any, v: Any) -> Any:
        return v * (g / self._length(v))

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        return self._length(weight), weight

    def _length(self, v: Any) -> Any:
        others = tuple(i for i in range(len(v.shape)) if i != self.dim)
        return ops.norm(v) if self.dim is None else ops.norm(v, 2, others, True)


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Let the weight be g · v / ‖v‖, its lengths g and its direction v trained apart (Salimans & Kingma 2016).

    They are saved as `parametrizations.weight.original0` and `original1`, as by torch.

    Args:
        dim: the axis along which each slice has a length of its own (0: each output); None: one length for all.

    Raises:
        ValueError: the module has no such parameter, or it has no such axis.
    """
    weight = getattr(module, name, None)
    if weight is not None and dim is not None:
        dim = None if dim == -1 else axis_of("weight_norm", weight, dim)  # (-1 is torch's old word for None)
    return register_parametrization(module, name, _WeightNorm(dim))


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float, rng: init.Rng):
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim, eps
        if weight.ndim > 1:
            matrix, rng = self._matrix(weight.detach()), init.generator(rng)
            u, v = (Buffer(self._unit(Tensor(rng.standard_normal(n).astype(matrix.dtype))).data) for n in matrix.shape)
            self._u, self._v = u.to(weight.device), v.to(weight.device)
            self._iterate(matrix, 15)

    def _unit(self, vector: Any) -> Any:
        return vector / ops.maximum(ops.norm(vector), self.eps)

    def _matrix(self, weight: Any) -> Any:
        order = (self.dim, *(i for i in range(len(weight.shape)) if i != self.dim))
        return ops.flatten(ops.transpose(weight, order), 1)

    @no_grad()
    def _iterate(self, matrix: Any, times: int) -> None:
        """The power method, which turns u and v to the first singular vectors."""
        for _ in range(times):
            self._u.copy_(self._unit(ops.matmul(matrix, self._v)))
            self._v.copy_(self._unit(ops.matmul(self._u, matrix)))

    def forward(self, weight: Any) -> Any:
        if len(weight.shape) == 1:
            return self._unit(weight)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        u, v = (as_array(vector).copy() for vector in (self._u, self._v))
        return weight / ops.sum(u * ops.matmul(matrix, v))

    def right_inverse(self, value: Any) -> Any:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    *,
    rng: init.Rng = None,
) -> Module:
    """Divide the weight, as a matrix, by its largest singular value (Miyato et al. 2018).

    The value is estimated by the power method, which goes on by `n_power_iterations` each time the weight is read in
    training; its vectors are saved as `parametrizations.weight.0._u` and `_v`, as by torch, and drawn from `rng`.

    Args:
        dim: the axis of the outputs: 0, or 1 for transposed convolutions, unless told otherwise.

    Raises:
        ValueError: the module has no such parameter, no iteration is asked for, or the weight has no such axis.
    """
    whole_number("spectral_norm", "n_power_iterations", n_power_iterations, 1)
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"spectral_norm: {type(module).__name__} has no parameter {name!r}")
    dim = int(getattr(module, "transposed", False)) if dim is None else axis_of("spectral_norm", weight, dim)
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps, rng))
