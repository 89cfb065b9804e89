"""Compiles the kernels in cuda/src/ on demand, for the dtype of their arrays.

They are CUDA C++ in which T is the type of the arrays, and `wide` the type to compute and accumulate in, at least
float32.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "src"
TYPES = {"float32": "float", "float64": "double", "float16": "__half", "bfloat16": "__nv_bfloat16"}
THREADS = 256  # in a block of a kernel with one thread per entry


def wide(dtype: Any) -> type:
    """The C++ type for computing with numbers of this dtype."""
    return np.float64 if dtype == np.float64 else np.float32


@functools.cache
def source(file: str, dtype: str, **sizes: int) -> str:
    """The source of src/`file`.cu for arrays of this dtype, with the definitions that it needs."""
    text = re.sub(
        r'#include "(.+)"\n',
        lambda found: (FOLDER / found[1]).read_text("utf-8"),
        (FOLDER / f"{file}.cu").read_text("utf-8"),
    )
    defined = "".join(f"#define {name} {size}\n" for name, size in sizes.items())
    return (
        f"#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n{defined}"
        f"typedef {TYPES[dtype]} T;\ntypedef {'double' if dtype == 'float64' else 'float'} wide;\n{text}"
    )


@functools.cache
def kernel(file: str, name: str, dtype: np.dtype, **sizes: int) -> Any:
    """The kernel `name` of src/`file`.cu: call it with the blocks, the threads of each, and its arguments."""
    import cupy

    return cupy.RawKernel(source(file, dtype.name, **sizes), name)


def for_each(file: str, name: str, dtype: np.dtype, size: int, *arguments: Any) -> None:
    """Run a kernel that has one thread for each of `size` entries.

    That size comes after its `arguments`' first arrays.
    """
    if size:
        kernel(file, name, dtype)((-(-size // THREADS),), (THREADS,), arguments)


def for_rows(file: str, name: str, dtype: np.dtype, rows: int, n: int, *arguments: Any) -> None:
    """Run a kernel with one block for each of `rows` rows of n entries, and about a thread for every four of these."""
    if rows and n:
        kernel(file, name, dtype)((rows,), (min(512, 32 * -(-n // 128)),), arguments)
