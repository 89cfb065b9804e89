"""Steps divided by the size that gradients have had."""

from __future__ import annotations

from .optimizer import Optimizer, Parameters


class RMSprop(Optimizer):
    """w ← w − lr·g / (√v + eps), with v ← alpha·v + (1 − alpha)·g² (Tieleman & Hinton 2012, lecture 6.5).

    With `centered`, the running mean of g, squared, is taken from v (Graves 2013, eq. 38 to 45); with `momentum`, the
    steps before lr are added up as b ← momentum·b + step.  `weight_decay`·w is added to g.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered
        )

    def _update(self, backend, param, grad, memory, group):
        buffers = {"square_avg": True, "momentum_buffer": group["momentum"], "grad_avg": group["centered"]}
        for key, used in buffers.items():
            if used and key not in memory:
                memory[key] = backend.xp.zeros_like(param)
        arrays = param, grad, memory["square_avg"], memory.get("grad_avg"), memory.get("momentum_buffer")
        return (
            "rmsprop_step",
            arrays,
            dict(
                lr=group["lr"],
                alpha=group["alpha"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
            ),
        )


class Adagrad(Optimizer):
    """w ← w − lr / (1 + t·lr_decay) · g / (√s + eps), with s the sum of all g² so far (Duchi et al. 2011).

    t is the number of steps before this one.  s begins at `initial_accumulator_value`; `weight_decay`·w is added to g.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ):
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory.update(step=0, sum=backend.xp.full_like(param, group["initial_accumulator_value"]))
        lr = group["lr"] / (1 + memory["step"] * group["lr_decay"])
        memory["step"] += 1
        options = {"lr": lr, "eps": group["eps"], "weight_decay": group["weight_decay"]}
        return "adagrad_step", (param, grad, memory["sum"]), options
