"""What a Tensor is to Python, to NumPy and to other libraries: its values, given to them and taken from them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import zip_longest
from typing import Any

import numpy as np

from . import backend
from .backend import Array
from .errors import NO_NUMBERS
from .execution import recording
from .tape import Node


class Size(int):
    """A number of entries, NumPy's `x.size`; called, as torch's `x.size()` is, the sizes of the axes, or of one."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        if dim is None:
            return self.shape
        if not isinstance(dim, (int, np.integer)) or not -len(self.shape) <= dim < len(self.shape):
            raise ValueError(f"x.size({dim!r}): there is no such axis of shape {self.shape}")
        return self.shape[dim]


def size_of(array: Array) -> Size:
    """The number of entries of an array."""
    size = Size(array.size)
    size.shape = array.shape
    return size


class Values:
    """The part of a Tensor that is about its values alone, and knows of the tape only when they would leave it."""

    __slots__ = ()

    data: Array
    node: Node | None

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: on the CPU the array itself, from the GPU a copy."""
        return backend.of(self.data).to_numpy(self.data)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """np.asarray(x), np.array([x, y]), a[0] = x: the values, of a leaf or of what is on no tape.

        Raises:
            TypeError: x is the result of an op, and NumPy would go on without its gradient.  np.testing and
                pytest.approx, which only compare, are given the values.
        """
        if self._made_on_tape() and not _compares(sys._getframe(1)):
            raise self._lost("an array of it", "compute with mg's ops")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def _made_on_tape(self) -> bool:
        """Whether this is the result of an op, and the tape runs, so that to take the values alone loses a gradient."""
        return self.node is not None and self.node.step is not None and bool(recording())

    def _lost(self, what: str, instead: str) -> TypeError:
        maker = "an op" if self.node is None else self.node.step.name
        return TypeError(
            f"this Tensor is the result of {maker}, and {what} would lose its gradient: {instead}, or "
            "take the values alone, x.detach() or x.numpy()"
        )

    def __dlpack__(self, **options: Any) -> Any:
        """The values for another library, `torch.from_dlpack(x)` say, without a copy; refused as an array is."""
        if self._made_on_tape():
            raise self._lost("another library's array of it", "compute with mg's ops")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    def item(self) -> Any:
        """The only entry, as a Python number."""
        return self._one("item()")

    def tolist(self) -> Any:
        """Nested Python lists of numbers."""
        return self.numpy().tolist()

    def _check_copied(self) -> None:
        """Raise TypeError if a new Tensor made of this one would lose its gradient."""
        if self._made_on_tape():
            raise self._lost(
                "a new Tensor made of it", 'it can be used as it is, and x.to("float64") is in another dtype'
            )

    def __repr__(self) -> str:
        maker = self.node and self.node.step
        more = "" if self.node is None else f", made by {maker.name}" if maker else ", requires_grad=True"
        body = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=200)
        return f"Tensor({body}, dtype={self.data.dtype}{more})"

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the values, and a picture of the tape that made them, if any."""
        if self.node is None or self.node.step is None:
            return None
        return import_module(".insight", __package__).picture(self)

    def __len__(self) -> int:
        if not self.data.shape:
            raise TypeError(
                "a Tensor of one number, of shape (), has no length and no entries to go through: x.item() is the "
                "number, x.reshape(1) a Tensor that has one entry"
            )
        return self.data.shape[0]

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ValueError(
                f"whether a Tensor of shape {self.data.shape} is true, in `if x:`, `x and y` or `not x`, is ambiguous: "
                "type mg.any(x) or mg.all(x); and x & y, x | y or ~x for each entry"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self._one("float(x)"))

    def __int__(self) -> int:
        return int(self._one("int(x)"))

    def _one(self, asked: str) -> Any:
        """The only entry, as a Python number, for what is `asked`."""
        if self.data.size != 1:
            raise ValueError(
                f"{asked} needs a Tensor with one entry, this one has shape {self.data.shape}: pick one, x[0], or "
                "reduce it, x.sum(); x.tolist() gives all"
            )
        return self.numpy().item()

    def __iter__(self: Any) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __setitem__(self, index, value):
        raise TypeError(
            "a Tensor is not assigned into, for its gradient would be lost: build a new one with "
            "mg.where(mask, value, x), or write a whole leaf with x.copy_(values)"
        )


def _compares(caller: Any) -> bool:
    """Whether a frame is of np.testing or of pytest.approx, which look at values and compute nothing with them."""
    return caller.f_globals.get("__name__", "").startswith(("numpy.testing", "_pytest"))


def as_array(data: Any, dtype: Any = None, device: str | None = None) -> Array:
    """The bare array of whatever a user may give; Python floats, alone or in lists, become float32."""
    if isinstance(data, Values):
        data = data.data
        if dtype is None and device is None:
            return data
    if isinstance(data, (bool, int, float, str, list, tuple)) and not isinstance(data, np.generic):
        try:
            data = np.array(_without_tensors(data) if isinstance(data, (list, tuple)) else data)
        except ValueError as error:
            if "inhomogeneous" not in str(error):
                raise
            raise ValueError(
                f"a Tensor is made of lists of one length at each depth, but in {data!r:.60} they differ: fill the "
                "shorter ones up"
            ) from None
        if data.dtype == np.float64 and dtype is None:
            dtype = np.float32
    here = backend.of(data)
    there = here if device is None else backend.get(device)
    if there is not here:
        data = there.xp.asarray(here.to_numpy(data))
    array = there.xp.asarray(data, dtype=None if dtype is None else backend.dtype_named(dtype))
    if array.dtype.kind in NO_NUMBERS:
        if data is None:
            raise TypeError("a Tensor holds numbers, not None, which a function without `return` gives")
        raise TypeError(
            f"a Tensor holds numbers, not {array.dtype}: turn text into ids first, and complex numbers into pairs"
        )
    return array


def fitting(op: str, values: Any, into: Array) -> Array:
    """What is to be written into an array, as an array that broadcasts to its shape, with its dtype and on its device.

    Raises:
        ValueError: it does not fit.
    """
    array = values.data if isinstance(values, Values) else values
    try:
        array = None if array is None else backend.of(into).xp.asarray(array, dtype=into.dtype)
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None:
        raise ValueError(f"{op}: {values!r:.60} is no number, list or array that a Tensor of {into.dtype} can hold")
    if any(n not in (1, m) for n, m in zip_longest(array.shape[::-1], into.shape[::-1], fillvalue=1)):
        raise ValueError(f"{op}: values of shape {array.shape} do not broadcast to {into.shape}, the Tensor's own")
    return array


def _without_tensors(items: Any) -> Any:
    """A nested list with arrays in the place of its Tensors, which must not be on the tape, for an array is not."""
    if isinstance(items, (list, tuple)):
        return [_without_tensors(item) for item in items]
    if isinstance(items, Values) and items.node is not None and recording():
        raise TypeError(
            "a list of Tensors that require a gradient would lose it when made one array: type mg.stack(xs), or "
            "mg.concatenate(xs), or give x.detach() for each"
        )
    return as_array(items) if isinstance(items, Values) else items
