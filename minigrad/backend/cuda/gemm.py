"""Matrix products on a GPU, all by one function, `gemm`, on top of cuBLAS.

CuPy's `matmul` copies the transposed matrices of a stack, multiplies float16 as float32 and does not support stacks of
bfloat16, and cannot be captured in a CUDA graph.  A single function of cuBLAS can do all this, and is called here.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
from types import SimpleNamespace

import numpy as np

from ..record import Array, Kernel
from ..shared.products import as_matrix, linear_needed, with_vectors

TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType_t
SUM_IN_32, SUM_IN_64, SUM_IN_TF32 = 68, 70, 77  # cublasComputeType_t
WORKSPACE = 32 << 20  # bytes, as much as cuBLAS asks for on the largest GPUs

# Whether float32 may be multiplied with 10 bits of fraction (TF32), eight times as fast.
tf32 = os.environ.get("CUPY_TF32") == "1"


def gemm(a: Array, b: Array, out: Array = None, alpha: float = 1.0, beta: float = 0.0) -> Array:
    """alpha · a b + beta · out, into `out` or a new array: (…, m, k) and (…, k, n), whose leading axes broadcast.

    All have the same dtype, of 16, 32 or 64 bits; products of 16 bits are accumulated in float32.  Matrices may be
    transposed in memory, and those of a stack at any constant distance; nothing is copied.  The rows of `out` must be
    contiguous.

    Raises:
        ValueError: the shapes or dtypes do not fit together, or `out` has an unsuitable layout.
    """
    import cupy

    (m, k), n, lead = a.shape[-2:], b.shape[-1], np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if (
        b.shape[-2] != k
        or a.dtype != b.dtype
        or (out is not None and (out.shape, out.dtype) != ((*lead, m, n), a.dtype))
    ):
        raise ValueError(
            f"gemm: {a.dtype} {a.shape} times {b.dtype} {b.shape}"
            + (f" into {out.dtype} {out.shape}" if out is not None else "")
        )
    if out is None:
        out = cupy.empty((*lead, m, n), a.dtype)
    if not out.size or not k:  # an empty result, or empty sums
        out[...] = beta * out if beta else 0
        return out
    if b.ndim == 2 < a.ndim and a.flags.c_contiguous and out.flags.c_contiguous:  # a stack of rows, times one matrix
        gemm(a.reshape(-1, k), b, out.reshape(-1, n), alpha, beta)
        return out
    (a, a_turned, a_row, a_apart), (b, b_turned, b_row, b_apart) = _laid_out(a, lead), _laid_out(b, lead)
    into, turned, out_row, out_apart = _laid_out(out, lead)
    if into is not out or turned:
        raise ValueError(f"gemm: the rows of out {out.shape} are not in order in memory: its strides are {out.strides}")
    compute = SUM_IN_64 if a.dtype == np.float64 else SUM_IN_TF32 if tf32 and a.dtype == np.float32 else SUM_IN_32
    number = ctypes.c_double if compute == SUM_IN_64 else ctypes.c_float
    kind, library, handle = TYPES[a.dtype.name], _cublas(), _handle()
    # cuBLAS reads columns where NumPy has rows, and so sees every matrix transposed: outᵀ = bᵀ aᵀ.
    status = library.cublasGemmStridedBatchedEx(
        handle,
        b_turned,
        a_turned,
        n,
        m,
        k,
        ctypes.byref(number(alpha)),
        b.data.ptr,
        kind,
        b_row,
        b_apart,
        a.data.ptr,
        kind,
        a_row,
        a_apart,
        ctypes.byref(number(beta)),
        out.data.ptr,
        kind,
        out_row,
        out_apart,
        math.prod(lead),
        compute,
        -1,
    )
    if status:
        raise RuntimeError(
            f"cublasGemmStridedBatchedEx answers with status {status} to {a.dtype} {a.shape} times {b.shape}"
        )
    return out


def _laid_out(x: Array, lead: tuple) -> tuple[Array, int, int, int]:
    """The layout of x: (x, whether it is transposed, row stride, matrix stride); x is copied if strides are uneven."""
    layout, apart = _rows(x), _apart(x, lead)
    if layout is None or apart is None:
        import cupy

        x = cupy.ascontiguousarray(cupy.broadcast_to(x, (*lead, *x.shape[-2:])) if apart is None else x)
        return _laid_out(x, lead)
    return x, *layout, apart


def _rows(x: Array) -> tuple[int, int] | None:
    """(0, row stride in entries) or, if the columns are contiguous instead, (1, column stride)."""
    rows, columns = x.shape[-2:]
    down, right = (stride // x.itemsize for stride in x.strides[-2:])
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return 0, max(1, columns if rows == 1 else down)
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return 1, max(1, rows if columns == 1 else right)
    return None


def _apart(x: Array, lead: tuple) -> int | None:
    """The stride from each matrix of a stack to the next, in entries: 0 if all are the same, None if it varies."""
    apart, reach = 0, 0  # so far; and where a further axis must go on
    missing = len(lead) + 2 - x.ndim
    for i in reversed(range(len(lead))):
        size, stride = (x.shape[i - missing], x.strides[i - missing] // x.itemsize) if i >= missing else (1, 0)
        if lead[i] == 1:
            continue
        stride = stride if size > 1 else 0
        if reach == 0:
            apart, reach = stride, lead[i]
        elif stride != apart * reach:
            return None
        else:
            reach *= lead[i]
    return apart


@functools.cache
def _cublas() -> ctypes.CDLL:
    """The cuBLAS library, which CuPy has loaded."""
    import cupy
    from cupy_backends.cuda.libs import cublas  # noqa: F401  this loads it

    library = ctypes.CDLL(f"libcublas.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}")
    pointer, int32, int64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
    matrix, flags = [pointer, int32, int32, int64], [int32] * 3  # address, type, row, apart
    library.cublasGemmStridedBatchedEx.argtypes = [
        pointer,
        *[int32] * 5,
        pointer,
        *matrix,
        *matrix,
        pointer,
        *matrix,
        *flags,
    ]
    library.cublasSetStream_v2.argtypes = [pointer, pointer]
    library.cublasSetWorkspace_v2.argtypes = [pointer, pointer, ctypes.c_size_t]
    return library


def _handle() -> int:
    """CuPy's cuBLAS handle, set to the current stream and our own workspace, so that graph capture allocates none."""
    import cupy

    handle, stream = cupy.cuda.device.get_cublas_handle(), cupy.cuda.get_current_stream()
    _cublas().cublasSetStream_v2(handle, stream.ptr)  # this resets the workspace
    _cublas().cublasSetWorkspace_v2(handle, _workspace(cupy.cuda.runtime.getDevice(), stream.ptr).ptr, WORKSPACE)
    return handle


@functools.cache
def _workspace(device: int, stream: int):
    import cupy

    return cupy.cuda.alloc(WORKSPACE)


def by_gemm(written_for_both: Kernel) -> Kernel:
    """A kernel that is written for NumPy and CuPy, with `gemm` in place of CuPy's matmul."""
    forward, backward = written_for_both[:2]
    return Kernel(lambda xp, *given: forward(_with_gemm(), *given), lambda xp, *given: backward(_with_gemm(), *given))


@functools.cache
def _with_gemm() -> SimpleNamespace:
    import cupy

    return SimpleNamespace(**vars(cupy) | {"matmul": lambda a, b, out=None: gemm(*_alike(a, b), out)})


def _alike(a: Array, b: Array) -> tuple[Array, Array]:
    """Both arrays in the wider of their dtypes."""
    dtype = np.promote_types(a.dtype, b.dtype)
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


def matmul_forward(xp, a, b):
    a, b = _alike(a, b)
    return gemm(a, b), (a, b)


def matmul_backward(xp, g, saved, wanted):
    a, b = saved
    ga = gemm(g, b.swapaxes(-1, -2)) if wanted[0] else None
    if not wanted[1]:
        return ga, None
    if b.ndim == 2:  # of a stack of rows: one product, that adds up over the stack
        a, g = as_matrix(xp, a), as_matrix(xp, g)
    return ga, gemm(a.swapaxes(-1, -2), g)


def linear_forward(xp, x, weight, bias):
    """x Wᵀ + b: the bias is written first, and the product added to it."""
    x, weight = _alike(x, weight)
    y = xp.empty((*x.shape[:-1], len(weight)), x.dtype)
    if bias is not None:
        y[...] = bias
    gemm(as_matrix(xp, x), weight.astype(x.dtype, copy=False).T, as_matrix(xp, y), beta=bias is not None)
    return y, (x.shape, x, weight)


def linear_backward(xp, g, saved, wanted):
    shape, x, weight = saved
    rows = as_matrix(xp, g)
    return (
        gemm(rows, weight.astype(g.dtype, copy=False)).reshape(shape) if wanted[0] else None,
        gemm(rows.T, as_matrix(xp, x).astype(g.dtype, copy=False)) if wanted[1] else None,
        rows.sum(0) if wanted[2] else None,
    )


table = {
    "matmul": with_vectors(Kernel(matmul_forward, matmul_backward)),
    "linear": Kernel(linear_forward, linear_backward, needed=linear_needed),
}
