"""The schedules with a warm-up of transformers."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

from ..optim import Optimizer
from .curves import cosine, done, line
from .decay import LambdaLR


def constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1) -> LambdaLR:
    """Rise from 0 to lr in a straight line over `num_warmup_steps`, then stay there."""
    return _after_warmup(optimizer, num_warmup_steps, num_warmup_steps, lambda progress: 1.0, last_epoch)


def linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then fall linearly to 0 at `num_training_steps`, and stay there."""
    return _after_warmup(optimizer, num_warmup_steps, num_training_steps, lambda progress: 1.0 - progress, last_epoch)


def polynomial_decay_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then fall as (1 − progress) ^ power to lr_end, and stay there.

    As in transformers, lr_end is for groups with the optimiser's own lr; others end in proportion.

    Raises:
        ValueError: lr_end is not below the optimiser's lr.
    """
    lr = optimizer.defaults["lr"]
    if not lr_end < lr:
        raise ValueError(f"lr_end={lr_end} must be below the optimiser's lr, {lr}")
    return _after_warmup(
        optimizer,
        num_warmup_steps,
        num_training_steps,
        lambda progress: line(lr_end / lr, 1.0, (1.0 - progress) ** power),
        last_epoch,
    )


def cosine_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 0.5, last_epoch: int = -1
) -> LambdaLR:
    """Rise from 0 to lr over `num_warmup_steps`, then follow `num_cycles` waves of a cosine (Loshchilov & Hutter 2017).

    Half a wave, the default, falls to 0.  After `num_training_steps` the rate stays as it is (that of transformers
    rises again).
    """
    return _after_warmup(
        optimizer,
        num_warmup_steps,
        num_training_steps,
        lambda progress: cosine(1.0, 0.0, 2.0 * num_cycles * progress),
        last_epoch,
    )


def _after_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    decay: Callable[[float], float],
    last_epoch: int,
) -> LambdaLR:
    """Warm up, then follow `decay`, a function of how much of the rest of the training is done (0 to 1)."""
    for name, steps in (("num_warmup_steps", num_warmup_steps), ("num_training_steps", num_training_steps)):
        if not isinstance(steps, Real) or steps < 0 or steps % 1:
            raise ValueError(
                f"{name} counts optimiser steps, so it must be a whole number, 0 or more, but got "
                f"{steps!r}; for a ratio, type int(ratio * number_of_steps)"
            )

    def factor(step: int) -> float:
        if step < num_warmup_steps:
            return step / num_warmup_steps
        return decay(done(step, num_warmup_steps, num_training_steps))

    return LambdaLR(optimizer, factor, last_epoch)
