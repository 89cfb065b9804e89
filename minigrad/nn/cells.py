"""Recurrent cells: one step of an RNN, LSTM or GRU, for loops written by hand."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..tensor import Tensor
from . import init
from .arguments import checked
from .module import Module
from .recurrent import GRU, LSTM, RNN, Recurrent, shapes_of, weights_of


class _Cell(Module):
    """One step of a recurrent layer, for loops written by hand."""

    layer: type[Recurrent]

    @checked
    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, rng: init.Rng = None):
        self._take(self.layer(input_size, hidden_size, bias=bias, rng=rng), input_size, hidden_size)

    def _take(self, layer: Recurrent, input_size: int, hidden_size: int) -> None:
        """Take over the weights of a layer of one step."""
        self.input_size, self.hidden_size = input_size, hidden_size
        for name in shapes_of(self.layer.gates, input_size, hidden_size):
            setattr(self, name, getattr(layer, f"{name}_l0"))
        self._run = layer.run

    def forward(self, x: Any, state: Any = None) -> Any:
        """x (B, input_size) and the state (B, hidden_size), a pair (h, c) for an LSTM, to the next; B is optional."""
        x = x if isinstance(x, Tensor) else Tensor(x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} of input_size {self.input_size} was given {x.shape}: it takes "
                f"one step, (B, {self.input_size})"
            )
        pair, shape = self.layer.states == 2, (*x.shape[:-1], self.hidden_size)
        zero = ops.zeros(shape, x.dtype, device=x.device)
        first = (zero,) * self.layer.states if state is None else tuple(state) if pair else (state,)
        if len(first) != self.layer.states or any(tuple(part.shape) != shape for part in first):
            raise ValueError(
                f"{type(self).__name__} was given a state of shape "
                f"{', '.join(str(tuple(p.shape)) for p in first)}; for x {x.shape} it takes "
                f"{'(h, c), each' if pair else 'one'} of shape {shape}"
            )

        def row(part):
            return ops.reshape(part, (-1, part.shape[-1]))

        weights, first = weights_of(self, self.layer.gates, self.input_size), tuple(map(row, first))
        _, *last = self._run(ops.expand_dims(row(x), 0), *weights, first=first, mask=None)
        last = [ops.reshape(part, shape) for part in last]
        return tuple(last) if pair else last[0]


class LSTMCell(_Cell):
    """One step of an LSTM."""

    layer = LSTM


class GRUCell(_Cell):
    """One step of a GRU."""

    layer = GRU


class RNNCell(_Cell):
    """One step of a plain recurrent layer; `nonlinearity` is "tanh" or "relu"."""

    layer = RNN

    @checked
    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", *, rng: init.Rng = None
    ):
        self._take(RNN(input_size, hidden_size, nonlinearity=nonlinearity, bias=bias, rng=rng), input_size, hidden_size)
