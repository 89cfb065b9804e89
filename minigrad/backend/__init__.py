"""Which array library holds this array?  The array itself is the answer; there is no "current backend".

A Backend is a small record: the array module, the few functions in which NumPy and CuPy differ, and a table of fused
kernels.  `of` is the only place in the package that looks at an array's type.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import cpu, shared
from .record import (
    Array,
    Backend,
    BackendUnavailable,
    Kernel,
    Value,
    cast,
    dtype_named,
    gibibytes,
    is_float,
    is_half,
    spacing,
)

__all__ = [
    "Array",
    "Backend",
    "BackendUnavailable",
    "Kernel",
    "Value",
    "cast",
    "dtype_named",
    "exchanging",
    "from_dlpack",
    "get",
    "gibibytes",
    "host",
    "is_float",
    "is_half",
    "known",
    "machine",
    "of",
    "register",
    "spacing",
]


def machine() -> dict[str, Any]:
    """Facts that the last digits of a result may depend on: the array library, the processors, limits on threads."""
    limits = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"
    return {
        "numpy": np.__version__,
        "processors": os.cpu_count(),
        **{name: os.environ[name] for name in limits if name in os.environ},
    }


def from_dlpack(other: Any) -> Array:
    """An array on the memory of another library's array, on the same device."""
    on_cpu = other.__dlpack_device__()[0] == 1  # kDLCPU
    return get("cpu" if on_cpu else "cuda").xp.from_dlpack(other)


DEVICES = "cpu", "cuda"  # the names that users type
known: dict[type, Backend] = {}  # by the type of its arrays


def register(backend: Backend) -> Backend:
    """Make `of` recognise the backend's arrays.  A third library is one file that calls this."""
    for name, function in shared.functions.items():
        backend.functions.setdefault(name, function)
    known[backend.array] = backend
    _by_types.clear()
    return backend


def get(device: str) -> Backend:
    """The backend of a device.  CuPy is imported only here, when "cuda" is first requested.

    Raises:
        ValueError: the device is neither "cpu" nor "cuda".
        BackendUnavailable: "cuda" was requested, but CuPy, its driver, its device or its libraries are missing.
    """
    if device == "cpu":
        return host
    if device != "cuda":
        raise ValueError(f'device {device!r} is not known: type "cpu" or "cuda"')
    for backend in known.values():
        if backend.name == "cuda":
            return backend
    from . import cuda

    return register(cuda.load())


def exchanging() -> Backend:
    """The backend whose devices exchange arrays themselves, without MPI.  Raises BackendUnavailable as `get` does."""
    return get("cuda")


def of(*arrays: Array) -> Backend:
    """The backend of all `arrays`.  Python and NumPy scalars, and None, belong to every backend.

    Raises:
        TypeError: the arrays are on different backends, or one is not an array of a known library.
    """
    return _by_types[tuple(map(type, arrays))]


class _ByTypes(dict):
    """A cache from tuples of types to the backend of such arrays, filled on demand: see `of`."""

    def __missing__(self, kinds: tuple[type, ...]) -> Backend:
        found: Backend | None = None
        for kind in kinds:
            backend = known.get(kind) or _unfamiliar(kind)
            if found is not None and backend is not None and backend is not found:
                raise TypeError(
                    f"operands live on {found.name} and on {backend.name}: move one of them with .to({found.name!r})"
                )
            found = backend or found
        self[kinds] = found or host
        return self[kinds]


_by_types = _ByTypes()


def _unfamiliar(kind: type) -> Backend | None:
    """The backend of a type that is not registered: a subclass, or an array of CuPy; None for scalars."""
    if issubclass(kind, (bool, int, float, np.generic, type(None))):
        return None
    if kind.__module__.partition(".")[0] == "cupy":
        return get("cuda")
    for familiar, backend in known.items():
        if issubclass(kind, familiar):
            return backend
    if hasattr(kind, "__dlpack__"):
        raise TypeError(
            f"a {kind.__module__}.{kind.__name__} is another library's array: mg.from_dlpack(x) makes "
            "a Tensor of it, on the same memory"
        )
    raise TypeError(f"{kind.__name__} is not an array: give a Tensor, a NumPy or CuPy array, or a number")


host = register(cpu.host)
