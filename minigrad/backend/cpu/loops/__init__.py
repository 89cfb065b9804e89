"""Kernels as compiled loops, if numba is installed (the extra `fast`); MINIGRAD_LOOPS=0 disables them.

A file here has the name of the file in shared/ that computes the same on whole arrays, and of the one in cuda/ for a
GPU.  It imports numba, which takes a third of a second, so it is imported when one of its kernels is first used.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ...record import Kernel, Value
from ...shared.products import linear_needed
from .. import blas, cores
from ..select import choose, has_plain_rows, is_plain, is_plain_matrix


@functools.cache
def available() -> bool:
    """Whether kernels can be compiled: numba is installed, and supports the installed NumPy."""
    if os.environ.get("MINIGRAD_LOOPS") == "0":
        return False
    try:
        import_module("numba")
    except ImportError:
        return False
    return True


def is_recurrent(gates: np.ndarray, weight: np.ndarray, *rest: Any) -> bool:
    return is_plain(gates) and weight.dtype == np.float32 and bool(blas.address())


def has_plain_queries(q: np.ndarray, k: np.ndarray, v: np.ndarray, *rest: Any) -> bool:
    """Whether all are float32 and there are several queries; a model that generates text has one at a time."""
    plain = is_plain(q) and k.dtype == v.dtype == np.float32 and q.shape[-2] > 1
    return plain and min(k.size, v.size) > 0 and bool(blas.address())


def turns_rows(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> bool:
    """Whether the rows of x have an even number of entries, and a cosine and a sine for each."""
    wide = is_plain(x) and x.ndim > 1 and x.shape[-1] % 2 == 0 and cos.dtype == sin.dtype == np.float32
    return wide and all(a.shape[-1:] == x.shape[-1:] and fits_into(a, x) for a in (cos, sin))


def fits_into(a: np.ndarray, x: np.ndarray) -> bool:
    """Whether an array broadcasts to x."""
    return a.ndim <= x.ndim and all(m in (1, n) for m, n in zip(a.shape[::-1], x.shape[::-1]))


def has_plain_weight(x: np.ndarray, weight: Any, *rest: Any) -> bool:
    """Whether x is plain, and the weight, if there is one, is float32 too."""
    return is_plain(x) and (weight is None or weight.dtype == np.float32)


def is_convolution(x: np.ndarray, *rest: Any) -> bool:
    """Whether x is signals or images, all are float32, and none is empty."""
    return is_plain(x) and x.ndim in (3, 4) and all(a is None or a.dtype == np.float32 and a.size > 0 for a in rest)


def is_scaled(x: np.ndarray, weight: Any, bias: Any) -> bool:
    """Whether x is images or signals, and there is a weight or a bias per channel."""
    return is_plain(x) and x.ndim > 2 and not (weight is None and bias is None)


def is_sum(x: np.ndarray, *options: Any) -> bool:
    """Whether the pooling sums the entries of a window instead of choosing one."""
    return is_plain(x) and options[-2] is None


def is_quantized(x: np.ndarray, scale: np.ndarray, bias: Any, weight: np.ndarray) -> bool:
    """Whether all floats are float32, weights and scales are contiguous, and neither x nor the weight is empty."""
    ours = all(a is None or a.dtype == np.float32 for a in (x, scale, bias)) and min(x.size, weight.size) > 0
    return ours and all(a is None or a.flags.c_contiguous for a in (weight, scale, bias))


KERNELS: dict[str, dict[str, Callable[..., bool]]] = {  # the kernels of each file, and the inputs that they support
    "layers": {
        "gelu": is_plain,
        "softmax": has_plain_rows,
        "log_softmax": has_plain_rows,
        "layer_norm": is_plain,
        "rms_norm": has_plain_weight,
        "dropout": is_plain,
    },
    "attention": {"scaled_dot_product_attention": has_plain_queries, "rotate": turns_rows},
    "elementwise": dict.fromkeys(
        ("relu", "relu6", "leaky_relu", "elu", "erf", "sigmoid", "silu", "softplus"), is_plain
    ),
    "losses": {"cross_entropy": is_plain_matrix},
    "norms": {"batch_norm": is_plain, "per_channel": is_scaled},
    "quantized": {"quantized_linear": is_quantized},
    "pool": {"max_pool": is_plain, "collect": is_sum, "spread": is_sum},
    "recurrent": {"lstm": is_recurrent, "gru": is_recurrent, "rnn": is_recurrent},
}


NEEDED = {"quantized_linear": linear_needed}  # see Kernel.needed
VALUES = {  # loops that replace the functions of primitives
    "convolution": dict.fromkeys(("conv", "conv_norm", "conv_input_grad", "conv_weight_grad"), is_convolution)
}


def instead_of(table: dict[str, Any]) -> dict[str, Kernel | Value]:
    """The kernels here, which fall back on those in the table for inputs that they do not support, or without numba.

    Without a kernel in the table they fall back on the op's definition.
    """
    found: dict[str, Kernel | Value] = {}
    found |= {name: value_later(file, name, fits) for file, some in VALUES.items() for name, fits in some.items()}
    for file, kernels in KERNELS.items():
        for name, fits in kernels.items():
            ours, suits = later(file, name), lambda *given, fits=fits: fits(*given) and available()
            alone = ours._replace(fits=suits, needed=NEEDED.get(name))
            found[name] = choose(suits, ours, table[name]) if name in table else alone
    return found


def later(file: str, name: str) -> Kernel:
    """The kernel `name` of a file here, which is imported when the kernel is first called."""
    kernel = functools.cache(lambda: import_module(f".{file}", __name__).table[name])
    return Kernel(lambda *given: kernel().forward(*given), lambda *given: kernel().backward(*given))


def value_later(file: str, name: str, fits: Callable[..., bool]) -> Value:
    """The same for the value of an op."""
    value = functools.cache(lambda: import_module(f".{file}", __name__).table[name])
    return Value(lambda *given: value().compute(*given), fits=lambda *given: fits(*given) and available())


FUNCTIONS = {"adam_step": "optimizers", "amsgrad_step": "optimizers", "sgd_step": "optimizers", "add_rows": "index"}


def function(name: str) -> Callable | None:
    """A plain function as a loop, such as the step of an optimiser, if there is one."""
    return import_module(f".{FUNCTIONS[name]}", __name__).table[name] if name in FUNCTIONS and available() else None


def by_core(work: Callable, *arrays: np.ndarray) -> list:
    """[work(rows of each array)]: equal parts of the rows, one per core if there is enough work."""
    if arrays[0].size < cores.MIN_SHARED:
        return [work(*arrays)]
    parts = cores.evenly(len(arrays[0]), len(arrays[0]), cores.CORES)
    return cores.share(lambda part: work(*(array[part] for array in arrays)), parts)
