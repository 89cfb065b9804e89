"""Modules: plain objects whose attributes are parameters, buffers, other modules, or lists of modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor, as_array
from .arguments import checked
from .calls import Handle, Hooks, add_place
from .tree import Buffer, Parameter, Transient, Tree, check_name, children, followed, walk

__all__ = ["Buffer", "Module", "Parameter", "Tree", "children", "walk"]


class Module(Tree):
    """A part of a model.  Write `__init__`, which sets attributes, and `forward`; call the module to run it."""

    training = True
    hooks: Hooks | None = None  # functions to be called whenever the module is

    @checked
    def __init__(self) -> None:
        super().__init__()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise TypeError(f"{type(self).__name__} has no forward method: write `def forward(self, x): ...`")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.forward(*args, **kwargs) if self.hooks is None else self.hooks.call(self, args, kwargs)
        except Exception as error:  # on its way out an error collects where in the model it happened
            add_place(error, self)
            raise

    @property
    def is_plain(self) -> bool:
        """Whether a call is what the class's `forward` says, so that it may be done in another way."""
        return self.hooks is None and "forward" not in vars(self)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a Tensor over a Buffer becomes one.

        Over a Parameter, which would no longer be trained, only another Parameter or None may be set.

        Raises:
            TypeError: something else would take the place of a parameter, a buffer or a module.
        """
        old = vars(self).get(name)
        if isinstance(old, (Parameter, Buffer)) and value is not None and not isinstance(value, type(old)):
            here = f"{type(self).__name__}.{name}"
            if not isinstance(old, Buffer) or isinstance(value, Parameter) or not isinstance(value, Tensor):
                kind = type(old).__name__
                raise TypeError(
                    f"{here} is a {kind}, which a {type(value).__name__} would take out of the model: type "
                    f"nn.{kind}(value) for a new one, {name}.copy_(value) to write into it, or del it first"
                )
            if value.requires_grad:
                raise TypeError(f"{here} is a Buffer and keeps no gradient: type value.detach()")
            value = type(old)(value.data)
        object.__setattr__(self, name, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """`self.name = param`, as torch spells it; errors as for `register_buffer`."""
        self._register(name, param, Parameter)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """`self.name = nn.Buffer(tensor)`, as torch spells it; `persistent=False` leaves it out of the state dict.

        Raises:
            TypeError: what is given is none of the kind.
            KeyError: the name is taken, empty or has a dot in it.
        """
        if isinstance(tensor, (Tensor, np.ndarray)) and not isinstance(tensor, Parameter):
            tensor = (Buffer if persistent else Transient)(as_array(tensor))
        self._register(name, tensor, Buffer)

    def register_module(self, name: str, module: Module | None) -> None:
        """`self.name = module`, as torch spells it; errors as for `register_buffer`."""
        self._register(name, module, Tree)

    add_module = register_module

    def _register(self, name: str, value: Any, kind: type) -> None:
        check_name(type(self).__name__, name)
        if hasattr(self, name) and not isinstance(vars(self).get(name, name), (kind, type(None))):
            raise KeyError(f"{type(self).__name__} has an attribute {name!r} already: choose another name")
        if value is not None and not isinstance(value, kind):
            wanted = "Module" if kind is Tree else kind.__name__
            raise TypeError(f"{type(self).__name__}: {name} is to be an nn.{wanted} or None, not {value!r:.80}")
        setattr(self, name, value)

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> Handle:
        """Call hook(module, args) before each call; what it returns, unless None, takes the place of the arguments.

        With `with_kwargs` it is hook(module, args, kwargs), which returns (args, kwargs) or None.  The handle that
        comes back has `remove()`.
        """
        return Handle(self, "before", hook, with_kwargs, prepend)

    def register_forward_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> Handle:
        """Call hook(module, args, output) after each call; what it returns, unless None, takes the output's place.

        With `with_kwargs` it is hook(module, args, kwargs, output).
        """
        return Handle(self, "after", hook, with_kwargs, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(module, grad_input, grad_output) once the gradients of the module's inputs are known.

        Both are tuples, with an entry for each positional argument, and each result, of the call: a gradient, or None
        for what has none.  A tuple that it returns takes the place of grad_input.
        """
        return Handle(self, "backward", hook, False, prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(module, grad_output) once the results' gradients are known; a tuple it returns replaces them."""
        return Handle(self, "backward_before", hook, False, prepend)

    def replace(self, path: str, new: Any) -> Any:
        """Put `new` where `path` points, by the names the state dict uses; returns what was there.

        Raises:
            ValueError: the path leads nowhere; the message says up to where it could be followed.
        """
        *_, parent, old = followed(self, path)
        entries = vars(parent) if isinstance(parent, Module) else parent
        entries[next(key for key in children(parent) if str(key) == path.rpartition(".")[2])] = new
        return old

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
