"""Kernels for 16-bit floats on a CPU, which cannot multiply them: they compute in float32 and round once, last."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..record import Kernel, is_float


def made_from(table: dict[str, Any]) -> dict[str, Kernel]:
    """A twin in 16 bits of each kernel in the table.

    What only moves numbers on the way there adds up on the way back.  (A kernel that fits some inputs only is one for
    float32, in which its op asks for it.)
    """
    kernels = {name: kernel for name, kernel in table.items() if isinstance(kernel, Kernel) and kernel.fits is None}
    twins = {name: in_float32(kernel) for name, kernel in kernels.items()}
    for name in ("embedding", "take"):
        twins[name] = table[name]._replace(backward=twins[name].backward)
    return twins


def in_float32(kernel: Kernel) -> Kernel:
    """The kernel on float32 copies of its arguments; the op rounds the result to its dtype, the tape the gradients."""

    def forward(xp, *arguments):
        with np.errstate(over="ignore", invalid="ignore"):
            return kernel.forward(xp, *map(wide, arguments))

    def backward(xp, g, saved, wanted, *options):
        # Gradients that were scaled for float16 may have become infinite
        with np.errstate(over="ignore", invalid="ignore"):
            return kernel.backward(xp, wide(g), saved, wanted, *map(wide, options))

    return Kernel(forward, backward)


def wide(x: Any) -> Any:
    """An array of 16-bit floats in float32; anything else as it is."""
    return x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype.itemsize == 2 and is_float(x.dtype) else x
