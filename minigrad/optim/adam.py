"""Adam, which divides a running mean of the gradient by its usual size, and what was made of it."""

from __future__ import annotations

import math

from .optimizer import Optimizer, Parameters


class Adam(Optimizer):
    """w ← w − lr·m̂ / (√v̂ + eps), with m̂ and v̂ the unbiased means of g and g² (Kingma & Ba 2015, algorithm 1).

    `weight_decay`·w is added to g, and so is rescaled with it; AdamW is usually what is wanted.  With `amsgrad` the
    largest v so far stands for v (Reddi et al. 2018).
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ):
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory.update(step=0, exp_avg=backend.xp.zeros_like(param), exp_avg_sq=backend.xp.zeros_like(param))
        arrays = param, grad, memory["exp_avg"], memory["exp_avg_sq"]
        if group["amsgrad"]:
            if "max_exp_avg_sq" not in memory:
                memory["max_exp_avg_sq"] = backend.xp.zeros_like(param)
            arrays += (memory["max_exp_avg_sq"],)
        memory["step"] += 1
        return (
            "amsgrad_step" if group["amsgrad"] else "adam_step",
            arrays,
            {**_decaying(group), "step": memory["step"]},
        )


class AdamW(Adam):
    """Adam with decay apart from g: w ← (1 − lr·weight_decay)·w first (Loshchilov & Hutter 2019, algorithm 2)."""

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the mean m that the next step would have takes the place of m̂ (Dozat 2016).

    Its share grows as μ = beta1·(1 − 0.96^(t·momentum_decay) / 2).  `weight_decay` is Adam's, or AdamW's if it is
    decoupled.
    """

    numbers = {"step": int, "mu_product": float}

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            zeros = backend.xp.zeros_like
            memory.update(step=0, mu_product=1.0, exp_avg=zeros(param), exp_avg_sq=zeros(param))
        memory["step"] += 1
        step, (beta1, beta2) = memory["step"], group["betas"]
        mu, mu_next = (beta1 * (1 - 0.96 ** (t * group["momentum_decay"]) / 2) for t in (step, step + 1))
        memory["mu_product"] *= mu
        return (
            "nadam_step",
            (param, grad, memory["exp_avg"], memory["exp_avg_sq"]),
            {
                **_decaying(group),
                "unbias": math.sqrt(1 - beta2**step),
                "of_grad": (1 - mu) / (1 - memory["mu_product"]),
                "of_m": mu_next / (1 - memory["mu_product"] * mu_next),
            },
        )


class RAdam(Optimizer):
    """Adam that goes along m̂ alone until v has been averaged over enough steps (Liu et al. 2020, algorithm 2).

    `weight_decay` is Adam's, or AdamW's if it is decoupled.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory.update(step=0, exp_avg=backend.xp.zeros_like(param), exp_avg_sq=backend.xp.zeros_like(param))
        memory["step"] += 1
        step, (beta1, beta2) = memory["step"], group["betas"]
        unbias, most = 1 - beta2**step, 2 / (1 - beta2) - 1  # the most steps that v can be a mean of
        length = most - 2 * step * beta2**step / unbias  # ... and of how many it is by now
        rate, adaptive = group["lr"] / (1 - beta1**step), length > 5
        if adaptive:
            variance = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
            rate *= math.sqrt(variance * unbias)
        return (
            "radam_step",
            (param, grad, memory["exp_avg"], memory["exp_avg_sq"]),
            {**_decaying(group), "rate": rate, "adaptive": adaptive},
        )


class Adamax(Optimizer):
    """Adam with u, the decayed largest |g| so far, in the place of √v̂ (Kingma & Ba 2015, algorithm 2).

    `weight_decay`·w is added to g.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory.update(step=0, exp_avg=backend.xp.zeros_like(param), exp_inf=backend.xp.zeros_like(param))
        memory["step"] += 1
        rate = group["lr"] / (1 - group["betas"][0] ** memory["step"])
        return "adamax_step", (param, grad, memory["exp_avg"], memory["exp_inf"]), {**_shared(group), "rate": rate}


def _shared(group: dict) -> dict:
    """The options of a step that all of these have."""
    beta1, beta2 = group["betas"]
    return {"beta1": beta1, "beta2": beta2, "eps": group["eps"], "weight_decay": group["weight_decay"]}


def _decaying(group: dict) -> dict:
    """... and those of the ones whose decay may be decoupled."""
    return {**_shared(group), "lr": group["lr"], "decoupled": group["decoupled_weight_decay"]}
