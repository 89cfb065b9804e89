"""How a module is called: the hooks around it, and where in the model an error happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops, places
from ..execution import recording
from ..tensor import Tensor
from .tree import Tree, walk


class Hooks:
    """The functions that are called whenever a module is: (hook, whether it takes the keyword arguments) by moment."""

    def __init__(self) -> None:
        self.moments: dict[str, list[tuple[Callable, bool]]] = {}

    def of(self, moment: str) -> tuple:
        """Those of a moment; a hook may remove itself while they are called."""
        return tuple(self.moments.get(moment, ()))

    def call(self, module: Any, args: tuple, kwargs: dict) -> Any:
        """module.forward(…), with all hooks around it."""
        for hook, with_kwargs in self.of("before"):
            changed = hook(module, args, kwargs) if with_kwargs else hook(module, args)
            if changed is not None and with_kwargs:
                args, kwargs = changed
            elif changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        backward = any(map(self.of, ("backward", "backward_before"))) and recording()
        seen = _Backward(self, module)
        args = seen.inputs(args) if backward else args
        result = module.forward(*args, **kwargs)
        for hook, with_kwargs in self.of("after"):
            changed = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
            result = result if changed is None else changed
        return seen.outputs(result) if backward else result


class Handle:
    """What registering a hook returns: `remove()` takes the hook away again, as does the end of a `with` block."""

    def __init__(self, module: Any, moment: str, hook: Callable, with_kwargs: bool, prepend: bool):
        if not callable(hook):
            raise TypeError(f"a hook is a function, not {hook!r:.80}")
        if module.hooks is None:
            module.hooks = Hooks()
        self.module, self.entry = module, (hook, with_kwargs)
        self.among = module.hooks.moments.setdefault(moment, [])
        self.among.insert(0 if prepend else len(self.among), self.entry)

    def remove(self) -> None:
        """Take the hook away."""
        self.among[:] = [entry for entry in self.among if entry is not self.entry]
        if self.module.hooks is not None and not any(self.module.hooks.moments.values()):
            self.module.hooks = None

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *error: Any) -> None:
        self.remove()


class _Backward:
    """One call of a module, whose backward hooks are still to come."""

    def __init__(self, hooks: Hooks, module: Any):
        self.hooks, self.module = hooks, module
        self.grad_output: tuple = ()
        self.no_input: tuple | None = None  # in place of grad_input, if no input requires a gradient

    def inputs(self, args: tuple) -> tuple:
        """The arguments, with a step of the tape behind them that is told their gradients."""
        gated = _gated(args, self.at_the_inputs)
        self.no_input = (None,) * len(args) if gated is None else None
        return args if gated is None else gated

    def outputs(self, result: Any) -> Any:
        """The results, likewise."""
        gated = _gated(result if isinstance(result, tuple) else (result,), self.at_the_outputs)
        return result if gated is None else gated if isinstance(result, tuple) else gated[0]

    def at_the_outputs(self, gradients: tuple) -> tuple:
        for hook, _ in self.hooks.of("backward_before"):
            gradients = _exchanged(gradients, hook(self.module, gradients))
        self.grad_output = gradients
        if self.no_input is not None:
            self.at_the_inputs(self.no_input)
        return gradients

    def at_the_inputs(self, gradients: tuple) -> tuple:
        for hook, _ in self.hooks.of("backward"):
            gradients = _exchanged(gradients, hook(self.module, gradients, self.grad_output))
        return gradients


def _exchanged(gradients: tuple, changed: Any) -> tuple:
    """What a backward hook returned, in the place of the gradients it was given."""
    if changed is None:
        return gradients
    changed = changed if isinstance(changed, tuple) else (changed,)
    if len(changed) != len(gradients):
        raise ValueError(
            f"a backward hook was given {len(gradients)} gradients and returned {len(changed)}: return a tuple of as "
            "many, or None"
        )
    return changed


def _gated(values: tuple, hook: Callable[[tuple], tuple]) -> tuple | None:
    """The values, with `hook` called once the gradients of all Tensors among them are complete; None if none has one.

    They pass through one vector, since the tape knows when the gradient of a single Tensor is complete.
    """
    live = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    if not live:
        return None
    line = ops.concatenate([ops.reshape(values[i], (-1,)) for i in live])
    sizes = [values[i].size for i in live]

    def shaped(parts: list) -> dict[int, Any]:
        return {i: ops.reshape(part, values[i].shape) for i, part in zip(live, parts, strict=True)}

    def told(g: Any) -> Any:
        parts = shaped(ops.split(g, sizes))
        given = tuple(parts.get(i) for i in range(len(values)))
        changed = hook(given)
        if all(new is old for new, old in zip(changed, given)):
            return None
        return ops.concatenate(
            [ops.reshape(changed[i] if changed[i] is not None else parts[i] * 0, (-1,)) for i in live]
        )

    line.register_hook(told)
    through = shaped(ops.split(line, sizes))
    return tuple(
        ops.astype(through[i], x.dtype) if i in through and through[i].dtype != x.dtype else through.get(i, x)
        for i, x in enumerate(values)
    )


def add_place(error: Exception, module: Tree) -> None:
    """Annotate the error with the path of the module that raised it; each module it passes prepends one step."""
    places.told(error)
    inner, path, note = getattr(error, "place", (None, "", None))
    if inner is not None:
        step = next((name for name, m in walk(module) if m is inner), "?")
        path = f"{step}.{path}" if path else step
    told = f"in {path or 'the model'} ({note or type(module).__name__})"
    error.__notes__ = [*(n for n in getattr(error, "__notes__", ()) if not n.endswith(f"({note})")), told]
    error.place = module, path, note or type(module).__name__  # type: ignore[attr-defined]  read above
