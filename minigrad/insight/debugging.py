"""`with mg.debug():` finds silent faults: arrays modified behind the tape's back, the op that made the first NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from weakref import ref
from zlib import crc32

import numpy as np

from .. import backend
from ..backend import is_float
from ..execution import Mode, record
from ..tape import Node
from ..tensor import Tensor
from ..writes import kept_arrays
from .recording import Note, Wrapped, note_of


def debug() -> record:
    """Check every op and backward step in the body; it is slower, but errors are raised where they arise.

    * The first op that returns NaN or infinity from finite inputs is reported with statistics of its inputs, its module
      and the line of your program.  So is the first backward step that returns such a gradient.
    * Every array that the tape keeps gets a checksum.  If it has been modified without minigrad's knowledge, by `a[:] =
      5` on a Tensor's NumPy array, `x.data -= …` or `x.numpy()[:] = …`, the backward pass reports it, with the line
      that recorded the step.

    The forward pass must run in the body; the backward pass may run after it.  `debug()` is also a decorator.

    Raises:
        FloatingPointError: a result or a gradient is NaN or infinite.
        RuntimeError: an array that a backward step needs was modified.
    """

    def how(here: Mode) -> Mode:
        def note(node: Node | None, op: Any, inputs: tuple, options: tuple, y: Any) -> None:
            here.note(node, op, inputs, options, y)
            labels = getattr(op, "inputs", [f"input {i}" for i in range(len(inputs))])
            if _begins(y, inputs):
                raise _found(f"{op.name} gives {_faults(y)}", note_of(op, inputs, options, y), labels, inputs)
            if node is not None:
                node.step = _Watched(node.step, note_of(op, inputs, options, None), labels, node)

        return here._replace(note=note)

    return record(how)


class _Watched(Wrapped):
    """A step whose `pull` checks that the saved arrays are unchanged and that the gradients it returns are finite."""

    def __init__(self, step: Any, note: Note, labels: Sequence[str], node: Node):
        super().__init__(step)
        self.note, self.labels = note, labels
        self.sums = [(ref(array), _checksum(array)) for array in kept_arrays(node.saved)]
        self.own = {
            id(x.data if isinstance(x, Tensor) else x): (label, name)
            for x, label, name in zip(note.inputs, labels, note.names)
        }
        self.note.inputs = ()  # the note must not keep them alive

    def pull(self, node: Node, saved: Any, g: Any, again: bool) -> Any:
        for kept, checksum in self.sums:
            array = kept()
            if array is not None and _checksum(array) != checksum:
                label, name = self.own.get(id(array), ("a value", None))
                called = f"{label} ({name})" if name not in (None, label) else label
                raise RuntimeError(
                    f"{called} of shape {tuple(array.shape)}, which {self.name} keeps for the backward pass"
                    f"{_where(self.note)}, was changed since, and not by minigrad "
                    "(a[...] = v on its NumPy array, x.data -= v, x.numpy()[...] = v): "
                    "write with x.copy_(values), after backward, or give the Tensor a copy of its own, mg.tensor(a)"
                )
        try:
            with record(lambda here: here._replace(on=again, note=here.note if again else Mode().note)):
                pulled = list(self.inner.pull(node, saved, g, again))
        except FloatingPointError as error:  # raised by an op inside the rule
            raise FloatingPointError(f"in the backward pass of {self.name}{_where(self.note)}: {error}") from error
        for i, gx in enumerate(pulled):
            if gx is not None and _begins(gx, (g,)):
                kept = [array for array in kept_arrays(saved) if is_float(array.dtype)]
                wanted = getattr(getattr(self.inner, "plan", self.inner), "wanted", ())
                inputs = [label for label, want in zip(self.labels, wanted) if want] or self.labels
                raise _found(
                    f"the backward pass of {self.name} gives {inputs[i] if i < len(inputs) else 'an input'} a gradient "
                    f"with {_faults(gx)}",
                    self.note,
                    ["g", *[f"kept {k}" for k in range(len(kept))]],
                    [g, *kept],
                )
        return pulled


def _begins(y: Any, given: Sequence) -> bool:
    """Whether y is the first with NaN or infinity: the inputs are finite, or infinite where y has a NaN."""
    y = _array(y)
    if not is_float(y.dtype) or not y.size or _all_finite(y):
        return False
    were_there = any(
        not math.isfinite(x)
        if isinstance(x, float)
        else hasattr(x, "dtype") and is_float(x.dtype) and not _all_finite(_array(x))
        for x in given
    )
    return not were_there or bool(backend.of(y).xp.isnan(y).any())


def _all_finite(array: Any) -> bool:
    return bool(backend.of(array).xp.isfinite(array).all())


def _array(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _host(x: Any) -> np.ndarray:
    return np.asarray(backend.of(_array(x)).to_numpy(_array(x)))


def _faults(y: Any) -> str:
    y = _host(y)
    counts = {"NaN": int(np.isnan(y).sum()), "infinite": int(np.isinf(y).sum())}
    return " and ".join(f"{count} {kind}" for kind, count in counts.items() if count) + f" of {y.size} entries"


def _found(what: str, note: Note, labels: Sequence[str], values: Sequence) -> FloatingPointError:
    lines = [f"  {label}{_statistics(value)}" for label, value in zip(labels, values) if value is not None]
    error = FloatingPointError("\n".join([f"{what}{_where(note)}", *lines]))
    vars(error)["line"] = note.lines[-1] if note.lines else None  # it is in the message already: see places.py
    return error


def _statistics(value: Any) -> str:
    if not hasattr(value, "dtype"):
        return f" = {value!r:.80}"
    array = _host(value)
    text = f" {array.shape} {array.dtype}"
    if not is_float(array.dtype) or not array.size:
        return text
    array = array.astype(np.float64)
    finite = array[np.isfinite(array)]
    if finite.size:
        text += f": min {finite.min():.4g}, max {finite.max():.4g}, mean {finite.mean():.4g}"
    return text + f"; {int(np.isnan(array).sum())} NaN, {int(np.isinf(array).sum())} infinite"


def _where(note: Note) -> str:
    """The module and the line that an op ran in, for a message."""
    text = ""
    if note.modules:
        root, inner = note.modules[0], note.modules[-1]
        path = next((path for path, m in root.named_modules() if m is inner), "")
        text = f", in {path or 'the model'} ({type(inner).__name__})"
    if note.lines:
        line = note.lines[-1]
        text += f", at {line}" + (f": {line.text}" if line.text else "")
    return text


def _checksum(array: Any) -> int:
    return crc32(np.ascontiguousarray(_host(array)).reshape(-1).view(np.uint8).data) if array.size else 0
