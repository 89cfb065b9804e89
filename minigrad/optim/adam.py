"""Adam, which divides a running mean of the gradient by its usual size, and what was made of it."""

from __future__ import annotations

from .optimizer import Optimizer, Parameters


class Adam(Optimizer):
    """w ← w − lr·m̂ / (√v̂ + eps), with m̂ and v̂ the unbiased means of g and g² (Kingma & Ba 2015, algorithm 1).

    `weight_decay`·w is added to g, and so is rescaled with it; AdamW is usually what is wanted.
    """

    decoupled = False

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory.update(step=0, exp_avg=backend.xp.zeros_like(param), exp_avg_sq=backend.xp.zeros_like(param))
        memory["step"] += 1
        beta1, beta2 = group["betas"]
        return (
            "adam_step",
            (param, grad, memory["exp_avg"], memory["exp_avg_sq"]),
            dict(
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled=self.decoupled,
                step=memory["step"],
            ),
        )


class AdamW(Adam):
    """Adam with decay apart from g: w ← (1 − lr·weight_decay)·w first (Loshchilov & Hutter 2019, algorithm 2)."""

    decoupled = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)
