"""Steps over several small batches that equal a step over one large batch."""

from __future__ import annotations

from ..backend import of
from ..errors import is_number, is_whole
from ..execution import writing
from ..tensor import Tensor
from .clip import clip_grad_norm_
from .optimizer import Optimizer, check_option


class GradientAccumulation:
    """One step of the optimiser for every `steps` losses, by the gradient of their weighted mean.

        accumulate = optim.GradientAccumulation(optimizer, steps=4)
        for x, y in loader:
            accumulate(criterion(model(x), y), weight=len(y))
        accumulate.flush()  # the last losses, if they were fewer

    With `weight` the number of examples, and a loss that is their mean, the step is that of one large batch, also
    where batches are of several sizes.  The gradients are clipped to `max_norm` before each step, and cleared after it.

    Raises:
        ValueError: `steps` is not an integer of at least 1, or a weight is not above 0.
    """

    def __init__(self, optimizer: Optimizer, steps: int, max_norm: float | None = None):
        if not is_whole(steps, 1):
            raise ValueError(f"GradientAccumulation needs steps to be a whole number, 1 or more, but got {steps!r}")
        if max_norm is not None:
            check_option("GradientAccumulation", "max_norm", max_norm)
        self.optimizer, self.steps, self.max_norm = optimizer, steps, max_norm
        self.count, self.weight = 0, 0.0  # losses since the last step, and their weights

    def __call__(self, loss: Tensor, weight: float = 1.0) -> bool:
        """Add the gradients of a loss; returns whether a step was made."""
        if not (is_number(weight) and weight > 0):
            raise ValueError(f"GradientAccumulation needs weight to be a number above 0, but got {weight!r}")
        (loss if weight == 1 else loss * float(weight)).backward()
        self.count, self.weight = self.count + 1, self.weight + weight
        return self.count >= self.steps and self.flush()

    def flush(self) -> bool:
        """Make the step for the losses since the last one; returns whether there were any."""
        if not self.count:
            return False
        params = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.weight != 1:
            for p in params:
                writing(p.grad.data)
                of(p.grad.data).call("scale", [p.grad.data], 1 / self.weight)
        if self.max_norm is not None:
            clip_grad_norm_(params, self.max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.count, self.weight = 0, 0.0
        return True
