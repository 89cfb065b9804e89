"""Steps divided by the size that gradients have had."""

from __future__ import annotations

from typing import Any

from ..backend import spacing
from ..errors import is_number
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
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            maximize=maximize,
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
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            maximize=maximize,
        )

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory.update(step=0, sum=backend.xp.full_like(param, group["initial_accumulator_value"]))
        lr = group["lr"] / (1 + memory["step"] * group["lr_decay"])
        memory["step"] += 1
        options = {"lr": lr, "eps": group["eps"], "weight_decay": group["weight_decay"]}
        return "adagrad_step", (param, grad, memory["sum"]), options


class Adadelta(Optimizer):
    """w ← w − lr·√(d + eps) / √(v + eps)·g, with v and d the running means of g² and of the change² (Zeiler 2012).

    Both means keep `rho` of what they were.  `weight_decay`·w is added to g.
    """

    checks = {"rho": (lambda value: is_number(value) and 0 <= value <= 1, "rho to be in [0, 1]")}

    def __init__(
        self,
        params: Parameters,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory.update(step=0, square_avg=backend.xp.zeros_like(param), acc_delta=backend.xp.zeros_like(param))
        memory["step"] += 1
        options = {key: group[key] for key in ("lr", "rho", "eps", "weight_decay")}
        return "adadelta_step", (param, grad, memory["square_avg"], memory["acc_delta"]), options


class Adafactor(Optimizer):
    """w ← w − rate·g / √v, where of a matrix v is kept as two vectors, so that its memory is small.

    v follows g² by a share step^beta2_decay; rate is min(lr, 1 / √step) times the size of the weights, their root mean
    square, or eps[1] if that is more; a change whose root mean square is above `d` is scaled down to it (Shazeer &
    Stern 2018, algorithms 4 and 5, as torch writes them).  eps[0] is the least √v, by default the dtype's.  The decay
    is AdamW's.
    """

    checks = {
        "beta2_decay": (lambda value: is_number(value) and value <= 0, "beta2_decay to be a number, 0 or less"),
        "d": (lambda value: is_number(value) and value >= 1, "d to be a number, 1 or more"),
        "eps": (
            lambda v: isinstance(v, (tuple, list)) and len(v) == 2 and all(_is_eps(*pair) for pair in enumerate(v)),
            "eps to be two numbers, 0 or more, the first of which may be None",
        ),
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params, lr=lr, beta2_decay=beta2_decay, eps=eps, d=d, weight_decay=weight_decay, maximize=maximize
        )

    def shape_kept(self, key, shape):
        return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, *shape[-1:])}.get(key, shape)

    def _update(self, backend, param, grad, memory, group):
        if not memory:
            memory["step"] = 0
            for key in ("row_var", "col_var") if param.ndim > 1 else ("variance",):
                memory[key] = backend.xp.zeros(self.shape_kept(key, param.shape), param.dtype)
        memory["step"] += 1
        eps1, eps2 = group["eps"]
        options = {
            "lr": group["lr"],
            "new": memory["step"] ** group["beta2_decay"],
            "eps1": spacing(param.dtype) if eps1 is None else eps1,
            "eps2": eps2,
            "d": group["d"],
            "weight_decay": group["weight_decay"],
            "step": memory["step"],
        }
        return "adafactor_step", (param, grad, *map(memory.get, ("row_var", "col_var", "variance"))), options


def _is_eps(place: int, value: Any) -> bool:
    return place == 0 if value is None else is_number(value) and value >= 0
