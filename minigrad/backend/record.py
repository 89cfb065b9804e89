"""The record of an array library, its kernels, and functions of dtypes that are used everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..errors import NO_NUMBERS

Array = Any  # numpy.ndarray or cupy.ndarray: the one type nothing here may assume


class Kernel(NamedTuple):
    """A fused forward and its first-order backward, both on bare arrays.

    `forward(xp, *inputs, *options) -> (y, saved)`;
    `backward(xp, g, saved, wanted, *options) -> one array, or None where it is not wanted, per input`;
    `alone(xp, *inputs, *options) -> y` is an optional cheaper forward for inference;
    `add(xp, total, g, saved, *options)`, also optional, adds the gradient of the only input to `total`, in place;
    `fits(*inputs, *options)`, if given, says whether it takes these; the op's meaning answers for others;
    `needed(saved, wanted)`, also optional, is what of `saved` the backward needs where so much is wanted.
    """

    forward: Callable
    backward: Callable
    alone: Callable | None = None
    add: Callable | None = None
    fits: Callable | None = None
    needed: Callable | None = None


class Value(NamedTuple):
    """A faster way to compute an op's value, `compute(xp, *inputs, *options) -> y`; the op's rules stay in force.

    It is used if the first input has at least `least` entries and the inputs fit; for a definition, only if no input
    needs a gradient.
    """

    compute: Callable
    least: int = 0
    fits: Callable[..., bool] | None = None

    def serves(self, arrays: list, is_value: bool) -> bool:
        """Whether it computes the op of these inputs, which only a value is asked of."""
        return is_value and (self.fits is None or self.fits(*arrays))


def dtype_named(name: Any) -> np.dtype:
    """The dtype of that name, bfloat16 included.

    Raises:
        TypeError: there is no such dtype, or it is not a dtype of numbers, or it belongs to another library.
    """
    if isinstance(name, str) and name == "bfloat16":
        import ml_dtypes  # noqa: F401 (registers bfloat16 with NumPy)
    try:
        dtype = np.dtype(name) if name is not None else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind in NO_NUMBERS and dtype.kind != "c":  # (files may hold complex numbers)
        raise TypeError(
            f'{name!r} is not a dtype: type "float32", "float64", "float16", "bfloat16", "int64", "int32" or "bool"'
        )
    return dtype


def is_float(dtype: np.dtype) -> bool:
    """Whether this is a floating dtype, which can carry gradients; NumPy does not count bfloat16 as one."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def is_half(dtype: np.dtype) -> bool:
    """Whether this is a floating dtype of 16 bits.  Sums of such numbers accumulate in float32 and are rounded once."""
    return dtype.itemsize == 2 and is_float(dtype)


def spacing(dtype: np.dtype) -> float:
    """The distance from 1 to the next number; bfloat16, which np.finfo does not know, has seven fraction bits."""
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7


def cast(array: Array, dtype: np.dtype) -> Array:
    """The array in another dtype.  Overflow becomes inf without a warning: float16 ends at 65504.

    Raises TypeError for arrays that do not hold numbers, and for complex ones, which would lose their imaginary part.
    """
    if array.dtype.kind in NO_NUMBERS:
        raise TypeError(f"an array of {NO_NUMBERS[array.dtype.kind]} is not made one of {dtype}")
    with np.errstate(over="ignore"):
        return array.astype(dtype_named(dtype))


def check_now(array: Array, low: float, high: float, refuse: Callable[[], None]) -> None:
    """Call `refuse`, which raises, unless all entries are from `low` to `high`.

    The backend of a GPU checks asynchronously, and calls it later, when the host next waits for the device.
    """
    if array.size and not (array.min() >= low and array.max() <= high):
        refuse()


class Backend:
    """One array library, with its own versions of the functions in which NumPy and CuPy differ.

    Args:
        name: the device that users type, "cpu" or "cuda".
        xp, array: the library, and the type of its arrays.
        to_numpy, erf, normal_cdf: functions of an array.
        share: [work(piece) for piece in pieces], on all cores if the library is on the CPU.
        kernels: by the name of the op; and a few plain functions for optimisers, dropout and arithmetic: see `call`.
        synchronous: whether results are ready when a call returns, so that reading a value does not wait.
        max_unfolded: the number of entries that a convolution copies out of its input at a time.
        check: raises an error, possibly later, unless all entries are in a range: see `check_now`.
        half_kernels: the kernels for floats of 16 bits, if they differ.
        refusing: a context in which xp.linalg raises LinAlgError if there is no solution, as NumPy's always does.
        collectives: a module with `Collectives` and `unique_id`, through which the devices of several ranks exchange
            arrays themselves; None: their host does it.
    """

    __slots__ = (
        "name",
        "xp",
        "array",
        "to_numpy",
        "erf",
        "normal_cdf",
        "share",
        "kernels",
        "functions",
        "synchronous",
        "max_unfolded",
        "check",
        "half_kernels",
        "refusing",
        "collectives",
        "kernel_float32",
    )

    def __init__(
        self,
        name: str,
        xp: ModuleType,
        array: type,
        to_numpy: Callable[[Array], np.ndarray],
        erf: Callable[[Array], Array],
        normal_cdf: Callable[[Array], Array],
        share: Callable[[Callable, Any], list],
        kernels: dict[str, Any],
        synchronous: bool = False,
        max_unfolded: int = 1 << 20,
        check: Callable[[Array, float, float, Callable[[], None]], None] = check_now,
        half_kernels: dict[str, Kernel] | None = None,
        refusing: Callable[[], AbstractContextManager] = nullcontext,
        collectives: Any = None,
    ):
        self.name, self.xp, self.array, self.to_numpy = name, xp, array, to_numpy
        self.erf, self.normal_cdf = erf, normal_cdf
        self.share, self.kernels, self.check, self.half_kernels = share, kernels, check, half_kernels
        self.synchronous, self.max_unfolded, self.refusing = synchronous, max_unfolded, refusing
        self.collectives = collectives
        self.functions = {name: part for name, part in kernels.items() if not isinstance(part, (Kernel, Value))}
        self.kernel_float32 = kernels.get  # (name); the most frequent case, without a Python call

    def kernel(self, name: str, dtype: np.dtype | None) -> Kernel | Value | None:
        """The fused kernel of an op, if there is one; None for integers, since kernels compute in the inputs' dtype."""
        if dtype is None or not is_float(dtype):
            return None
        return (self.kernels if dtype.itemsize > 2 or self.half_kernels is None else self.half_kernels).get(name)

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Call the plain function of that name, such as an optimiser's step: the library's own, or the shared one."""
        return self.functions[name](self.xp, *args, **options)

    @contextmanager
    def computing(self, name: str, kernel: Kernel) -> Iterator[None]:
        """In the body, this kernel computes the op of that name."""
        before = self.kernels.get(name)
        self.kernels[name] = kernel
        try:
            yield
        finally:
            del self.kernels[name]
            if before is not None:
                self.kernels[name] = before


def gibibytes(size: int) -> str:
    """A number of bytes as text, such as "1.5 GiB"."""
    return f"{size / 2**30:.1f} GiB"


class BackendUnavailable(RuntimeError):
    """A device was requested that is not available; the message says why and what to type."""
