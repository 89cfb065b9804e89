"""Optimisers.  The arithmetic of a step is in the backend's kernels; here is the state kept between steps."""

from .adam import Adam, AdamW
from .adaptive import Adagrad, RMSprop
from .average import EMA
from .clip import clip_grad_norm_, clip_grad_value_
from .descent import SGD
from .optimizer import Optimizer

__all__ = ["EMA", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "clip_grad_norm_", "clip_grad_value_"]
