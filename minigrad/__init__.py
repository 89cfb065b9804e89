"""minigrad: a deep learning framework to read in an afternoon, and to take a real pretrained model to a real task with.

    import minigrad as mg
    from minigrad import nn, optim, losses, functional as F

This is the front door: the names a user types.  It loads NumPy and the tape; the other rooms open when first used.
"""

import os
from importlib import import_module

# After a product OpenBLAS's threads spin for 25 ms, waiting for another, on the cores that our own threads need next.
# This ends it after 2¹⁰ cycles.  It is read when NumPy is first imported; whoever has imported it before keeps the
# longer wait.
if os.environ.get("MINIGRAD_KEEP_PROCESS") != "1":  # (see docs/devices.md)
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")

from . import methods as _methods  # gives the Tensor its operators
from . import ops
from .backend import BackendUnavailable
from .elsewhere import missing
from .execution import enable_grad, is_grad_enabled, no_grad
from .ops import *  # noqa: F403  the ops are the vocabulary
from .ops.random import manual_seed, seed
from .primitive import definition, primitive
from .tensor import Tensor, from_dlpack, tensor

__version__ = "0.2.0"
_ROOMS = (
    "amp",
    "checking",
    "compress",
    "data",
    "derivatives",
    "finetune",
    "functional",
    "insight",
    "linalg",
    "losses",
    "metrics",
    "nn",
    "onnx",
    "optim",
    "pretrained",
    "schedule",
    "serve",
    "tasks",
    "train",
    "transforms",
)
_BORROWED = (
    {"gradcheck": "checking", "grad": "pytree"}
    | dict.fromkeys(("vjp", "jvp", "jacobian", "hessian", "value_and_grad", "vmap"), "derivatives")
    | {"checkpoint": "transforms"}
    | dict.fromkeys(("cholesky", "cholesky_solve", "logdet", "matrix_exp", "matrix_power", "slogdet"), "linalg")
    | dict.fromkeys(("autocast", "GradScaler"), "amp")
    | dict.fromkeys(("save", "load"), "saving")
    | {"pipeline": "train"}
    | dict.fromkeys(("debug", "explain", "graph", "summary", "to_numpy_source"), "insight")
)


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    if name in _BORROWED:
        return getattr(import_module(f".{_BORROWED[name]}", __name__), name)
    if name in ops.LATER or name in ops.TORCH_NAMES:
        return globals().setdefault(name, getattr(ops, name))
    raise missing(__name__, name)


def __dir__():
    return sorted({*globals(), *_ROOMS, *_BORROWED, *ops.LATER, *ops.TORCH_NAMES})
