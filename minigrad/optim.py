"""Optimisers.  The arithmetic of a step is in the backend's kernels; here is the state kept between steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np

from .backend import Backend, host, of
from .mode import writing
from .tensor import Tensor
from .writes import check_own_places

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


class Optimizer:
    """Parameters in groups, each group with its own options, and a memory per parameter.

    `param_groups` is a list of dicts, {"params": [...], "lr": ..., ...}, to read and to write; `state` maps a
    parameter to the arrays kept for it, under torch's names.  A subclass says in `_update` what one step does to one
    parameter: (the name of a kernel, the arrays it is given, its options).

    Raises:
        TypeError: something given is not a Tensor, or an option is one this optimiser does not have.
        ValueError: there are no parameters, one is given twice, one is not a leaf, or an option is out of range.
    """

    def __init__(self, params: Parameters, **defaults: Any):
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        params = _listed(params)
        for group in params if params and isinstance(params[0], dict) else [{"params": params}]:
            self.add_param_group(group)
        if not any(self._walk()):
            raise ValueError(
                f"{type(self).__name__} got no parameters: give it a fresh model.parameters(), since a "
                "generator that was walked through once is empty"
            )

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add a group; the options it does not name are those the optimiser was given."""
        name = type(self).__name__
        if not isinstance(group, dict):
            raise TypeError(f"{name}: a group is a dict, {{'params': [...], 'lr': ...}}, not a {type(group).__name__}")
        if unknown := group.keys() - self.defaults.keys() - {"params", "name"}:
            raise TypeError(
                f"{name} has no option {min(unknown)!r}: a group may set {', '.join(self.defaults)}, params and name"
            )
        group = {**self.defaults, **group, "params": _listed(group.get("params", ()))}
        first_place = {p: i for i, (_, p) in enumerate(self._walk())}
        for i, p in enumerate(group["params"], len(first_place)):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{name} moves Tensors, but parameter {i} is a {type(p).__name__}: type model.parameters()"
                )
            if not p.is_leaf:
                raise ValueError(
                    f"{name} moves leaves, but parameter {i} is the result of an op: give what it was made from"
                )
            check_own_places(p.data)
            if first_place.setdefault(p, i) != i:
                raise ValueError(f"{name} got one Tensor twice: parameter {i} is parameter {first_place[p]} again")
        for option in self.defaults:
            _check_option(name, option, group[option])
        if group.get("nesterov") and (not group["momentum"] or group["dampening"]):
            raise ValueError(f"{name} needs momentum above 0 and dampening=0 for nesterov=True")
        self.param_groups.append(group)

    def step(self) -> None:
        """Move, in place, every parameter that has a gradient.

        Raises:
            ValueError: a gradient has another shape than its parameter, or lives on another device.
        """
        alike: dict[tuple, list] = {}  # grouped by kernel and options: a GPU launches each group once
        for i, (group, p) in enumerate(self._walk()):
            if p.grad is None:
                continue
            if (p.grad.shape, p.grad.device) != (p.shape, p.device):
                raise ValueError(
                    f"parameter {i} has shape {p.shape} on {p.device}, but its gradient has "
                    f"{p.grad.shape} on {p.grad.device}: call zero_grad() after reshaping or moving a "
                    "model"
                )
            backend = of(p.data)
            kernel, arrays, options = self._update(backend, p.data, p.grad.data, self.state.setdefault(p, {}), group)
            alike.setdefault((backend.name, kernel, *options.items()), []).append(arrays)
            writing(p.data)  # backward through a graph that saved the old weight now fails
        for (_, kernel, *options), rows in alike.items():
            backend = of(rows[0][0])
            at_once = backend.kernels.get(f"{kernel}s")
            if at_once:
                at_once(backend.xp, rows, **dict(options))
            else:
                for arrays in rows:
                    backend.kernels[kernel](backend.xp, *arrays, **dict(options))

    def _update(
        self, backend: Backend, param: Any, grad: Any, memory: dict[str, Any], group: dict[str, Any]
    ) -> tuple[str, tuple, dict[str, Any]]:
        raise NotImplementedError(f"{type(self).__name__} defines no `_update`, the step of one parameter")

    def zero_grad(self) -> None:
        """Forget every gradient: `.grad` becomes None."""
        for _, p in self._walk():
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """A copy of what a resumed run needs: numbers and NumPy arrays by the parameter's position, as in torch."""
        place = {p: i for i, (_, p) in enumerate(self._walk())}
        return {
            "state": {
                place[p]: {key: _copied(value, host) for key, value in memory.items()}
                for p, memory in self.state.items()
            },
            "param_groups": [{**group, "params": [place[p] for p in group["params"]]} for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict()` returned: the next step is the one it would have been.

        Raises:
            ValueError: it was saved by another kind of optimiser, or for other parameters.
        """
        name, state = type(self).__name__, {}
        if missing := {"state", "param_groups"} - state_dict.keys():
            raise ValueError(
                f"this is no optimiser's state: it has no {min(missing)!r}; give what {name}.state_dict() returned"
            )
        saved = state_dict["param_groups"]
        sizes, own_sizes = ([len(group["params"]) for group in groups] for groups in (saved, self.param_groups))
        if sizes != own_sizes:
            raise ValueError(
                f"the saved state is for groups of {sizes} parameters, but this {name} has groups of {own_sizes}"
            )
        if missing := self.defaults.keys() - saved[0].keys():
            raise ValueError(f"the saved state is of another optimiser than {name}: it has no {min(missing)}")
        if asked := [option for group in saved for option in ("amsgrad", "maximize") if group.get(option)]:
            raise ValueError(f"the saved state is of a run with {asked[0]}=True, which {name} does not have")
        for i, (_, p) in enumerate(self._walk()):
            for key, value in state_dict["state"].get(i, {}).items():
                if value is None:  # torch's momentum before the first step
                    continue
                if key == "step":
                    state.setdefault(p, {})[key] = int(value)  # in torch a tensor
                    continue
                if not hasattr(value, "shape") or tuple(value.shape) != p.shape:
                    raise ValueError(
                        f"parameter {i} has shape {p.shape}, its saved {key} has "
                        f"{getattr(value, 'shape', 'none')}: is it this model?"
                    )
                state.setdefault(p, {})[key] = _copied(value, of(p.data))
        self.state = state
        for group, options in zip(self.param_groups, saved, strict=True):
            group.update({**options, "params": group["params"]})

    def _walk(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        return ((group, p) for group in self.param_groups for p in group["params"])


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


class EMA:
    """An exponential moving average of weights, often better than the weights themselves (Polyak & Juditsky 1992).

    average ← decay·average + (1 − decay)·w at each `update()`, to be called after `optimizer.step()`; the first one
    takes the weights as they are, as torch's AveragedModel does.  To evaluate with the averages, or to save them:

        with ema.applied():
            evaluate(model)
    """

    def __init__(self, params: Iterable[Tensor], decay: float = 0.999):
        if not (_is_number(decay) and 0 <= decay <= 1):
            raise ValueError(f"EMA needs decay to be in [0, 1], but got {decay!r}")
        self.decay, self.params, self.n_averaged = decay, _listed(params), 0
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
        return {"n_averaged": self.n_averaged, "averages": [_copied(average, host) for average in self.averages]}

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
        self.averages = [_copied(a, of(p.data)) for a, p in zip(state_dict["averages"], self.params)]


def clip_grad_norm_(
    parameters: Iterable[Tensor], max_norm: float, *, error_if_nonfinite: bool = False
) -> float | Tensor:
    """Scale all gradients in place so that their joint 2-norm is at most `max_norm`; return the norm before.

    On a GPU it is returned as a 0-d Tensor without waiting for the device (float(norm) waits), unless
    `error_if_nonfinite`.

    Raises:
        ValueError: the norm is infinite or not a number, and `error_if_nonfinite` is True.
    """
    _check_option("clip_grad_norm_", "max_norm", max_norm)
    grads = {i: p.grad for i, p in enumerate(_listed(parameters)) if p.grad is not None}
    backend = of(*(g.data for g in grads.values()))
    squares = backend.kernels["square_sums"](backend.xp, [g.data for g in grads.values()])
    if grads and backend is not host and not error_if_nonfinite:
        norm = backend.xp.sqrt(sum(squares))
        scale = backend.xp.minimum(max_norm / (norm + 1e-6), 1)  # of nan and 1 this is nan
        for g in grads.values():
            writing(g.data)
            g.data *= scale.astype(g.dtype)
        return Tensor(norm)
    norm = math.sqrt(sum(squares))  # one wait for the device, not one per gradient
    if error_if_nonfinite and not math.isfinite(norm):
        bad = [i for i, square in zip(grads, squares) if not math.isfinite(square)]
        raise ValueError(
            f"the gradients cannot be clipped: their norm is {norm}, by those of parameters "
            f"{bad or 'all'}; lower the learning rate, or look for log(0) or 0/0 in the loss"
        )
    scale = max_norm / (norm + 1e-6)  # torch's guard against dividing by zero
    if not scale >= 1:  # true of NaN too, which then spreads to the gradients and is noticed
        for g in grads.values():
            writing(g.data)
        with np.errstate(invalid="ignore"):
            backend.kernels["scale"](backend.xp, [g.data for g in grads.values()], scale)
    return norm


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Limit every entry of every gradient to [−clip_value, clip_value], in place."""
    _check_option("clip_grad_value_", "clip_value", clip_value)
    for p in _listed(parameters):
        if p.grad is not None:
            writing(p.grad.data)
            of(p.grad.data).xp.clip(p.grad.data, -clip_value, clip_value, out=p.grad.data)


def _listed(params: Any) -> list[Any]:
    """`params` as a list; a single Tensor is one parameter and is not iterated over."""
    if isinstance(params, Tensor):
        return [params]
    if isinstance(params, (set, frozenset)) or not isinstance(params, Iterable):
        raise TypeError(
            f"parameters come in a list or a generator, not as a {type(params).__name__}: type model.parameters()"
        )
    return list(params)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _check_option(name: str, option: str, value: Any) -> None:
    """Check the value of an optimiser's option.

    Raises:
        ValueError: naming the optimiser, the option, what is needed, and what was given.
    """
    if option == "betas":
        good, needs = (
            (
                isinstance(value, (tuple, list))
                and len(value) == 2
                and all(_is_number(beta) and 0 <= beta < 1 for beta in value)
            ),
            "both betas to be in [0, 1)",
        )
    elif option in ("nesterov", "centered"):
        good, needs = isinstance(value, (bool, np.bool_)), f"{option} to be True or False"
    elif option == "dampening":
        good, needs = _is_number(value) and math.isfinite(value), "dampening to be a number"
    else:
        good, needs = _is_number(value) and value >= 0, f"{option} to be a number, 0 or more"
    if not good:
        raise ValueError(f"{name} needs {needs}, but got {value!r}")


def _copied(value: Any, backend: Backend) -> Any:
    """A step count as it is; an array as a copy of the backend's."""
    return value if isinstance(value, int) else backend.xp.array(of(value).to_numpy(value))
