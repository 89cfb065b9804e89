"""Steps along the gradient, its sign, or a mean of it."""

from __future__ import annotations

import math

from ..errors import is_whole
from .optimizer import Check, Optimizer, Parameters, several


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
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )

    def _update(self, backend, param, grad, memory, group):
        first = not memory
        if group["momentum"] and first:
            memory["momentum_buffer"] = backend.xp.empty_like(param)
        velocity = memory["momentum_buffer"] if group["momentum"] else None
        options = {key: group[key] for key in ("lr", "momentum", "dampening", "weight_decay", "nesterov")}
        return "sgd_step", (param, grad, velocity), {**options, "first": first}


class ASGD(Optimizer):
    """w ← (1 − lambd·η)·w − η·g, and the mean of the w after step t0 (Polyak & Juditsky 1992, as torch writes it).

    η = lr / (1 + lambd·lr·t)^alpha falls with the step t.  The means are in `state[w]["ax"]`; `weight_decay`·w is
    added to g.
    """

    numbers = {"step": int, "eta": float, "mu": float}

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, maximize=maximize)

    def _update(self, backend, param, grad, memory, group):
        lr, lambd = group["lr"], group["lambd"]
        if not memory:
            memory.update(step=0, eta=float(lr), mu=1.0, ax=backend.xp.zeros_like(param))
        rate, share = memory["eta"], memory["mu"]
        memory["step"] += 1
        memory["eta"] = lr / (1 + lambd * lr * memory["step"]) ** group["alpha"]
        memory["mu"] = 1 / max(1, memory["step"] - group["t0"])
        options = {"rate": rate, "lambd": lambd, "weight_decay": group["weight_decay"], "share": share}
        return "asgd_step", (param, grad, memory["ax"]), options


class Rprop(Optimizer):
    """Each entry goes a size of its own against the sign of its gradient (Riedmiller & Braun 1993).

    The size is lr at first; it is multiplied by etas[1] where the sign is that of the step before, and by etas[0]
    where it has turned, within `step_sizes`.  For gradients of all the data, not of batches.
    """

    checks = {
        "etas": (
            several(2, lambda shrink, grow: 0 < shrink < 1 < grow),
            "etas to be two numbers, one between 0 and 1 and one above 1",
        ),
        "step_sizes": (
            several(2, lambda smallest, largest: 0 <= smallest <= largest),
            "step_sizes to be two numbers, the smallest and the largest step",
        ),
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize)

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory.update(step=0, prev=backend.xp.zeros_like(param), step_size=backend.xp.full_like(param, group["lr"]))
        memory["step"] += 1
        (shrink, grow), (smallest, largest) = group["etas"], group["step_sizes"]
        options = {"shrink": shrink, "grow": grow, "smallest": smallest, "largest": largest}
        return "rprop_step", (param, grad, memory["prev"], memory["step_size"]), options


class Lion(Optimizer):
    """w ← w − lr·sign(beta1·m + (1 − beta1)·g), with m ← beta2·m + (1 − beta2)·g after it (Chen et al. 2023).

    Every entry moves by lr, so lr is 3 to 10 times smaller than AdamW's, and `weight_decay`, decoupled as there, as
    many times larger.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize)

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory["exp_avg"] = backend.xp.zeros_like(param)
        beta1, beta2 = group["betas"]
        options = {"lr": group["lr"], "beta1": beta1, "beta2": beta2, "weight_decay": group["weight_decay"]}
        return "lion_step", (param, grad, memory["exp_avg"]), options


class Muon(Optimizer):
    """Momentum whose matrix is made orthogonal before each step (Jordan et al. 2024): for matrices inside a network.

    The biases, the embeddings and the last layer are for another optimiser, AdamW say.  `adjust_lr_fn` is how lr
    grows with the shape: "original" by √max(1, rows / columns), "match_rms_adamw" by 0.2·√max(rows, columns), so that
    AdamW's lr and decay serve here too.  The iteration is computed in float32 (torch: in bfloat16).

    Raises:
        ValueError: a parameter has not two axes.
    """

    checks: dict[str, Check] = {
        "ns_coefficients": (several(3, lambda *numbers: True), "ns_coefficients to be three numbers"),
        "ns_steps": (lambda v: is_whole(v, 0) and v < 100, "ns_steps to be a whole number from 0 to 99"),
        "adjust_lr_fn": (
            lambda v: v in (None, "original", "match_rms_adamw"),
            'adjust_lr_fn to be "original" or "match_rms_adamw"',
        ),
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        super().__init__(
            params,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_coefficients=ns_coefficients,
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        )

    def add_param_group(self, group):
        super().add_param_group(group)
        for p in self.param_groups[-1]["params"]:
            if p.ndim != 2:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon moves matrices, but a parameter has shape {p.shape}: give it [p for p in "
                    "model.parameters() if p.ndim == 2], and the others to AdamW"
                )

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory["momentum_buffer"] = backend.xp.zeros_like(param)
        rows, columns = param.shape
        by_adamw = group["adjust_lr_fn"] == "match_rms_adamw"
        scale = 0.2 * math.sqrt(max(rows, columns)) if by_adamw else math.sqrt(max(1, rows / max(columns, 1)))
        options = {key: group[key] for key in ("lr", "weight_decay", "momentum", "nesterov", "eps")}
        more = {"coefficients": tuple(group["ns_coefficients"]), "rounds": group["ns_steps"], "scale": scale}
        return "muon_step", (param, grad, memory["momentum_buffer"]), options | more
