"""How an op is made.  Two decorators, and nothing else in the package writes on the tape.

@primitive    a function on bare arrays, plus one derivative rule per input.    For when the derivative is short.
@definition   a function on Tensors: pure meaning, no calculus at all.          For when the derivative is long.

Left of the `/` in a signature are Tensors; right of it are plain options.  An op given a Tensor returns a Tensor; given
only bare arrays it returns a bare array.  That is why one rule serves every order: a plain backward pass gives it
arrays and it computes, a recorded one gives it Tensors and it is recorded.  (So a rule is written with operators and
ops, and of the methods only with those that arrays and Tensors share.)

The ops of this package state some facts more, with the decorator of builtin.py.  A backend may offer a fused Kernel
under such an op's name, which then carries the first-order path, or another way to compute its Value.  The rules or the
definition remain what the op *means*, and answer whenever a gradient is itself to be differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from operator import itemgetter
from typing import Any, Concatenate, ParamSpec

import numpy as np

from .backend import Value, is_half, known, of
from .errors import FAILURES, explained
from .execution import recording
from .precision import F4, rounded, settled, uncast, widened
from .spelling import OpFunction, PrimitiveFunction, front_of, parameters
from .tape import Node, Step, new_node
from .tensor import Tensor, as_array, grad, wrap

OPS: dict[str, _Op] = {}  # the ops of the package by name: the test catalogue has a row for each
P = ParamSpec("P")


def primitive(function: Callable[Concatenate[Any, P], Any]) -> PrimitiveFunction[P]:
    """Make an op of a function on arrays, `(xp, *inputs, /, options)`; `op.defvjp(...)` gives it its derivatives."""
    inputs, options = parameters(function, "xp, x, /, option=None")
    if inputs.pop(0) != "xp" or not inputs:
        raise TypeError(
            f"{function.__name__}: a primitive is given the array library, numpy or cupy, as xp, and after that at "
            f"least one array: def {function.__name__}(xp, {', '.join(inputs) or 'x'}, /)"
        )
    return Primitive(function, inputs, options).front


def definition(function: Callable[P, Any]) -> OpFunction[P]:
    """Make an op of a function on Tensors, `(*inputs, /, options)`, that uses nothing but other ops."""
    return Definition(function, *parameters(function, "x, /, option=None")).front


class _Op:
    """What both kinds share: how arguments are bound, how the op is computed, and what is written on the tape."""

    on_arrays: bool  # is its function one of arrays, or of Tensors?

    def __init__(self, function: Callable, inputs: list[str], options: list[str]):
        self.function, self.inputs, self.options = function, inputs, options
        self.name = function.__name__
        self.plans: dict[int, _Plan] = {}  # one per set of inputs that want a gradient, made when first met
        self.builtin = self.in_float32 = self.is_floating = self.only_numbers = self.in_int64 = False  # see builtin.py
        self.autocast: str | None = None
        self.symbols: dict[str, str] = {}
        self.keeps_dtype = "dtype" not in options  # or it was asked for another one
        self.front: Any = front_of(self)
        self.front.in_symbols = self.in_symbols

    def run(self, inputs: tuple, options: tuple) -> Any:  # noqa: C901  a call costs more than a stage
        """Compute the op; write it on the tape if an input wants a gradient."""
        on, asked, function, on_arrays = recording(), inputs, self.function, self.on_arrays
        mode = None if on is True or on is False else on  # a Mode casts the inputs, or notes the steps
        inputs = inputs if mode is None else mode.given(self, inputs)
        arrays, parents, wanted, bit, tensors = [], [], 0, 1, False
        try:
            for x in inputs:  # 1. the arrays, and the nodes of the inputs that want a gradient
                if isinstance(x, Tensor):
                    tensors = True
                    arrays.append(x.data)
                    if on and x.node is not None:
                        parents.append(x.node)
                        wanted |= bit
                else:
                    arrays.append(x if type(x) is float else _bare(x))
                bit += bit
            dtype = getattr(arrays[0], "dtype", None) or getattr(arrays[-1], "dtype", None)
            if dtype is None and not tensors and not any(hasattr(a, "dtype") for a in arrays):
                return self._of_numbers(inputs, options, arrays)
            backend = known.get(type(arrays[0])) if len(arrays) < 3 and type(arrays[-1]) is type(arrays[0]) else None
            backend = backend or of(*arrays)  # (the usual case, one array or two of a type, needs no call)
            kernel: Any = None  # 2. the kernel, if the backend has one for these inputs
            if self.builtin and (mode is None or mode.kernels):
                kernel = backend.kernel_float32(self.name) if dtype is F4 else backend.kernel(self.name, dtype)
                if kernel is not None and type(kernel) is Value:
                    if getattr(arrays[0], "size", 0) >= kernel.least and kernel.serves(arrays, on_arrays or not wanted):
                        function, on_arrays = kernel.compute, True
                    kernel = None
                elif kernel is not None and kernel.fits is not None and not kernel.fits(*arrays, *options):
                    kernel = None
            if dtype is not F4 and self.in_float32 and kernel is None:
                wide = widened(self, [x if isinstance(x, Tensor) else a for x, a in zip(inputs, arrays)])
                if wide is not None:
                    with uncast(on):
                        return rounded(self.run(tuple(wide[0]), options), wide[1])
            if kernel is not None:  # 3. the value
                forward = kernel.forward if wanted or kernel.alone is None else kernel.alone
                y = forward(backend.xp, *arrays, *options)
                y, fused = y if forward is kernel.forward else (y, None)
            elif on_arrays:
                y = function(backend.xp, *arrays, *options)
            else:
                y = function(*inputs, *options)
                if isinstance(y, Tensor):
                    return y  # a definition: the ops in it have recorded themselves
        except FAILURES as error:
            raise explained(error, self, asked, [*arrays, *inputs[len(arrays) :]], options) from error
        if type(y) is not backend.array or wanted and kernel is None and not self.on_arrays:
            y = np.asarray(y) if isinstance(y, np.generic) and self.on_arrays else self._as_result(y, kernel)
        if (y.dtype is not F4 or dtype is not F4) and self.keeps_dtype:
            y = settled(self.name, y, arrays)
        y_dtype = y.dtype
        node = None  # 4. the step, if there is something to carry back
        if wanted and (y_dtype is F4 or y_dtype.kind not in "iub"):  # (whole numbers do not move by small amounts)
            plan = self.plans.get(wanted) or self.plan(wanted)
            if kernel is not None:
                fused = fused if kernel.needed is None else kernel.needed(fused, plan.wanted)
                saved = plan.keep(arrays, options, y), kernel, backend.xp, fused, options
                node = new_node(y.shape, y_dtype, parents, plan.fused, saved)
            elif plan.rules:
                node = new_node(y.shape, y_dtype, parents, plan, plan.keep(arrays, options, y))
        if mode is not None:
            mode.note(node, self, inputs, options, y)
        return wrap(y, node) if tensors else y

    def _as_result(self, y: Any, kernel: Any) -> Any:
        """The result of the function or kernel as an array; NumPy returns scalars for 0-d arrays.

        Raises:
            TypeError: it is none, or one from which no gradient leads back.
        """
        if isinstance(y, Tensor) or not hasattr(y, "dtype"):
            raise TypeError(
                f"{self.name}: the function of a primitive is given arrays and returns one, computed with xp, "
                f"but this returned a {type(y).__name__}"
            )
        if not self.on_arrays and kernel is None:
            raise TypeError(
                f"{self.name}: a definition is given Tensors and returns one, computed with ops, but this returned "
                f"a {type(y).__name__}, which has no gradient: use no .data and no .numpy() in it"
            )
        return np.asarray(y) if isinstance(y, np.generic) else y

    def _of_numbers(self, inputs: tuple, options: tuple, arrays: list) -> Any:
        """The op on numbers alone: NumPy's stay NumPy's, Python's become Tensors."""
        make = np.asarray if any(isinstance(x, np.generic) for x in inputs) else Tensor
        some = any(x is not None for x in inputs)  # an input may be left out, but not all of them
        try:
            return self.run(tuple(x if x is None and some else make(x) for x in inputs), options)
        except TypeError as error:
            raise explained(error, self, inputs, arrays, options) from error

    def in_symbols(self, every: str | None = None, /, **rules: str) -> None:
        """The gradient of each input, or of `every` one, as a textbook would write it, for `explain`.

        g is the gradient that arrives, y the output; the tape undoes broadcasting, so no rule mentions it.

        Raises:
            TypeError: a rule is for something that is not an input.
        """
        if unknown := [name for name in rules if name not in self.inputs]:
            raise TypeError(f"{self.name} has no input {unknown[0]!r}: its inputs are {self.inputs}")
        self.symbols = rules if every is None else {**dict.fromkeys(self.inputs, every), **rules}

    def plan(self, wanted: int) -> _Plan:
        """How the op goes back to these of its inputs, each a bit."""
        raise NotImplementedError


class Primitive(_Op):
    """An op with a rule for each input."""

    on_arrays = True

    def __init__(self, function: Callable, inputs: list[str], options: list[str]):
        super().__init__(function, inputs, options)
        if "y" in inputs:
            raise TypeError(
                f"{self.name}: an input cannot be called 'y', which is what rules call the output: rename it"
            )
        self.rules: dict[str, tuple[Callable, list[str]]] | None = None  # until `defvjp` says so
        self.front.defvjp = self.defvjp

    def defvjp(self, **rules: Callable) -> None:
        """Set the rule of each input, `x=lambda g, ...: gradient of x`; an input left out has no gradient.

        `defvjp()` alone declares the op to be constant.  After `g`, a rule names what it needs, and that is all the
        tape keeps: an input, its `x_shape`, the output `y`, an option.  It returns any array, which is not written
        into; in this package a new one, `g`, or a view of `g`.

        Raises:
            TypeError: a rule is for something that is not an input, or asks for what is neither an input nor an option.
        """
        known = {"y", *self.inputs, *self.options, *(f"{name}_shape" for name in self.inputs)}
        found = {}
        for name, rule in rules.items():
            _, *asks = rule.__code__.co_varnames[: rule.__code__.co_argcount]
            if name not in self.inputs or not known.issuperset(asks):
                raise TypeError(
                    f"{self.name}: the rule for {name!r} asks for {asks}; a rule is for one of {self.inputs} and may "
                    f"ask, after the gradient, for {sorted(known)}"
                )
            found[name] = rule, asks
        self.rules = {**(self.rules or {}), **found}
        self.plans.clear()  # made with the rules of before

    def plan(self, wanted: int) -> _Plan:
        if self.rules is None:
            raise TypeError(
                f"{self.name} has no derivative, but an input requires a gradient: type {self.name}.defvjp("
                f"{self.inputs[0]}=lambda g: …), or {self.name}.defvjp() if it is to count as a constant"
            )
        self.plans[wanted] = plan = _Plan(self, wanted, self.rules)
        return plan


class Definition(_Op):
    """An op that is differentiated by differentiating what it is made of."""

    on_arrays = False

    def meaning(self, given: list) -> Tensor:
        """What it is on these inputs and options, without a kernel of its own."""
        wide = widened(self, given[: len(self.inputs)]) if self.in_float32 else None
        if wide is None:
            return self.function(*given)
        return rounded(self.function(*wide[0], *given[len(self.inputs) :]), wide[1])

    def plan(self, wanted: int) -> _Plan:
        """A definition answers by being differentiated, and so keeps everything it was given."""
        everything = _nothing, [*self.inputs, *self.options]
        self.plans[wanted] = plan = _Meaning(self, wanted, dict.fromkeys(self.inputs, everything))
        return plan


class _Plan(Step):
    """What an op keeps, and how it goes back, when a given set of its inputs wants a gradient."""

    def __init__(self, op: _Op, wanted: int, rules: dict[str, tuple[Callable, list[str]]]):
        self.op, self.name, self.fresh = op, op.name, op.builtin
        self.wanted = tuple([bool(wanted >> i & 1) for i in range(len(op.inputs))])
        asked = [rules.get(name, (_nothing, [])) for name, want in zip(op.inputs, self.wanted) if want and rules]
        known = [*op.inputs, *op.options, "y", *(f"{name}_shape" for name in op.inputs)]  # what a rule may ask for
        self.kept = sorted({known.index(ask) for _, asks in asked for ask in asks})  # the places of what they do
        self.keep = _keeper(self.kept, len(op.inputs), len(op.options))
        self.rules = [(rule, _picker([self.kept.index(known.index(ask)) for ask in asks])) for rule, asks in asked]

    fused = cached_property(lambda plan: _Fused(plan))  # the step of the same op, where a kernel computes it

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        """One gradient per parent; `again` when they will be differentiated in their turn."""
        if again:
            saved = self.recorded(node, saved)
        return [rule(g, *asks(saved)) for rule, asks in self.rules]

    def check(self, node: Node, pulled: list) -> None:
        names = [name for name, want in zip(self.op.inputs, self.wanted, strict=True) if want]
        for name, parent, gx in zip(names, node.parents, pulled):
            fits = (
                hasattr(gx, "dtype")
                and len(gx.shape) >= len(parent.shape)
                and all(n in (1, m) for n, m in zip(parent.shape[::-1], gx.shape[::-1]))
            )
            if gx is not None and not fits:
                given = f"an array of shape {tuple(gx.shape)}" if hasattr(gx, "shape") else f"a {type(gx).__name__}"
                raise ValueError(
                    f"{self.name}: the rule for {name!r} is to return an array of shape {parent.shape}, or one that "
                    f"this broadcasts to, but returned {given}"
                )

    def recorded(self, node: Node, saved: tuple) -> tuple:
        """What was kept, back on the tape: inputs as Tensors with the nodes they had, the output with this node."""
        parents, inputs = iter(node.parents), len(self.wanted)
        nodes = {i: next(parents) if want else None for i, want in enumerate(self.wanted)}
        nodes[inputs + len(self.op.options)] = node
        return tuple(wrap(x, nodes[i]) if i in nodes and hasattr(x, "dtype") else x for i, x in zip(self.kept, saved))


class _Meaning(_Plan):
    op: Definition

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        """Differentiate the definition.  Each input gets a slot of its own, though one Tensor may have filled two."""
        slots = list(self.recorded(node, saved))
        wanted = [i for i, want in enumerate(self.wanted) if want]
        for i in wanted:
            slots[i] = wrap(slots[i].data, new_node(slots[i].shape, slots[i].dtype, (slots[i].node,), _through))
        y = self.op.meaning(slots)
        if getattr(y, "node", None) is None:  # it came out without them: of no steps, say
            return [None] * len(wanted)
        return grad(y, [slots[i] for i in wanted], g, create_graph=True)


class _Through(Step):
    """The step of a node that stands for another."""

    name = "slot"

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> tuple:
        return (g,)


_through = _Through()


class _Fused(Step):
    """The way back through a kernel; when the gradient will itself be differentiated, the op's meaning answers."""

    fresh = True

    def __init__(self, plan: _Plan):
        self.plan, self.name = plan, plan.name

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        kept, kernel, xp, fused, options = saved
        if again:
            return self.plan.pull(node, kept, g, again)
        gradients = kernel.backward(xp, g, fused, self.plan.wanted, *options)
        return [gx for gx, want in zip(gradients, self.plan.wanted, strict=True) if want]

    def add(self, saved: tuple, g: Any, total: Any) -> bool:
        _, kernel, xp, fused, options = saved
        if kernel.add is None or g.dtype is not total.dtype and not is_half(g.dtype) or isinstance(total, np.generic):
            return False
        kernel.add(xp, total, g, fused, *options)
        return True


def _keeper(places: list[int], inputs: int, options: int) -> Callable[[list, tuple, Any], tuple]:
    """A function of an op's arrays, options and result that picks the tuple of what is kept."""
    pick, y = _picker(places), inputs + options
    if places == [y]:
        return lambda arrays, options, y: (y,)
    if not places:
        return lambda arrays, options, y: ()
    if places[-1] < inputs:
        return (lambda arrays, options, y: pick(arrays)) if places[1:] else lambda arrays, options, y: (*pick(arrays),)
    if places[-1] <= y:
        return lambda arrays, options, y: pick((*arrays, *options, y))
    if inputs == 1:  # which is an array, since it wants a gradient
        return lambda arrays, options, y: pick((*arrays, *options, y, arrays[0].shape))
    return lambda arrays, options, y: pick((*arrays, *options, y, *[getattr(x, "shape", ()) for x in arrays]))


def _nothing(g: Any) -> None:
    """The rule of an input that has none: it has no gradient."""


def _picker(places: list[int]) -> Callable[[Any], Any]:
    """A function that picks these places out of a list; in C, since it runs for every op and every rule."""
    return itemgetter(*places) if places[1:] else itemgetter(slice(places[0], places[0] + 1) if places else slice(0))


def _bare(x: Any) -> Any:
    """An op's input without its Tensor.  NumPy scalars become Python's, which widen no dtype; lists become arrays."""
    if isinstance(x, np.generic):
        return x.item()
    return as_array(x) if isinstance(x, (list, tuple)) else x
