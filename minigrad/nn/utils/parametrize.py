"""A parameter that is computed from others each time it is read, under torch's names (torch.nn.utils.parametrize).

    class Symmetric(nn.Module):
        def forward(self, x):
            return mg.triu(x) + mg.triu(x, 1).mT

    nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())

`layer.weight` is now symmetric; what is trained and saved is `layer.parametrizations.weight.original`.
"""

from __future__ import annotations

from typing import Any

from ...execution import no_grad
from ...tensor import Tensor
from ..container import Group
from ..module import Module, Parameter


class ParametrizationList(Module):
    """What a parameter is computed from: `original` or `original0`, `original1`, …; and modules "0", "1", … in turn."""

    def __init__(self, first: Any, value: Tensor):
        given = first.right_inverse(value) if hasattr(first, "right_inverse") else value
        self._several = isinstance(given, (tuple, list))
        for i, part in enumerate(given if self._several else [given]):
            setattr(self, f"original{i}" if self._several else "original", Parameter(part.detach().data.copy()))
        vars(self)["0"] = first

    def originals(self) -> list[Parameter]:
        """What is trained."""
        return [p for name, p in vars(self).items() if name.startswith("original")]

    def steps(self) -> list[Any]:
        """The modules, in order."""
        return [m for m in vars(self).values() if isinstance(m, Module)]

    def forward(self) -> Any:
        first, *rest = self.steps()
        y = first(*self.originals())
        for step in rest:
            y = step(y)
        return y

    def assign(self, value: Tensor) -> None:
        """Make the originals such that the parameter is `value`.

        Raises:
            TypeError: a module has no `right_inverse`, so that nothing is known about what it would take.
        """
        for step in reversed(self.steps()):
            if not hasattr(step, "right_inverse"):
                raise TypeError(
                    f"a parameter computed by {type(step).__name__} cannot be set: give that a right_inverse(value)"
                )
            value = step.right_inverse(value)
        for p, part in zip(self.originals(), value if self._several else [value], strict=True):
            p.copy_(part)


def register_parametrization(module: Module, tensor_name: str, parametrization: Module) -> Module:
    """Compute the parameter `tensor_name` by `parametrization(original)` from now on; returns the module.

    A parametrization with a method `right_inverse(value)` says which original, or which several, its value comes from.
    One that is registered later is given what the ones before it return.

    Raises:
        ValueError: the module has no such parameter, or its shape would change.
    """
    if is_parametrized(module, tensor_name):
        here = _of(module, tensor_name)
        shape = getattr(module, tensor_name).shape
        vars(here)[str(len(here.steps()))] = parametrization
    else:
        old = vars(module).get(tensor_name)
        if not isinstance(old, Parameter):
            raise ValueError(
                f"{type(module).__name__} has no parameter {tensor_name!r}: it has "
                f"{', '.join(name for name, _ in module.named_parameters(recurse=False)) or 'none'}"
            )
        shape, here = old.shape, ParametrizationList(parametrization, old)
        for p in here.originals():
            p.requires_grad = old.requires_grad
        del vars(module)[tensor_name]
        if not isinstance(vars(module).get("parametrizations"), Group):
            module.parametrizations = Group()
            kind = type(module)
            module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), {"__module__": kind.__module__})
        setattr(vars(module)["parametrizations"], tensor_name, here)
        setattr(type(module), tensor_name, _computed(tensor_name))
    with no_grad():
        found = here().shape
    if found != shape:
        raise ValueError(f"the parametrization makes {tensor_name} of shape {tuple(shape)} one of {tuple(found)}")
    return module


def _of(module: Module, tensor_name: str) -> ParametrizationList:
    return getattr(vars(module)["parametrizations"], tensor_name)


def _computed(name: str) -> property:
    return property(
        lambda module: getattr(module.parametrizations, name)(),
        lambda module, value: getattr(module.parametrizations, name).assign(value),
        doc=f"Computed from parametrizations.{name}.",
    )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether this parameter, or any, of the module is computed from others."""
    names = vars(vars(module).get("parametrizations", Group()))
    return bool(names) if tensor_name is None else tensor_name in names


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make it a plain parameter again: of the value it has now or, with `leave_parametrized=False`, of its original.

    Raises:
        ValueError: the parameter is not parametrized, or has several originals.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{type(module).__name__}: {tensor_name!r} has no parametrization to be removed")
    here = _of(module, tensor_name)
    originals = here.originals()
    if not leave_parametrized and len(originals) > 1:
        raise ValueError(f"{tensor_name!r} has {len(originals)} originals: leave_parametrized=True keeps its value")
    with no_grad():
        value = here().data.copy() if leave_parametrized else originals[0].data
    kept = Parameter(value, originals[0].requires_grad)
    delattr(vars(module)["parametrizations"], tensor_name)
    delattr(type(module), tensor_name)
    if not is_parametrized(module):
        del vars(module)["parametrizations"]
        module.__class__ = type(module).__bases__[0]
    setattr(module, tensor_name, kept)
    return module
