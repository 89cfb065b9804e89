"""`minigrad doctor`: what minigrad can use on this machine, and what to type to install the rest."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import numpy as np

from . import __version__
from .backend import cuda, gibibytes
from .backend.cpu import blas, loops, mkl
from .backend.cpu.cores import CORES

# The purpose of each extra, and its packages by their names on PyPI.
EXTRAS = {
    "cuda12": ("GPUs whose driver is for CUDA 12", ["cupy-cuda12x"]),
    "cuda13": ("GPUs whose driver is for CUDA 13", ["cupy-cuda13x"]),
    "text": ("tokenisers of pretrained models", ["tokenizers"]),
    "chat": ("chats as their model reads them", ["jinja2"]),
    "vision": ("photographs for models of pictures", ["pillow"]),
    "onnx": ("models as ONNX files", ["onnx", "onnxruntime"]),
    "hub": ("models by their names on the Hugging Face Hub", ["huggingface_hub"]),
    "viz": ("pictures of training curves", ["matplotlib"]),
    "serve": ("models as services, minigrad serve", ["starlette", "uvicorn"]),
    "search": ("searches for hyper-parameters", ["optuna"]),
    "fast": ("kernels compiled for this processor", ["numba"]),
    "mkl": ("products of matrices on Intel's and AMD's processors", ["mkl"]),
    "testing": ("gradient tests with pytest and Hypothesis", ["hypothesis", "pytest"]),
}


def report() -> str:
    """The report as text, with one line for each backend and extra."""
    rows = [
        ("minigrad", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"),
        ("cpu", cpu()),
        *(("cuda", line) for line in cuda.devices()),
    ]
    for extra, (purpose, packages) in EXTRAS.items():
        found = [f"{name} {version}" for name in packages if (version := installed(name))]
        missing = len(found) < len(packages)
        rows.append(
            (f"[{extra}]", f"{purpose}: " + (f'pip install "minigrad-learn[{extra}]"' if missing else ", ".join(found)))
        )
    return "\n".join(f"{name:10} {text}" for name, text in rows)


def libraries() -> str:
    """Who computes on the CPU: NumPy, the BLAS, and which kernels."""
    numpys = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    products = f"MKL {installed('mkl') or ''}".strip() if mkl.path() else f"{numpys['name']} {numpys['version']}"
    kernels = "compiled kernels" if loops.available() else "NumPy's kernels"
    kernels += ", which multiply large matrices" if blas.own() else ""
    return f"NumPy {np.__version__}, products by {products}, {kernels}"


def cpu() -> str:
    """One line on the CPU backend."""
    limits = [
        f"{name}={os.environ[name]}" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS") if name in os.environ
    ]
    return (
        f"{libraries()}, {CORES} threads on {os.cpu_count()} cores"
        f"{' because of ' + ' and '.join(limits) if limits else ''}, {memory()}"
    )


def memory() -> str:
    """The memory of the machine and how much of it is free, if the system provides that."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (gibibytes(page * os.sysconf(f"SC_{kind}_PAGES")) for kind in ("PHYS", "AVPHYS"))
        return f"{total} of memory, {free} free"
    except (AttributeError, ValueError, OSError):
        return "memory unknown"


def installed(package: str) -> str | None:
    """The version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
