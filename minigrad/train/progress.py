"""The numbers that the steps of a run report, and their means since the last record, over the epoch and the run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..optim.clip import NonFiniteError
from ..tensor import Tensor
from .state import Record


class Progress:
    """A row for each step: loss, accuracy, gradient norm, and whether all gradients are finite.

    Rows stay on the device until they are read.  `rate`, `scale` and `taken` describe the last step: its learning rate
    and loss scale, and whether the weights were updated.
    """

    def __init__(self, home: backend.Backend = backend.host, most: int = 1):
        self.home, self.rows, self.written = home, home.xp.empty((most, 4), np.float64), 0
        self.counts: list[int] = []
        self.made, self.run_loss = 0, 0.0  # the number of steps, and the sum of their losses
        self.unlogged: list[list[float]] = []  # loss and accuracy of the steps since the last record
        self.sums, self.seen = [0.0, 0.0], 0  # over the epoch: loss and accuracy times labels, and labels
        self.norm = self.rate = self.scale = 0.0
        self.taken = True

    def begin_epoch(self) -> None:
        self.sums, self.seen = [0.0, 0.0], 0

    def write(self, count: int, *numbers: Any) -> None:
        """Store the numbers that a step over `count` labels reports."""
        for column, number in enumerate(numbers):
            self.rows[self.written, column] = number.data if isinstance(number, Tensor) else number
        self.written += 1
        self.made += 1
        self.counts.append(count)

    def is_full(self) -> bool:
        return self.written == len(self.rows)

    def read(self, scaled: bool) -> bool:
        """Read the rows since the last call, in one copy from the device; return whether the last gradients are finite.

        Raises NonFiniteError if any gradients are not finite, unless they are `scaled`, since the loss scale may then
        be the cause.
        """
        rows, self.written = self.home.to_numpy(self.rows[: self.written]).tolist(), 0
        counts, self.counts = self.counts, []
        for step, (loss, accuracy, norm, _) in enumerate(rows, self.made - len(rows) + 1):
            if not scaled and not math.isfinite(norm):
                raise NonFiniteError(
                    f"the gradients cannot be clipped: at step {step} their norm is {norm}; "
                    "lower the learning rate, or look for log(0) or 0/0 in the loss"
                )
            count = counts[step - self.made + len(rows) - 1]
            self.sums = [self.sums[0] + count * loss, self.sums[1] + count * accuracy]
            self.seen += count
            self.run_loss += loss
            self.unlogged.append([loss, accuracy])
            self.norm = norm
        return bool(rows[-1][3]) if rows else self.taken

    def record(self, scaled: bool) -> Record | None:
        """The means over the steps since the last record, with the norm and rate of the last step; None if none."""
        if not self.unlogged:
            return None
        means = np.mean(self.unlogged, axis=0).tolist()
        self.unlogged = []
        return {
            **named(*means),
            "grad_norm": self.norm if self.taken else None,
            "learning_rate": self.rate,
            **({"loss_scale": self.scale} if scaled else {}),
        }

    def epoch_means(self) -> Record:
        """train_loss and train_accuracy: means over the epoch so far, measured while the model changed."""
        if not self.seen:
            return {}
        return {f"train_{name}": mean for name, mean in named(*(value / self.seen for value in self.sums)).items()}

    def training_loss(self) -> float:
        """The mean loss of all steps."""
        return self.run_loss / max(self.made, 1)

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs."""
        return {
            name: getattr(self, name)
            for name in ("made", "run_loss", "unlogged", "sums", "seen", "norm", "rate", "scale", "taken")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        vars(self).update(state_dict)


def named(loss: float, accuracy: float) -> dict[str, float]:
    """Both by name, without the accuracy if it is NaN."""
    return {"loss": loss} if math.isnan(accuracy) else {"loss": loss, "accuracy": accuracy}
