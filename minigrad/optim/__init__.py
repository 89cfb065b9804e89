"""Optimisers.  The arithmetic of a step is in the backend's kernels; here is the state kept between steps."""

from typing import TYPE_CHECKING, Any

from ..elsewhere import missing as _missing
from .accumulation import GradientAccumulation
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .adaptive import Adadelta, Adafactor, Adagrad, RMSprop
from .average import EMA
from .clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_
from .descent import ASGD, SGD, Lion, Muon, Rprop
from .lbfgs import LBFGS
from .optimizer import Optimizer

__all__ = [
    "ASGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "EMA",
    "GradientAccumulation",
    "LBFGS",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _missing(__name__, name)
