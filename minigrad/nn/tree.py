"""The tree of a model: what hangs on a module, a list or a dictionary of modules, found by walking their entries.

There is nothing to register and no super().__init__() to forget.  One generator, `walk`, visits the tree; every other
question about a model is a comprehension over it.  A parameter's name is the path you would type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..backend import DEVICES
from ..patterns import check_matched, matches
from ..tensor import Tensor

T = TypeVar("T", bound="Tree")


class Parameter(Tensor):
    """A Tensor that is trained and saved."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Buffer(Tensor):
    """A Tensor that is saved but not trained, such as a running mean."""

    __slots__ = ()


class Transient(Buffer):
    """A Buffer that moves with its module but is not saved: what `register_buffer(…, persistent=False)` makes."""

    __slots__ = ()


class Unmatched(NamedTuple):
    """What `load_state_dict(state, strict=False)` left alone."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def walk(item: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every (path, module or parameter or buffer) at and under `item`, in the order the attributes were set."""
    if isinstance(item, (Parameter, Buffer)) or _is_module(item):
        yield path, item
    for name, child in children(item).items():
        yield from walk(child, f"{path}.{name}" if path else str(name))


def check_name(owner: str, name: Any) -> None:
    """Refuse a name that cannot be a step of a path: TypeError if it is not text, KeyError if empty or with a dot."""
    if not isinstance(name, str) or not name or "." in name:
        error = KeyError if isinstance(name, str) else TypeError
        raise error(f"{owner}: a name is text without a dot, not {name!r}")


def _is_module(item: Any) -> bool:
    return isinstance(item, Tree) and not isinstance(item, (list, dict))


def children(item: Any) -> dict:
    """The entries of a module, a list, a tuple or a dictionary, by name."""
    if isinstance(item, dict):
        return item
    if isinstance(item, (list, tuple)):
        return dict(enumerate(item))
    return vars(item) if isinstance(item, Tree) else {}


class Tree:
    """What a module, a ModuleList and a ModuleDict have in common: modules, parameters and buffers below them."""

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """(path, module) for this module, whose path is "", and all below it."""
        return ((path, m) for path, m in walk(self) if isinstance(m, Tree))

    def modules(self) -> list[Any]:
        """This module and all below it."""
        return [m for _, m in self.named_modules()]

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """(name, module) for the modules, ModuleLists and ModuleDicts that are attributes here, or in a plain list."""

        def below(item: Any, path: str) -> Iterator[tuple[str, Any]]:
            for name, child in children(item).items():
                step = f"{path}.{name}" if path else str(name)
                if isinstance(child, Tree):
                    yield step, child
                else:
                    yield from below(child, step)

        seen: set[int] = set()
        for name, child in below(self, ""):
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Any]:
        """The modules of `named_children`."""
        return (child for _, child in self.named_children())

    def apply(self: T, function: Callable[[Any], Any]) -> T:
        """Call function(module) for every module below this one and then for this one; returns the module."""
        for child in self.children():
            child.apply(function)
        if _is_module(self):
            function(self)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Every parameter and buffer by its path; a tied one under each of its names.

        Raises:
            KeyError: two have one path, as under the keys 1 and "1" of a dictionary.
        """
        found = [(path, t) for path, t in walk(self) if isinstance(t, Tensor) and not isinstance(t, Transient)]
        state = dict(found)
        for path, t in found if len(state) < len(found) else ():
            if state[path] is not t:
                raise KeyError(f"{type(self).__name__}: two parameters or buffers are called {path!r}: rename one")
        return state

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), each parameter once, under the first of its names; with `recurse=False` its own only."""
        return _found(self, Parameter, prefix, recurse)

    def parameters(self, recurse: bool = True) -> list[Parameter]:
        """Each parameter once, frozen ones included (an optimiser skips those without a gradient)."""
        return [p for _, p in self.named_parameters(recurse=recurse)]

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Buffer]]:
        """(path, buffer), each buffer once."""
        return _found(self, Buffer, prefix, recurse)

    def buffers(self, recurse: bool = True) -> list[Buffer]:
        """Each buffer once."""
        return [b for _, b in self.named_buffers(recurse=recurse)]

    def get_submodule(self, target: str) -> Any:
        """What stands at a path, such as "layers.0.attention"; "" is the module itself.

        Raises:
            AttributeError: the path leads nowhere; the message says up to where it could be followed.
        """
        return _at(self, target, Tree)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path, such as "layers.0.weight"; errors as for `get_submodule`."""
        return _at(self, target, Parameter)

    def get_buffer(self, target: str) -> Buffer:
        """The buffer at a path; errors as for `get_submodule`."""
        return _at(self, target, Buffer)

    def train(self: T, mode: bool = True) -> T:
        """Switch to training (dropout acts), or with False to evaluation; returns the module."""
        for m in self.modules():
            m.training = mode
        return self

    def eval(self: T) -> T:
        """Switch to evaluation: dropout does nothing."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradient of every parameter; with `set_to_none=False` make it zero, as older programs expect."""
        for p in self.parameters():
            p.grad = None if set_to_none or p.grad is None else Tensor(p.grad.data * 0)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Train every parameter, or with False none; returns the module.  See `freeze` for some of them."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

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

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Unmatched:
        """Copy arrays in by name.  A tied parameter is satisfied by any one of its names.

        Args:
            state: names to NumPy arrays, Tensors, or torch tensors.
            strict: refuse when a name is missing or unknown; a wrong shape is always refused.

        Returns:
            (missing_keys, unexpected_keys), which are empty if strict.

        Raises:
            TypeError: `state` is not a dictionary.
            ValueError: one message with all that is missing, unexpected or of the wrong shape; nothing was loaded.
        """
        if not isinstance(state, Mapping):
            kind = type(state).__name__
            raise TypeError(f"load_state_dict: expected a dict of arrays by name, such as mg.load(path), not a {kind}")
        own = self.state_dict()
        arrays = {name: np.asarray(a.numpy() if isinstance(a, Tensor) else a) for name, a in state.items()}
        given = {id(own[name]) for name in arrays if name in own}
        left = Unmatched(
            [name for name, t in own.items() if id(t) not in given], [name for name in arrays if name not in own]
        )
        faults = {
            "missing": left.missing_keys if strict else [],
            "unexpected": left.unexpected_keys if strict else [],
            "wrong shape": [
                f"{name} is {a.shape}, here {own[name].shape}"
                for name, a in arrays.items()
                if name in own and a.shape != own[name].shape
            ],
        }
        if any(faults.values()):
            told = "; ".join(f"{kind}: {', '.join(map(str, names))}" for kind, names in faults.items() if names)
            raise ValueError(f"the state does not fit this {type(self).__name__}: {told}")
        for name, array in arrays.items():
            if name in own:
                own[name].copy_(array)
        return left

    def to(self: T, target: Any) -> T:
        """Move parameters, buffers and gradients to a device ("cpu", "cuda"), or the floating ones to a dtype."""
        for t in {id(t): t for _, t in walk(self) if isinstance(t, Tensor)}.values():
            moved = t.detach().to(target) if target in DEVICES or t.dtype.kind not in "iub" else t
            t.hold(moved.data)
        return self

    def cpu(self: T) -> T:
        """`to("cpu")`."""
        return self.to("cpu")

    def cuda(self: T) -> T:
        """`to("cuda")`."""
        return self.to("cuda")

    def float(self: T) -> T:
        """`to("float32")`."""
        return self.to("float32")

    def double(self: T) -> T:
        """`to("float64")`."""
        return self.to("float64")

    def half(self: T) -> T:
        """`to("float16")`."""
        return self.to("float16")

    def bfloat16(self: T) -> T:
        """`to("bfloat16")`."""
        return self.to("bfloat16")


def followed(item: Any, path: str) -> list[Any]:
    """What stands at each step of a path, `item` first.

    Raises:
        ValueError: the path leads nowhere; the message says up to where it could be followed.
    """
    found, steps = [item], path.split(".")
    for depth, name in enumerate(steps):
        keys = {str(key): key for key in children(found[-1])}
        if name not in keys:
            reached = ".".join(steps[:depth]) or "the model"
            raise ValueError(f"{path!r} leads nowhere: {reached} has {', '.join(keys) or 'nothing'}")
        found.append(children(found[-1])[keys[name]])
    return found


def _found(tree: Tree, kind: type, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
    """(path, parameter or buffer), each once, below the tree or, without `recurse`, among its own entries."""
    seen: set[int] = set()
    own = ((str(name), child) for name, child in children(tree).items())
    for path, t in walk(tree) if recurse else own:
        if isinstance(t, kind) and id(t) not in seen:
            seen.add(id(t))
            yield f"{prefix}.{path}" if prefix else path, t


def _at(tree: Tree, target: str, kind: type) -> Any:
    try:
        found = followed(tree, target)[-1] if target else tree
    except ValueError as error:
        raise AttributeError(str(error)) from None
    if not isinstance(found, kind):
        raise AttributeError(f"{target!r} is a {type(found).__name__}, not a {kind.__name__}")
    return found
