"""The GPU backend, on CuPy, imported only when "cuda" is requested, with a clear error for each missing part."""

from __future__ import annotations

import functools
import os

from .. import shared
from ..record import Backend, BackendUnavailable, gibibytes
from . import (
    attention,
    checks,
    convolution,
    gemm,
    index,
    layers,
    losses,
    nccl,
    optimizers,
    quantized,
    random,
    recurrent,
)

INSTALL = 'pip install "minigrad-learn[cuda13]" (CUDA 13) or "minigrad-learn[cuda12]" (CUDA 12)'
# Which of the ranks of this machine this is, by MPICH, Open MPI or torchrun: each has a GPU of its own.
LOCAL_RANK = "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "LOCAL_RANK"
table = (
    shared.table
    | gemm.table
    | layers.table
    | attention.table
    | losses.table
    | index.table
    | recurrent.table
    | convolution.table
    | optimizers.table
    | quantized.table
    | random.table
)


def load() -> Backend:
    """The CuPy backend.

    Raises:
        BackendUnavailable: CuPy cannot be used here; the text says which of the five reasons it is.
    """
    if problem := missing():
        raise BackendUnavailable(f"device 'cuda' was asked for, but {problem}.  Or use device='cpu'.")
    import cupy
    import cupyx
    from cupyx.scipy.special import erf

    if local := next((os.environ[name] for name in LOCAL_RANK if name in os.environ), None):
        cupy.cuda.Device(int(local) % cupy.cuda.runtime.getDeviceCount()).use()
    return Backend(
        name="cuda",
        xp=cupy,
        array=cupy.ndarray,
        to_numpy=checks.to_numpy,
        erf=erf,
        normal_cdf=functools.partial(shared.layers.normal_cdf, cupy),
        share=lambda work, pieces: [work(piece) for piece in pieces],
        kernels=dict(table),
        max_unfolded=1 << 27,
        check=checks.check,
        refusing=functools.partial(cupyx.errstate, linalg="raise"),
        collectives=nccl,
    )


def missing() -> str | None:
    """The reason why CuPy cannot run, in words; None if it can.  Allocates nothing before a device is found."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return f"CuPy is not installed: {INSTALL}"
        return f"CuPy is installed but broken ({error}): uninstall every cupy-* package, then {INSTALL}"
    except Exception as error:  # two CuPy wheels at once, a wrong NumPy: it can fail in many ways
        return f"CuPy is installed but broken ({error}): uninstall every cupy-* package, then {INSTALL}"
    runtime = cupy.cuda.runtime
    try:
        devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == 35:  # cudaErrorInsufficientDriver
            return (
                f"there is no NVIDIA driver, or it is too old for CUDA {runtime.runtimeGetVersion() // 1000}: "
                "install or update the driver (nvidia-smi shows it)"
            )
        if error.status != 100:  # cudaErrorNoDevice
            return f"the CUDA runtime does not answer ({error}): check nvidia-smi"
        devices = 0
    if not devices:
        return "the driver sees no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"
    try:  # the first kernel needs NVRTC and headers, the first product cuBLAS
        x = cupy.ones((2, 2), dtype="f")
        float((x @ x).sum())
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        return f"the GPU is there but CuPy cannot compute on it ({first_line}): the CUDA libraries come with {INSTALL}"
    return None


def devices() -> list[str]:
    """A line for each GPU that can be used, or one that says what to do so that one can be."""
    if problem := missing():
        return [f"not available: {problem}"]
    import cupy

    runtime, lines = cupy.cuda.runtime, []
    for device in range(runtime.getDeviceCount()):
        with cupy.cuda.Device(device):
            properties, (free, total) = runtime.getDeviceProperties(device), runtime.memGetInfo()
        lines.append(
            f"CuPy {cupy.__version__}, device {device}: {properties['name'].decode()}, compute capability "
            f"{properties['major']}.{properties['minor']}, {gibibytes(total)} of memory, {gibibytes(free)} free; "
            f"CUDA {version(runtime.runtimeGetVersion())}, driver for {version(runtime.driverGetVersion())}"
        )
    return lines


def version(number: int) -> str:
    """CUDA's 13020 is 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
