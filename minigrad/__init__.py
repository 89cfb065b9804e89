"""minigrad: a deep learning framework to read in an afternoon, and to take a real pretrained model to a real task with.

    import minigrad as mg
    from minigrad import nn, optim, losses, functional as F

This is the front door: the names a user types.  It loads NumPy and the tape; the other rooms open when first used.
"""
from importlib import import_module

from .backend import BackendUnavailable
from .ops import *  # noqa: F403  the ops are the vocabulary
from .primitive import definition, primitive
from .tensor import Tensor, enable_grad, from_dlpack, grad, no_grad, tensor

__version__ = "0.1.0"
_ROOMS = ("checking", "data", "functional", "insight", "losses", "metrics", "nn", "optim", "pretrained", "schedule", "train",
          "transforms")
_BORROWED = {"gradcheck": "checking"} | dict.fromkeys(("vjp", "jvp", "jacobian", "hessian", "checkpoint"), "transforms")


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    if name in _BORROWED:
        return getattr(import_module(f".{_BORROWED[name]}", __name__), name)
    raise AttributeError(f"module 'minigrad' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_ROOMS, *_BORROWED])
