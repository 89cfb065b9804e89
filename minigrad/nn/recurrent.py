"""Recurrent layers: RNN, LSTM and GRU, which read a sequence step by step and keep a state.

Names, gate orders and weight layouts are torch's.  The definitions say what a layer means, one step after the other;
the kernels under the same names process a whole sequence at once.
"""

from __future__ import annotations

import math
from typing import Any

from .. import backend, ops
from .. import functional as F
from ..builtin import builtin
from ..primitive import definition
from ..tensor import Tensor, as_array
from . import init
from .arguments import checked
from .module import Module, Parameter


@builtin(name="lstm", in_float32="halves and integers", autocast="half")
@definition
def _lstm(gates, weight, h, c, /, mask):
    """gates (T, B, 4H), h and c (B, H), to (T + 1, B, H): h after each step, then the last c."""
    states = []
    for t in range(gates.shape[0]):
        i, f, g, o = ops.split(gates[t] + F.linear(h, weight), h.shape[-1], axis=1)
        new_c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        new_h = ops.sigmoid(o) * ops.tanh(new_c)
        if mask is not None:
            new_h, new_c = (ops.where(mask[t][:, None], new, old) for new, old in ((new_h, h), (new_c, c)))
        h, c = new_h, new_c
        states.append(h)
    return ops.stack([*states, c])


_lstm.in_symbols("back through the steps in time, the last first")


@builtin(name="lstm_projected", in_float32="halves and integers", autocast="half")
@definition
def _lstm_projected(gates, weight, projection, h, c, /, mask):
    """gates (T, B, 4H), h (B, P) and c (B, H), to (T, B, P + H): h, which is projected, and c after each step."""
    states = []
    for t in range(gates.shape[0]):
        i, f, g, o = ops.split(gates[t] + F.linear(h, weight), c.shape[-1], axis=1)
        new_c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        new_h = F.linear(ops.sigmoid(o) * ops.tanh(new_c), projection)
        if mask is not None:
            new_h, new_c = (ops.where(mask[t][:, None], new, old) for new, old in ((new_h, h), (new_c, c)))
        h, c = new_h, new_c
        states.append(ops.concatenate([h, c], 1))
    return ops.stack(states)


@builtin(name="gru", in_float32="halves and integers", autocast="half")
@definition
def _gru(gates, weight, bias, h, /, mask):
    """gates (T, B, 3H), h (B, H), to the states (T, B, H)."""
    states = []
    for t in range(gates.shape[0]):
        r, z, n = ops.split(gates[t], h.shape[-1], axis=1)
        again_r, again_z, again_n = ops.split(F.linear(h, weight, bias), h.shape[-1], axis=1)
        r, z = ops.sigmoid(r + again_r), ops.sigmoid(z + again_z)
        n = ops.tanh(n + r * again_n)
        new = n + z * (h - n)
        h = new if mask is None else ops.where(mask[t][:, None], new, h)
        states.append(h)
    return ops.stack(states)


_gru.in_symbols("back through the steps in time, the last first")


@builtin(name="rnn", in_float32="halves and integers", autocast="half")
@definition
def _rnn(gates, weight, h, /, mask, nonlinearity):
    """gates (T, B, H), h (B, H), to the states (T, B, H)."""
    act, states = ops.tanh if nonlinearity == "tanh" else ops.relu, []
    for t in range(gates.shape[0]):
        new = act(gates[t] + F.linear(h, weight))
        h = new if mask is None else ops.where(mask[t][:, None], new, h)
        states.append(h)
    return ops.stack(states)


_rnn.in_symbols("back through the steps in time, the last first")


def _gates(x, weight, bias_ih, bias_hh):
    """The contribution of the input and both biases to the gates of all steps."""
    return F.linear(x, weight, None if bias_ih is None else bias_ih + bias_hh)


def shapes_of(gates: int, inputs: int, hidden_size: int, proj_size: int = 0) -> dict[str, tuple[int, ...]]:
    """The shape of each weight and bias of one layer in one direction."""
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (gates * hidden_size, inputs),
        "weight_hh": (gates * hidden_size, proj_size or hidden_size),
        "bias_ih": (gates * hidden_size,),
        "bias_hh": (gates * hidden_size,),
    }
    return {**shapes, "weight_hr": (proj_size, hidden_size)} if proj_size else shapes


def weights_of(module: Any, gates: int, inputs: int, suffix: str = "") -> list[Tensor | None]:
    """A layer's weights and biases, which may have been replaced since the layer was made.

    Raises:
        ValueError: one of them has another shape than the layer's sizes ask for.
    """
    shapes = shapes_of(gates, inputs, module.hidden_size, getattr(module, "proj_size", 0))
    found = [getattr(module, name + suffix) for name in shapes]
    for (name, shape), given in zip(shapes.items(), found):
        if given is not None and given.shape != shape:
            raise ValueError(
                f"{type(module).__name__}: {name}{suffix} has shape {given.shape}, but with {inputs} "
                f"input features and hidden_size={module.hidden_size} it must have shape {shape}"
            )
    return found


class Recurrent(Module):
    """The base of RNN, LSTM and GRU: weights for each layer and direction, and the loop over them."""

    gates: int  # the gates of one step have gates · H entries
    proj_size = 0  # of an LSTM whose h is projected
    states: int  # the number of arrays in the state: 1 (h) or 2 (h and c)

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rng: init.Rng = None,
    ):
        if min(hidden_size, num_layers) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"{type(self).__name__}: hidden_size={hidden_size} and num_layers={num_layers} must be "
                f"1 or more, dropout={dropout} at least 0 and below 1"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first = batch_first
        self.dropout, self.bidirectional, self.rng = dropout, bidirectional, init.generator(rng)
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                for name, shape in shapes_of(self.gates, self._inputs(layer), hidden_size, self.proj_size).items():
                    drawn = (
                        Parameter(init.uniform_(init.empty(*shape), -bound, bound, rng=self.rng))
                        if bias or name.startswith("weight")
                        else None
                    )
                    setattr(self, f"{name}{suffix}", drawn)

    @property
    def directions(self) -> int:
        """2 for a layer that reads both ways, else 1."""
        return 2 if self.bidirectional else 1

    def _inputs(self, layer: int) -> int:
        """How many features a layer reads: the input's, or those of the layer before it."""
        return (self.proj_size or self.hidden_size) * self.directions if layer else self.input_size

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    def run(self, x, weight_ih, weight_hh, bias_ih, bias_hh, *projection, first, mask) -> tuple:
        """What one layer does in one direction: h at each step, then the parts of the last state."""
        raise NotImplementedError

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """Read the sequences x, (T, B, input_size), or (B, T, input_size) if batch_first; without B, one sequence.

        Args:
            state: the first state (h, or (h, c) for an LSTM), each (num_layers · directions, B, hidden_size); zeros by
                default.
            lengths: (B,) how many steps of each sequence are real; the rest is padding, which changes nothing and gives
                zeros.  (What torch does with pack_padded_sequence.)  Those on a GPU stay there.

        Returns:
            (the last layer's h at each step, (T, B, directions · hidden_size); the state after the last step, as
            `state`).
        """
        x = x if isinstance(x, Tensor) else Tensor(x)
        single = x.ndim == 2
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} of input_size {self.input_size} was given {x.shape}: it takes "
                f"(T, B, {self.input_size}), or (B, T, {self.input_size}) with batch_first=True"
            )
        if single:
            x = ops.expand_dims(x, 1)
        elif self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        T, B, _ = x.shape
        if not T:
            raise ValueError(f"{type(self).__name__} was given a sequence of no steps: it needs at least one")
        mask = None if lengths is None else self._mask(lengths, T, B, x)
        if mask is not None:
            x = ops.where(mask[..., None], x, 0)  # (a nan there would reach the weights' gradients: 0 · nan is nan)
        first = self._first(state, B, single, x)  # [(h, c), …], one for each layer and direction
        last = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = F.dropout(x, self.dropout, rng=self.rng)
            outs = []
            for suffix in self._suffixes(layer):
                back = suffix.endswith("reverse")
                real = mask[::-1] if back and mask is not None else mask
                weights = weights_of(self, self.gates, self._inputs(layer), suffix)
                h, *final = self.run(x[::-1] if back else x, *weights, first=first[len(last)], mask=real)
                last.append(tuple(final))
                h = h if real is None else h * real[..., None]
                outs.append(h[::-1] if back else h)
            x = outs[0] if len(outs) == 1 else ops.concatenate(outs, 2)
        final = [ops.stack(parts) for parts in zip(*last, strict=True)]
        if single:
            x, final = ops.squeeze(x, 1), [ops.squeeze(part, 1) for part in final]
        elif self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        return x, tuple(final) if self.states == 2 else final[0]

    def _mask(self, lengths: Any, T: int, B: int, x: Tensor) -> Any:
        """(T, B) booleans: is this step real?"""
        lengths = as_array(lengths)
        here, there = backend.of(lengths), backend.of(x.data)

        def refuse():
            raise ValueError(
                f"{type(self).__name__}: lengths must be {B} whole numbers from 0 to {T}, one for each "
                f"sequence; these are {lengths.tolist()}"
            )

        if lengths.shape != (B,) or lengths.dtype.kind not in "iu":
            refuse()
        here.check(lengths, 0, T, refuse)
        return there.xp.arange(T)[:, None] < (lengths if here is there else there.xp.asarray(here.to_numpy(lengths)))

    def _first(self, state: Any, B: int, single: bool, x: Tensor) -> list[tuple]:
        """The first state of each layer and direction, a tuple of (B, H) each."""
        count = self.num_layers * self.directions
        shapes = [(count, B, self.proj_size or self.hidden_size), (count, B, self.hidden_size)][: self.states]
        if state is None:
            return [tuple(ops.zeros(shape[1:], x.dtype, device=x.device) for shape in shapes)] * count
        given = state if self.states == 2 else (state,)
        if self.states == 2 and not (isinstance(given, (tuple, list)) and len(given) == 2):
            raise ValueError(
                f"{type(self).__name__}: a first state is a pair (h, c), two arrays of shape "
                f"{' and '.join(map(str, dict.fromkeys(shapes)))}: (num_layers · directions, batch, hidden_size)"
            )
        parts = [part if isinstance(part, Tensor) else Tensor(as_array(part)) for part in given]
        parts = [ops.expand_dims(part, 1) for part in parts] if single else parts
        for part, shape in zip(parts, shapes, strict=True):
            if part.shape != shape:
                raise ValueError(
                    f"{type(self).__name__}: a first state of shape {part.shape} was given, expected "
                    f"{shape}: (num_layers · directions, batch, hidden_size)"
                )
        return [tuple(part[i] for part in parts) for i in range(count)]


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997): c ← f·c + i·g, h = o·tanh(c); gate order i, f, g, o.

    With a `proj_size`, less than hidden_size, h is multiplied by a matrix of (proj_size, hidden_size), `weight_hr_l0`
    and so on, after each step, and has proj_size entries (Sak et al. 2014).
    """

    gates, states = 4, 2

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        rng: init.Rng = None,
    ):
        if proj_size:
            if proj_size >= hidden_size:
                raise ValueError(f"LSTM: proj_size={proj_size} must be less than hidden_size={hidden_size}")
            self.proj_size = proj_size
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng=rng)

    def run(self, x, weight_ih, weight_hh, bias_ih, bias_hh, *projection, first, mask):
        (h, c), gates = first, _gates(x, weight_ih, bias_ih, bias_hh)
        if projection:
            states = _lstm_projected(gates, weight_hh, projection[0], h, c, mask)
            return states[..., : self.proj_size], states[-1, :, : self.proj_size], states[-1, :, self.proj_size :]
        states = _lstm(gates, weight_hh, h, c, mask)
        return states[:-1], states[-2], states[-1]


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014): h ← (1 - z)·n + z·h; gates in the order r, z, n."""

    gates, states = 3, 1

    def run(self, x, weight_ih, weight_hh, bias_ih, bias_hh, *projection, first, mask):
        (h,) = first
        states = _gru(F.linear(x, weight_ih, bias_ih), weight_hh, bias_hh, h, mask)
        return states, states[-1]


class RNN(Recurrent):
    """A plain recurrent layer (Elman 1990): h ← tanh(W x + b + W' h + b'), or relu."""

    gates, states = 1, 1

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rng: init.Rng = None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'RNN: nonlinearity {nonlinearity!r} is not known: type "tanh" or "relu"')
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng=rng)

    def run(self, x, weight_ih, weight_hh, bias_ih, bias_hh, *projection, first, mask):
        (h,) = first
        states = _rnn(_gates(x, weight_ih, bias_ih, bias_hh), weight_hh, h, mask, self.nonlinearity)
        return states, states[-1]
