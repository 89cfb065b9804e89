"""Averages of the weights over the steps of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..backend import host, of
from ..errors import is_number
from ..execution import writing
from ..tensor import Tensor
from .optimizer import copied, listed


class EMA:
    """An exponential moving average of weights, often better than the weights themselves (Polyak & Juditsky 1992).

    average ← decay·average + (1 − decay)·w at each `update()`, to be called after `optimizer.step()`; the first one
    takes the weights as they are, as torch's AveragedModel does.  To evaluate with the averages, or to save them:

        with ema.applied():
            evaluate(model)
    """

    def __init__(self, params: Iterable[Tensor], decay: float = 0.999):
        if not (is_number(decay) and 0 <= decay <= 1):
            raise ValueError(f"EMA needs decay to be in [0, 1], but got {decay!r}")
        self.decay, self.params, self.n_averaged = decay, listed(params), 0
        self.averages = [of(p.data).xp.array(p.data) for p in self.params]

    def update(self) -> None:
        """Let the averages follow the weights by one step."""
        for average, p in zip(self.averages, self.params):
            writing(average)
            if self.n_averaged:
                average += (1 - self.decay) * (p.data - average)
            else:
                average[...] = p.data
        self.n_averaged += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the parameters hold the averages; afterwards their own values.  Do not train inside."""
        weights = [p.data for p in self.params]
        self._hold(self.averages)
        try:
            yield
        finally:
            self._hold(weights)

    def _hold(self, arrays: list[Any]) -> None:
        for p, array in zip(self.params, arrays):
            writing(p.data)  # as an optimiser's step
            writing(array)
            p.hold(array)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, as a copy in NumPy."""
        return {"n_averaged": self.n_averaged, "averages": [copied(average, host) for average in self.averages]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict()` returned.

        Raises:
            ValueError: it was saved for other parameters.
        """
        saved, own = ([a.shape for a in averages] for averages in (state_dict["averages"], self.averages))
        if saved != own:
            raise ValueError(
                f"the saved averages have shapes {saved}, but these parameters have {own}: is it this model?"
            )
        self.n_averaged = state_dict["n_averaged"]
        self.averages = [copied(a, of(p.data)) for a, p in zip(state_dict["averages"], self.params)]
