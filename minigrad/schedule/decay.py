"""Schedules that multiply the rate by a function of the step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from ..optim import Optimizer
from .curves import cosine, done, line
from .scheduler import LRScheduler, one_each, whole


class LambdaLR(LRScheduler):
    """lr · lr_lambda(step); `lr_lambda` is one function for all groups, or a list with one for each.

    Raises:
        ValueError: there are not as many functions as groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        factors = one_each(lr_lambda, optimizer, "functions")
        if not all(map(callable, factors)):
            raise TypeError(f"LambdaLR takes functions of the step, but got {factors}")
        super().__init__(
            optimizer, [lambda base, step, factor=factor: base * factor(step) for factor in factors], last_epoch
        )

    def then(self, lr: float, step: int, group: int) -> None:
        """As in torch, the rate comes from the base whatever else has set it."""


class MultiplicativeLR(LRScheduler):
    """lr · lr_lambda(1) · … · lr_lambda(step); `lr_lambda` is one function for all groups, or a list with one for each.

    Raises:
        ValueError: there are not as many functions as groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        self.factors = one_each(lr_lambda, optimizer, "functions")
        if not all(map(callable, self.factors)):
            raise TypeError(f"MultiplicativeLR takes functions of the step, but got {self.factors}")
        super().__init__(optimizer, [_Product(factor) for factor in self.factors], last_epoch)

    def then(self, lr: float, step: int, group: int) -> float:
        """The rate in use, times the factor of this step."""
        return lr * self.factors[group](step) if step else lr


class _Product:
    """The rate base · factor(1) · … · factor(step), of which the products that were computed are kept."""

    def __init__(self, factor: Callable[[int], float]):
        self.factor, self.products = factor, [1.0]

    def __call__(self, base: float, step: int) -> float:
        while len(self.products) <= step:
            self.products.append(self.products[-1] * self.factor(len(self.products)))
        return base * self.products[step]


class ConstantLR(LRScheduler):
    """factor · lr until step `total_iters`, then lr."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1):
        whole(self, total_iters=(total_iters, 1))
        if not 0 < factor <= 1:
            raise ValueError(f"ConstantLR: factor={factor} must be above 0 and at most 1")
        super().__init__(optimizer, lambda base, step: base * (factor if step < total_iters else 1.0), last_epoch)


class StepLR(LRScheduler):
    """lr · gamma ^ ⌊step / step_size⌋: lower by a factor every `step_size` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        whole(self, step_size=(step_size, 1))
        super().__init__(optimizer, lambda base, step: base * gamma ** (step // step_size), last_epoch)


class MultiStepLR(LRScheduler):
    """lr · gamma ^ (the number of milestones reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1):
        milestones = sorted(milestones)
        for milestone in milestones:
            whole(self, milestones=(milestone, 0))
        super().__init__(optimizer, lambda base, step: base * gamma ** bisect_right(milestones, step), last_epoch)


class ExponentialLR(LRScheduler):
    """lr · gamma ^ step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        super().__init__(optimizer, lambda base, step: base * gamma**step, last_epoch)


class CosineAnnealingLR(LRScheduler):
    """From lr along half a cosine to eta_min at T_max, then up again as in torch (Loshchilov & Hutter 2017, eq. 5)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        whole(self, T_max=(T_max, 1))
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, lambda base, step: cosine(base, eta_min, step / T_max), last_epoch)

    def then(self, lr: float, step: int, group: int) -> float:
        """The distance from eta_min follows the ratio of the cosines; at the lowest point their difference is added."""
        if not step:
            return lr
        if (step - 1 - self.T_max) % (2 * self.T_max) == 0:
            return lr + (self.base_lrs[group] - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        now, before = (1 + math.cos(math.pi * t / self.T_max) for t in (step, step - 1))
        return self.eta_min + (lr - self.eta_min) * now / before


class LinearLR(LRScheduler):
    """From start_factor · lr in a straight line to end_factor · lr at step `total_iters`, and stay there."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        whole(self, total_iters=(total_iters, 1))
        if not (0 < start_factor <= 1 and 0 <= end_factor <= 1):
            raise ValueError(
                f"LinearLR: start_factor={start_factor} must be above 0 and at most 1, and "
                f"end_factor={end_factor} from 0 to 1"
            )

        def rate(base: float, step: int) -> float:
            return base * line(start_factor, end_factor, done(step, 0, total_iters))

        super().__init__(optimizer, rate, last_epoch)


class PolynomialLR(LRScheduler):
    """lr · (1 − step / total_iters) ^ power, which is 0 at step `total_iters`, and stay there."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1):
        whole(self, total_iters=(total_iters, 1))
        super().__init__(optimizer, lambda base, step: base * (1 - done(step, 0, total_iters)) ** power, last_epoch)
