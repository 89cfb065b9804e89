"""Modules: plain objects whose attributes are parameters, buffers, other modules, or lists of modules.

There is nothing to register and no super().__init__() to forget.  One generator, `walk`, visits the tree; every other
question about a model is a comprehension over it.  A parameter's name is the path you would type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import places
from ..backend import DEVICES
from ..patterns import check_matched, matches
from ..tensor import Tensor


class Parameter(Tensor):
    """A Tensor that is trained and saved."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Buffer(Tensor):
    """A Tensor that is saved but not trained, such as a running mean."""

    __slots__ = ()


def walk(item: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every (path, module or parameter or buffer) at and under `item`, in the order the attributes were set."""
    if isinstance(item, (Parameter, Buffer, Module)):
        yield path, item
    for name, child in children(item).items():
        yield from walk(child, f"{path}.{name}" if path else str(name))


def children(item: Any) -> dict:
    """The entries of a module, a list, a tuple or a dictionary, by name."""
    if isinstance(item, Module):
        return vars(item)
    return item if isinstance(item, dict) else dict(enumerate(item)) if isinstance(item, (list, tuple)) else {}


class Module:
    """A part of a model.  Write `__init__`, which sets attributes, and `forward`; call the module to run it."""

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise TypeError(f"{type(self).__name__} has no forward method: write `def forward(self, x): ...`")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.forward(*args, **kwargs)
        except Exception as error:  # on its way out an error collects where in the model it happened
            _add_place(error, self)
            raise

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(path, module) for this module, whose path is "", and all below it."""
        return ((path, m) for path, m in walk(self) if isinstance(m, Module))

    def modules(self) -> list[Module]:
        """This module and all below it."""
        return [m for _, m in self.named_modules()]

    def state_dict(self) -> dict[str, Tensor]:
        """Every parameter and buffer by its path; a tied one under each of its names."""
        return {path: t for path, t in walk(self) if isinstance(t, Tensor)}

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), each parameter once, under the first of its names."""
        seen: set[int] = set()
        for path, p in walk(self):
            if isinstance(p, Parameter) and id(p) not in seen:
                seen.add(id(p))
                yield path, p

    def parameters(self) -> list[Parameter]:
        """Each parameter once, frozen ones included (an optimiser skips those without a gradient)."""
        return [p for _, p in self.named_parameters()]

    def train(self, mode: bool = True) -> Module:
        """Switch to training (dropout acts), or with False to evaluation; returns the module."""
        for m in self.modules():
            m.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation: dropout does nothing."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradient of every parameter."""
        for p in self.parameters():
            p.grad = None

    def freeze(self, *patterns: str) -> list[str]:
        """Stop training the parameters whose names match, such as "bert.embeddings.**", or all; returns their names.

        Hooks and gradients are kept for when they are trained again; until then `.grad` is None.
        Patterns are those of `minigrad.patterns`: `*` matches one step of a name, `**` one or more, `{0..3}` one of
        several.

        Raises:
            ValueError: a pattern matches no parameter; the message gives the names nearest to it.
        """
        return self._set_trainable(patterns, False)

    def unfreeze(self, *patterns: str) -> list[str]:
        """Train the matching parameters again: the reverse of `freeze`."""
        return self._set_trainable(patterns, True)

    def _set_trainable(self, patterns: tuple[str, ...], on: bool) -> list[str]:
        named = dict(self.named_parameters())
        check_matched(patterns, named, f"parameter of {type(self).__name__}")
        chosen = [name for name in named if matches(patterns or ("**",), name)]
        for name in chosen:
            named[name].requires_grad = on
        return chosen

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy arrays in by name.  A tied parameter is satisfied by any one of its names.

        Args:
            state: names to NumPy arrays, Tensors, or torch tensors.
            strict: refuse when a name is missing or unknown; a wrong shape is always refused.

        Raises:
            ValueError: one message with all that is missing, unexpected or of the wrong shape; nothing was loaded.
        """
        own = self.state_dict()
        arrays = {name: np.asarray(a.numpy() if isinstance(a, Tensor) else a) for name, a in state.items()}
        given = {id(own[name]) for name in arrays if name in own}
        faults = {
            "missing": [name for name, t in own.items() if id(t) not in given] if strict else [],
            "unexpected": [name for name in arrays if name not in own] if strict else [],
            "wrong shape": [
                f"{name} is {a.shape}, here {own[name].shape}"
                for name, a in arrays.items()
                if name in own and a.shape != own[name].shape
            ],
        }
        if any(faults.values()):
            told = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names)
            raise ValueError(f"the state does not fit this {type(self).__name__}: {told}")
        for name, array in arrays.items():
            if name in own:
                own[name].copy_(array)

    def replace(self, path: str, new: Any) -> Any:
        """Put `new` where `path` points, by the names the state dict uses; returns what was there.

        Raises:
            ValueError: the path leads nowhere; the message says up to where it could be followed.
        """
        *steps, last = path.split(".")
        parent: Any = None
        here: Any = self
        keys: dict[str, Any] = {}
        for depth, name in enumerate([*steps, last]):
            keys = {str(key): key for key in children(here)}
            if name not in keys:
                reached = ".".join(steps[:depth]) or "the model"
                raise ValueError(f"{path!r} leads nowhere: {reached} has {', '.join(keys) or 'nothing'}")
            parent, here = here, children(here)[keys[name]]
        (vars(parent) if isinstance(parent, Module) else parent)[keys[last]] = new
        return here

    def to(self, target: str) -> Module:
        """Move parameters, buffers and gradients to a device ("cpu", "cuda"), or the floating ones to a dtype."""
        for t in {id(t): t for t in self.state_dict().values()}.values():
            moved = t.detach().to(target) if target in DEVICES or t.dtype.kind not in "iub" else t
            t.hold(moved.data)
        return self

    def __repr__(self) -> str:
        """One line a module, with its path."""
        return "\n".join(
            f"{path and f'  {path}: '}{type(m).__name__}({m.describe()})" for path, m in self.named_modules()
        )

    def describe(self) -> str:
        """The arguments shown in the repr: the attributes that are numbers, strings or booleans."""
        return ", ".join(
            f"{name}={value}"
            for name, value in vars(self).items()
            if isinstance(value, (bool, int, float, str)) and not name.startswith("_") and name != "training"
        )


def _add_place(error: Exception, module: Module) -> None:
    """Annotate the error with the path of the module that raised it; each module it passes prepends one step."""
    places.told(error)
    inner, path, note = getattr(error, "place", (None, "", None))
    if inner is not None:
        step = next((name for name, m in walk(module) if m is inner), "?")
        path = f"{step}.{path}" if path else step
    told = f"in {path or 'the model'} ({note or type(module).__name__})"
    error.__notes__ = [*(n for n in getattr(error, "__notes__", ()) if not n.endswith(f"({note})")), told]
    error.place = module, path, note or type(module).__name__  # type: ignore[attr-defined]  read above
