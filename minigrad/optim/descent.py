"""Steps along the gradient."""

from __future__ import annotations

from .optimizer import Optimizer, Parameters


class SGD(Optimizer):
    """Stochastic gradient descent: v ← momentum·v + (1 − dampening)·g, then w ← w − lr·v; the first v is g itself.

    `nesterov` steps along g + momentum·v instead (Sutskever et al. 2013, as torch writes it); `weight_decay`·w is
    added to g.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def _update(self, backend, param, grad, memory, group):
        first = not memory
        if group["momentum"] and first:
            memory["momentum_buffer"] = backend.xp.empty_like(param)
        velocity = memory["momentum_buffer"] if group["momentum"] else None
        return "sgd_step", (param, grad, velocity), {**{key: group[key] for key in self.defaults}, "first": first}
