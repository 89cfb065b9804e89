"""What every optimiser shares: parameters in groups, the memory kept for each, and one step after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..backend import Backend, host, of
from ..errors import is_number
from ..execution import enable_grad, writing
from ..tensor import Tensor
from ..writes import check_own_places

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]
Check = tuple[Callable[[Any], Any], str]
NEWER = {"amsgrad", "maximize", "decoupled_weight_decay"}  # options that states saved by version 0.1 lack


class Optimizer:
    """Parameters in groups, each group with its own options, and a memory per parameter.

    With `maximize=True`, where there is this option, the steps go up: every gradient counts with the other sign.

    `param_groups` is a list of dicts, {"params": [...], "lr": ..., ...}, to read and to write; `state` maps a
    parameter to the arrays kept for it, under torch's names.  A subclass says in `_update` what one step does to one
    parameter: (the name of a kernel, the arrays it is given, its options).

    Raises:
        TypeError: something given is not a Tensor, or an option is one this optimiser does not have.
        ValueError: there are no parameters, one is given twice, one is not a leaf, or an option is out of range.
    """

    checks: dict[str, Check] = {}  # an option that only this optimiser has: is it good, and what is needed?
    numbers: dict[str, type] = {"step": int}  # the entries of a parameter's state that are not arrays

    def __init__(self, params: Parameters, **defaults: Any):
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        params = listed(params)
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
        group = {**self.defaults, **group, "params": listed(group.get("params", ()))}
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
            check_option(name, option, group[option], self.checks)
        if group.get("nesterov") and (not group["momentum"] or group.get("dampening")):
            raise ValueError(f"{name} needs momentum above 0 and dampening=0 for nesterov=True")
        self.param_groups.append(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move, in place, every parameter that has a gradient.

        `closure`, where one is given, is called first: it is to clear the gradients, compute the loss, call its
        `backward()` and return it; so does this method then.

        Raises:
            ValueError: a gradient has another shape than its parameter, or lives on another device.
        """
        loss = None if closure is None else enable_grad()(closure)()
        alike: dict[tuple, list] = {}  # grouped by kernel and options: a GPU launches each group once
        for i, (group, p) in enumerate(self._walk()):
            if (grad := checked_gradient(i, p)) is None:
                continue
            backend = of(p.data)
            grad = -grad if group.get("maximize") else grad
            kernel, arrays, options = self._update(backend, p.data, grad, self.state.setdefault(p, {}), group)
            alike.setdefault((backend.name, kernel, *options.items()), []).append(arrays)
            writing(p.data)  # backward through a graph that saved the old weight now fails
        for (_, kernel, *options), rows in alike.items():
            of(rows[0][0]).call(kernel, rows, **dict(options))
        return loss

    def _update(
        self, backend: Backend, param: Any, grad: Any, memory: dict[str, Any], group: dict[str, Any]
    ) -> tuple[str, tuple, dict[str, Any]]:
        raise NotImplementedError(f"{type(self).__name__} defines no `_update`, the step of one parameter")

    def shape_kept(self, key: str, shape: tuple) -> tuple:
        """The shape of what is kept under this key for a parameter of that shape."""
        return shape

    def zero_grad(self) -> None:
        """Forget every gradient: `.grad` becomes None."""
        for _, p in self._walk():
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """A copy of what a resumed run needs: numbers and NumPy arrays by the parameter's position, as in torch."""
        place = {p: i for i, (_, p) in enumerate(self._walk())}
        return {
            "state": {
                place[p]: {key: copied(value, host) for key, value in memory.items()}
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
        if missing := self.defaults.keys() - saved[0].keys() - NEWER:
            raise ValueError(f"the saved state is of another optimiser than {name}: it has no {min(missing)}")
        for i, (_, p) in enumerate(self._walk()):
            for key, value in state_dict["state"].get(i, {}).items():
                if value is None:  # torch's momentum before the first step
                    continue
                state.setdefault(p, {})[key] = self.restored(key, value, p, i)
        self.state = state
        for group, options in zip(self.param_groups, saved, strict=True):
            group.update({**options, "params": group["params"]})

    def restored(self, key: str, value: Any, p: Tensor, place: int) -> Any:
        """What was saved under this key for parameter p, as a copy where p lives.

        Raises:
            ValueError: it has another shape than what would be kept here.
        """
        if key in self.numbers:
            return self.numbers[key](value)  # in torch a tensor
        if not hasattr(value, "shape") or tuple(value.shape) != self.shape_kept(key, p.shape):
            raise ValueError(
                f"parameter {place} has shape {p.shape}, its saved {key} has "
                f"{getattr(value, 'shape', 'none')}: is it this model?"
            )
        return copied(value, of(p.data))

    def _walk(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        return ((group, p) for group in self.param_groups for p in group["params"])


def checked_gradient(place: int, p: Tensor) -> Any:
    """The gradient of parameter p as an array, None if there is none.

    Raises:
        ValueError: it has another shape than p, or lives on another device.
    """
    if p.grad is None:
        return None
    if (p.grad.shape, p.grad.device) != (p.shape, p.device):
        raise ValueError(
            f"parameter {place} has shape {p.shape} on {p.device}, but its gradient has {p.grad.shape} on "
            f"{p.grad.device}: call zero_grad() after reshaping or moving a model"
        )
    return p.grad.data


def listed(params: Any) -> list[Any]:
    """`params` as a list; a single Tensor is one parameter and is not iterated over."""
    if isinstance(params, Tensor):
        return [params]
    if isinstance(params, (set, frozenset)) or not isinstance(params, Iterable):
        raise TypeError(
            f"parameters come in a list or a generator, not as a {type(params).__name__}: type model.parameters()"
        )
    return list(params)


def several(count: int, good: Callable[..., bool]) -> Callable[[Any], bool]:
    """The check for so many finite numbers in a tuple or list, of which `good(*numbers)` is true."""
    return lambda value: (
        isinstance(value, (tuple, list))
        and len(value) == count
        and all(is_number(v) and math.isfinite(v) for v in value)
        and good(*value)
    )


def is_flag(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


CHECKS: dict[str, Check] = {
    "betas": (several(2, lambda a, b: 0 <= a < 1 and 0 <= b < 1), "both betas to be in [0, 1)"),
    "dampening": (lambda value: is_number(value) and math.isfinite(value), "dampening to be a number"),
    **{
        flag: (is_flag, f"{flag} to be True or False")
        for flag in ("nesterov", "centered", "amsgrad", "maximize", "decoupled_weight_decay")
    },
}


def check_option(name: str, option: str, value: Any, checks: dict[str, Check] = CHECKS) -> None:
    """Check the value of an optimiser's option.

    Raises:
        ValueError: naming the optimiser, the option, what is needed, and what was given.
    """
    at_least_0 = lambda value: is_number(value) and value >= 0, f"{option} to be a number, 0 or more"
    good, needs = checks.get(option) or CHECKS.get(option) or at_least_0
    if not good(value):
        raise ValueError(f"{name} needs {needs}, but got {value!r}")


def copied(value: Any, backend: Backend) -> Any:
    """A number as it is; an array, or each of a list of them, as a copy of the backend's."""
    if isinstance(value, list):
        return [copied(one, backend) for one in value]
    return value if isinstance(value, (int, float)) else backend.xp.array(of(value).to_numpy(value))
