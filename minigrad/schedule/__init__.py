"""Learning-rate schedules.  The rate is a function of the step alone, so it can be printed, plotted and resumed.

Names, arguments and defaults are those of torch.optim.lr_scheduler, and of transformers for the schedules with a
warm-up.
"""

from typing import TYPE_CHECKING, Any

from ..elsewhere import missing as _missing
from .compose import ChainedScheduler, SequentialLR
from .cycle import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from .decay import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler
from .warmup import (
    constant_schedule_with_warmup,
    cosine_schedule_with_warmup,
    linear_schedule_with_warmup,
    polynomial_decay_schedule_with_warmup,
)

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
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

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _missing(__name__, name)
