"""CuPy's answers: the GPU backend, imported only when "cuda" is asked for, with one clear error for each thing missing."""
from __future__ import annotations

from . import Backend, BackendUnavailable, cuda_checks, cuda_kernels, kernels, recurrent_kernels

INSTALL = 'pip install "minigrad-learn[cuda13]" (CUDA 13) or "minigrad-learn[cuda12]" (CUDA 12)'
GENERIC = kernels.table | recurrent_kernels.table            # written once for NumPy and CuPy


def load() -> Backend:
    """The CuPy backend.

    Raises:
        BackendUnavailable: CuPy cannot be used here; the text says which of the five reasons it is.
    """
    if problem := missing():
        raise BackendUnavailable(f"device 'cuda' was asked for, but {problem}.  Or use device='cpu'.")
    import cupy
    from cupyx.scipy.special import erf
    return Backend(name="cuda", xp=cupy, array=cupy.ndarray, to_numpy=cuda_checks.to_numpy, erf=erf,
                   share=lambda work, pieces: [work(piece) for piece in pieces],
                   kernels=GENERIC | cuda_kernels.table, check=cuda_checks.check)


def missing() -> str | None:
    """What keeps CuPy from running, in words; None when it runs.  Allocates nothing before a device is known to exist."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return f"CuPy is not installed: {INSTALL}"
        return f"CuPy is installed but broken ({error}): uninstall every cupy-* package, then {INSTALL}"
    except Exception as error:                  # two CuPy wheels at once, a wrong NumPy: it can fail in many ways
        return f"CuPy is installed but broken ({error}): uninstall every cupy-* package, then {INSTALL}"
    runtime = cupy.cuda.runtime
    try:
        devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == 35:                  # cudaErrorInsufficientDriver
            return (f"there is no NVIDIA driver, or it is too old for CUDA {runtime.runtimeGetVersion() // 1000}: "
                    "install or update the driver (nvidia-smi shows it)")
        if error.status != 100:                 # cudaErrorNoDevice
            return f"the CUDA runtime does not answer ({error}): check nvidia-smi"
        devices = 0
    if not devices:
        return "the driver sees no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"
    try:                                        # the first kernel needs NVRTC and headers, the first product cuBLAS
        x = cupy.ones((2, 2), dtype="f")
        float((x @ x).sum())
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        return f"the GPU is there but CuPy cannot compute on it ({first_line}): the CUDA libraries come with {INSTALL}"
    return None
