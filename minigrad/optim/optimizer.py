"""What every optimiser shares: parameters in groups, the memory kept for each, and one step after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

import numpy as np

from ..backend import Backend, host, of
from ..mode import writing
from ..tensor import Tensor
from ..writes import check_own_places

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
            check_option(name, option, group[option])
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
            of(rows[0][0]).call(kernel, rows, **dict(options))

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
                state.setdefault(p, {})[key] = copied(value, of(p.data))
        self.state = state
        for group, options in zip(self.param_groups, saved, strict=True):
            group.update({**options, "params": group["params"]})

    def _walk(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        return ((group, p) for group in self.param_groups for p in group["params"])


def listed(params: Any) -> list[Any]:
    """`params` as a list; a single Tensor is one parameter and is not iterated over."""
    if isinstance(params, Tensor):
        return [params]
    if isinstance(params, (set, frozenset)) or not isinstance(params, Iterable):
        raise TypeError(
            f"parameters come in a list or a generator, not as a {type(params).__name__}: type model.parameters()"
        )
    return list(params)


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def check_option(name: str, option: str, value: Any) -> None:
    """Check the value of an optimiser's option.

    Raises:
        ValueError: naming the optimiser, the option, what is needed, and what was given.
    """
    if option == "betas":
        good, needs = (
            (
                isinstance(value, (tuple, list))
                and len(value) == 2
                and all(is_number(beta) and 0 <= beta < 1 for beta in value)
            ),
            "both betas to be in [0, 1)",
        )
    elif option in ("nesterov", "centered"):
        good, needs = isinstance(value, (bool, np.bool_)), f"{option} to be True or False"
    elif option == "dampening":
        good, needs = is_number(value) and math.isfinite(value), "dampening to be a number"
    else:
        good, needs = is_number(value) and value >= 0, f"{option} to be a number, 0 or more"
    if not good:
        raise ValueError(f"{name} needs {needs}, but got {value!r}")


def copied(value: Any, backend: Backend) -> Any:
    """A step count as it is; an array as a copy of the backend's."""
    return value if isinstance(value, int) else backend.xp.array(of(value).to_numpy(value))
