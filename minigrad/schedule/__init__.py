"""Learning-rate schedules.  The rate is a function of the step alone, so it can be printed, plotted and resumed.

Names, arguments and defaults are those of torch.optim.lr_scheduler, and of transformers for the schedules with a
warm-up.
"""

from .compose import SequentialLR
from .cycle import OneCycleLR
from .decay import CosineAnnealingLR, ExponentialLR, LambdaLR, LinearLR, MultiStepLR, PolynomialLR, StepLR
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler
from .warmup import (
    constant_schedule_with_warmup,
    cosine_schedule_with_warmup,
    linear_schedule_with_warmup,
    polynomial_decay_schedule_with_warmup,
)

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "constant_schedule_with_warmup",
    "cosine_schedule_with_warmup",
    "linear_schedule_with_warmup",
    "polynomial_decay_schedule_with_warmup",
]
