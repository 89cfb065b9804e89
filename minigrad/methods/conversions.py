"""Methods of a Tensor that are not ops, or take other arguments than the op: shapes, dtypes, copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, ops
from ..execution import recording
from ..tensor import Tensor


class Conversions:
    """x in another shape, dtype or place; its sizes; new Tensors like it."""

    def reshape(self, *shape: Any) -> Tensor:
        """The entries, in order, in another shape: `x.reshape(2, -1)` or `x.reshape((2, -1))`."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """Two axes change places, as in torch; more, or a tuple: all in that order, as in NumPy; none: all reversed."""
        if len(axes) == 2:
            return ops.swapaxes(self, *axes)
        return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def permute(self, *axes: Any) -> Tensor:
        """All axes in this order: `x.permute(2, 0, 1)`."""
        return ops.transpose(self, _sizes(axes))

    def flip(self, *axes: Any) -> Tensor:
        """The entries in reverse order along these axes, or along all."""
        return ops.flip(self, _sizes(axes) if axes else None)

    def tile(self, *repeats: Any) -> Tensor:
        """x so many times along each axis: `x.tile(2, 3)`."""
        return ops.tile(self, _sizes(repeats))

    def expand(self: Any, *shape: Any) -> Tensor:
        """x broadcast to this shape, in which -1 leaves a size as it is: `x.expand(3, -1)`."""
        shape = _sizes(shape)
        own = (-1,) * (len(shape) - self.ndim) + tuple(self.shape)  # (a new axis has no size to leave)
        return ops.broadcast_to(self, tuple(m if n == -1 else n for n, m in zip(shape, own)))

    def view(self, *shape: Any) -> Tensor:
        """`x.reshape(...)`.  Raises TypeError for a dtype, which torch would read the same bits as."""
        if len(shape) == 1 and isinstance(shape[0], (str, type, np.dtype)):
            raise TypeError(f"x.view({shape[0]!r}) would read the bits as another dtype: type x.to({shape[0]!r})")
        return ops.reshape(self, _sizes(shape))

    def expand_as(self, other: Any) -> Tensor:
        """x broadcast to the shape of `other`."""
        return ops.broadcast_to(self, other.shape)

    def view_as(self, other: Any) -> Tensor:
        """x in the shape of `other`."""
        return ops.reshape(self, other.shape)

    reshape_as = view_as

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """`x.clip(min, max)`."""
        return ops.clip(self, min, max)

    def where(self, condition: Any, other: Any) -> Tensor:
        """x where the condition is true, else `other`."""
        return ops.where(condition, self, other)

    def polygamma(self, n: int) -> Tensor:
        """`mg.polygamma(n, x)`."""
        return ops.polygamma(n, self)

    def clone(self: Any) -> Tensor:
        """A copy, through which gradients flow."""
        return ops.astype(self, self.dtype)

    copy = __pos__ = clone

    def contiguous(self: Any) -> Tensor:
        """x itself: how its memory is laid out changes no result here, and `reshape` takes any layout."""
        return self

    def dim(self: Any) -> int:
        """The number of axes, `x.ndim`."""
        return self.ndim

    def numel(self: Any) -> int:
        """The number of entries, `x.size`."""
        return self.size

    def element_size(self: Any) -> int:
        """The size of an entry in bytes."""
        return self.dtype.itemsize

    ndimension, nelement = dim, numel
    nbytes = property(lambda self: self.data.nbytes, doc="The size of all entries in bytes.")
    itemsize = property(element_size, doc="The size of an entry in bytes.")

    def is_floating_point(self: Any) -> bool:
        """Whether the dtype is floating, so that a gradient is possible."""
        return backend.is_float(self.dtype)

    def requires_grad_(self: Any, requires_grad: bool = True) -> Any:
        """Set `x.requires_grad`, and return x."""
        self.requires_grad = requires_grad
        return self

    def fill_(self: Any, value: Any) -> Any:
        """Write one number into all entries of a leaf.  RuntimeError if a gradient of its own would be lost by that."""
        if recording() and self.requires_grad:
            raise RuntimeError(
                "fill_ and zero_ would write into a Tensor that requires a gradient, and not be recorded: do it inside "
                "`with mg.no_grad():`, or type x.copy_(value)"
            )
        return self.copy_(value)

    def zero_(self) -> Any:
        """`x.fill_(0)`."""
        return self.fill_(0)

    def t(self: Any) -> Tensor:
        """The transpose of a matrix; a vector or a number is returned unchanged."""
        if self.ndim > 2:
            raise ValueError(f"x.t() is for matrices, not for shape {self.shape}: type x.mT for the last two axes")
        return ops.transpose(self)

    def new_full(self: Any, size: Any, fill_value: float, *, dtype: Any = None, device: Any = None) -> Tensor:
        """A Tensor of this size, of x's dtype and on its device unless others are given."""
        dtype, device = self.dtype if dtype is None else dtype, self.device if device is None else device
        return ops.full(size, fill_value, dtype, device=device)

    def new_zeros(self, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """`x.new_full(size, 0)`."""
        return self.new_full(_sizes(size), 0, dtype=dtype, device=device)

    def new_ones(self, *size: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """`x.new_full(size, 1)`."""
        return self.new_full(_sizes(size), 1, dtype=dtype, device=device)

    def new_tensor(self: Any, data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
        """A Tensor of this data, of x's dtype and on its device unless others are given."""
        dtype, device = self.dtype if dtype is None else dtype, self.device if device is None else device
        return Tensor(data, dtype=dtype, device=device).clone()

    def to(self: Any, *targets: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """On another device ("cpu", "cuda"), in another dtype ("float64"), or both; differentiable.

        A Tensor as the target means its dtype and its device.
        """
        targets = (*targets, *(() if device is None else (device,)), *(() if dtype is None else (dtype,)))
        if not targets:
            raise TypeError('x.to() needs a device, "cpu" or "cuda", or a dtype such as "float32"')
        for target in targets:
            if isinstance(target, Tensor):
                self = self.to(target.device).to(target.dtype)
            elif isinstance(target, str) and target in backend.DEVICES:
                self = self if target == self.device else ops.to_device(self, target)
            else:
                self = _as_dtype(self, target)
        return self

    def type_as(self, tensor: Any) -> Tensor:
        """In the dtype and on the device of another Tensor."""
        return self.to(tensor)

    def cpu(self) -> Tensor:
        """`x.to("cpu")`."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """`x.to("cuda")`."""
        return self.to("cuda")

    T = property(lambda self: ops.transpose(self), doc="All axes in reverse order.")
    mT = property(lambda self: ops.swapaxes(self, -1, -2), doc="The last two axes swapped.")


def _sizes(given: tuple) -> Any:
    """The sizes or axes that were given one by one, or as one tuple or list."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _as_dtype(x: Any, dtype: Any) -> Tensor:
    try:
        return ops.astype(x, backend.dtype_named(dtype))
    except TypeError:
        raise ValueError(f'{dtype!r} is neither a device, "cpu" or "cuda", nor a dtype such as "float32"') from None


def _casting(dtype: str) -> Callable[[Any], Tensor]:
    """The method that is `x.to(dtype)`."""

    def cast(self: Any) -> Tensor:
        return self.to(dtype)

    cast.__doc__ = f'`x.to("{dtype}")`.'
    return cast


CASTS = {  # torch's names of the dtypes
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "bfloat16": "bfloat16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "char": "int8",
    "byte": "uint8",
    "bool": "bool",
}

for _name, _dtype in CASTS.items():
    setattr(Conversions, _name, _casting(_dtype))
