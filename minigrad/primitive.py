"""How an op is made.  Two decorators, and nothing else in the package writes on the tape.

@primitive    a function on bare arrays, plus one derivative rule per input.    For when the derivative is short.
@definition   a function on Tensors: pure meaning, no calculus at all.          For when the derivative is long.

Left of the `/` in a signature are Tensors; right of it are plain options.  An op given a Tensor returns a Tensor; given
only bare arrays it returns a bare array.  That is why one rule serves every order: a plain backward pass gives it arrays
and it computes, a recorded one gives it Tensors and it is recorded.  (So a rule is written with operators and ops, and
of the methods only with those that arrays and Tensors share.)

A backend may offer a fused Kernel under any op's name.  The kernel then carries the first-order path; the rules or the
definition remain what the op *means*, and answer whenever a gradient is itself to be differentiated.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import update_wrapper, wraps
from operator import itemgetter
from typing import Any

import numpy as np

from . import backend
from .backend import cast, is_float, is_half
from .errors import explained
from .tape import Mode, Node, Step, new_node, record, recording
from .tensor import Tensor, as_array, grad, wrap

OPS: dict[str, _Op] = {}                        # every op by name: the test catalogue has a row for each
FUNCTIONS: dict[str, Callable] = {}             # the functions made of ops that are `in_float32`, by name
TORCH_SPELLING = {"dim": "axis", "keepdim": "keepdims"}                        # both are taken wherever an op has the option
_F4 = np.dtype("float32")


def primitive(function: Callable) -> Callable:
    """Make an op of a function on arrays, `(xp, *inputs, /, options)`; `op.defvjp(...)` gives it its derivatives."""
    inputs, options = _parameters(function, "xp, x, /, option=None")
    if inputs.pop(0) != "xp" or not inputs:
        raise TypeError(f"{function.__name__}: a primitive is given the array library, numpy or cupy, as xp, and after that at "
                        f"least one array: def {function.__name__}(xp, {', '.join(inputs) or 'x'}, /)")
    return Primitive(function, inputs, options).front


def definition(function: Callable) -> Callable:
    """Make an op of a function on Tensors, `(*inputs, /, options)`, that uses nothing but other ops."""
    return Definition(function, *_parameters(function, "x, /, option=None")).front


def in_float32(function: Callable, leading: int = 0) -> Callable:
    """Compute with floats of 16 bits in float32, and round the result to their dtype once: for an op or a function that adds up.

    So a sum of numbers of 16 bits runs in float32, and nothing in a mean or a loss overflows or is rounded on the way; the tape
    holds the casts, so the gradients too are computed in float32 and rounded once.  An op with a kernel for 16 bits leaves it to
    that.  Under autocast such a function is cast as an op is: see amp.py.  The first `leading` arguments of a function say which
    dtype the result has, if not all Tensors do, and whole numbers among them, too, are float32 from the start.
    """
    op = getattr(function, "op", None)
    if op is not None:
        op.in_float32, op.is_floating = True, bool(leading)
        return function
    name, first = function.__name__, getattr(function, "__wrapped__", function).__code__.co_varnames[:leading]

    @wraps(function)
    def front(*inputs: Any, **options: Any) -> Any:
        on, values = recording(), (*inputs, *options.values())
        special = on is not True and on is not False         # a Mode
        if not special and len(inputs) >= leading and all([getattr(x, "dtype", _F4) is _F4 for x in values]) and \
                all([hasattr(x, "shape") for x in inputs[:leading]]):          # as nearly always
            return function(*inputs, **options)
        leads = [i < leading for i in range(len(inputs))] + [option in first for option in options]
        values = [shaped(x, name) if it else x for x, it in zip(values, leads)]
        if special:
            values = on.given(front, values)
        heeded = [x for x, it in zip(values, leads) if it] or [x for x in values if isinstance(x, Tensor)]
        wider = _wider(values, leads, heeded or values[:1])
        values, dtype = wider or (values, None)
        named = dict(zip(options, values[len(inputs):]))
        if wider is None:
            return function(*values[:len(inputs)], **named)
        with _uncast(on):
            return _rounded(function(*values[:len(inputs)], **named), dtype)
    front.name, front.ours, FUNCTIONS[name] = name, True, front
    return front


def floating(function: Callable) -> Callable:
    """`in_float32`, for an op with a floating result: there whole numbers too are float32 from the start.

    (NumPy would compute exp of 8 bits in 16, where it overflows, and of 64 in 64.)  Of a function, that is its first argument.
    """
    return in_float32(function, 1)


def with_numbers(front: Callable) -> Callable:
    """`in_float32`, for an op of two, where one is a Python float: NumPy would round that to the 16 bits of the other first."""
    front.op.in_float32, front.op.only_numbers = True, True
    return front


def _wider(values: Sequence, to_float: Sequence[bool], heeded: Sequence) -> tuple[list, np.dtype] | None:
    """The values with floats of 16 bits in float32, and the dtype of the result, that of the values `heeded`; or None: no change.

    Whole numbers, where `to_float` says so, go to the dtype that is computed in.
    """
    arrays = [x for x in values if isinstance(x, Tensor) or hasattr(x, "shape") and not isinstance(x, np.generic)]
    if all([x.dtype is _F4 for x in arrays]):
        return None
    halves = [x for x in arrays if is_half(x.dtype)]
    change = halves + [x for x, it in zip(values, to_float) if it and hasattr(x, "shape") and not is_float(x.dtype)]
    if not change:
        return None
    floats = [x.dtype for x in heeded if hasattr(x, "shape") and is_float(x.dtype)]
    dtype = np.result_type(*floats) if floats else _F4
    wide = (_F4 if is_half(dtype) else dtype,)
    return [OPS["astype"].run((x,), wide) if any([x is one for one in change]) else x for x in values], dtype


def _rounded(y: Any, dtype: np.dtype) -> Any:
    """A floating result in this dtype."""
    return y if y.dtype == dtype or not is_float(y.dtype) else OPS["astype"].run((y,), (dtype,))


@contextmanager
def _uncast(on: bool | Mode) -> Iterator[None]:
    """What runs in the body is not cast by autocast: it has just been cast, for good reason."""
    if on is True or on is False:
        yield
    else:
        with record(on._replace(given=Mode().given)):
            yield


def torch_spelling(function: Callable) -> Callable:
    """Let a function of ops take `dim` and `keepdim` as well, torch's names for NumPy's `axis` and `keepdims`."""
    names = function.__code__.co_varnames

    @wraps(function)
    def front(*inputs: Any, **options: Any) -> Any:
        for theirs in TORCH_SPELLING.keys() & options.keys():
            ours, value = TORCH_SPELLING[theirs], options.pop(theirs)
            given = inputs[names.index(ours)] if ours in names[:len(inputs)] else options.get(ours)
            if given is not None and given is not False:     # (None and False are what methods pass on when nothing was said)
                raise _given_twice(function.__name__, ours, given, theirs, value)
            inputs = tuple(value if names[i] == ours else given for i, given in enumerate(inputs))
            if ours not in names[:len(inputs)]:
                options[ours] = value
        return function(*inputs, **options)
    return front


def whole(op: str, axis: Any) -> int:
    """An axis as a plain int.  Raises TypeError if it is none; True and False are none either."""
    if isinstance(axis, (int, np.integer)) and not isinstance(axis, bool):
        return int(axis)
    raise TypeError(f"{op}: an axis is one whole number, not {axis!r}")


def _given_twice(name: str, ours: str, one: Any, theirs: str, two: Any) -> TypeError:
    return TypeError(f"{name}() was given {ours}={one!r} and {theirs}={two!r}, two names of one option: give one of them")


def _parameters(function: Callable, example: str) -> tuple[list[str], list[str]]:
    """The names left and right of the slash.  (`inspect` would tell too, but costs more to import than this package.)"""
    code = getattr(function, "__code__", None)
    if code is None:
        raise TypeError(f"an op is made of a function written with def, not of {function!r:.80}: def f({example}): ...")
    if not code.co_posonlyargcount or code.co_kwonlyargcount or code.co_flags & 0x0C:        # *args, **kwargs
        raise TypeError(f"{function.__name__}: an op's inputs stand left of a slash, its options right of it, none keyword-only, "
                        f"no *args: def {function.__name__}({example})")
    names = list(code.co_varnames[:code.co_argcount])
    return names[:code.co_posonlyargcount], names[code.co_posonlyargcount:]


class Default(int):
    """A whole number that nobody gave: the default of an option that has two names, so that giving both can be refused."""


class _Op:
    """What both kinds share: how arguments are bound, how the op is computed, and what is written on the tape."""
    on_arrays: bool                             # is its function one of arrays, or of Tensors?

    def __init__(self, function: Callable, inputs: list[str], options: list[str]):
        self.function, self.inputs, self.options = function, inputs, options
        self.name = function.__name__.strip("_")                               # `_linear` stands behind the function `linear`
        self.plans: dict[int, _Plan] = {}       # one per set of inputs that want a gradient, made when first met
        self.in_float32 = self.is_floating = self.only_numbers = False         # see in_float32, floating and with_numbers
        self.front, self.call = self._make_front(), self._first_call
        self.ours = function.__module__.partition(".")[0] == "minigrad"        # a user's op may bear the name of one of ours
        if self.ours:
            OPS[self.name] = self

    def _make_front(self) -> Callable:
        """The function users call.  It has the op's own signature, so that Python binds the arguments, and binds them fast.

        For `matmul` it is `lambda a, b, /: run((a, b,), ())`; for `sum`, whose axis is looked at first,
        `lambda x, /, axis=None, keepdims=False, **also: along((x,), (axis, keepdims,), also)`, or `run` where no axis is given.
        """
        also = bool(set(TORCH_SPELLING.values()) & set(self.options))
        names = [*self.inputs, "/", *self.options, *(["**also"] if also else [])]
        inputs, options = ("(" + "".join(f"{name}, " for name in part) + ")" for part in (self.inputs, self.options))
        run = f"run({inputs}, {options})"
        if "axis" in self.options:
            run = f"{run} if axis is None and not also else along({inputs}, {options}, also)"
        elif also:
            run = f"run({inputs}, {options}, also)"
        front = eval(f"lambda {', '.join(names)}: {run}", {"run": self.run, "along": self.along, "__name__": __name__})
        front.__defaults__ = self.function.__defaults__
        if also:
            front.__defaults__ = tuple(Default(d) if type(d) is int else d for d in front.__defaults__ or ())
        update_wrapper(front, self.function)
        del front.__wrapped__                   # or help() would show `xp` among the arguments
        front.op = self
        return front

    def _first_call(self, xp: Any, given: Sequence, options: tuple) -> Any:
        """The op's own function on what it takes, arrays or Tensors.  From here on it is called in the way that is quickest.

        For `sum` that is `lambda xp, given, options: function(xp, given[0], options[0], options[1])`.
        """
        sizes = {"given": len(self.inputs), "options": len(self.options)}
        arguments = [f"{part}[{i}]" for part, size in sizes.items() for i in range(size)]
        self.call = eval(f"lambda xp, given, options: function({', '.join(['xp'] * self.on_arrays + arguments)})",
                         {"function": self.function, "__name__": __name__})
        return self.call(xp, given, options)

    def run(self, inputs: tuple, options: tuple, also: dict | None = None) -> Any:
        """Compute the op; write it on the tape if an input wants a gradient."""
        if also:
            options = self._translate(options, also)
        arrays, parents, wanted, bit, tensors = [], [], 0, 1, False
        on, asked = recording(), inputs
        special = on is not True and on is not False         # a Mode
        if special:
            inputs = on.given(self, inputs)
        try:
            for x in inputs:                        # what is given: arrays, nodes, and which inputs want a gradient
                if isinstance(x, Tensor):
                    tensors = True
                    arrays.append(x.data)
                    if on and x.node is not None:
                        parents.append(x.node)
                        wanted |= bit
                else:
                    arrays.append(_bare(x))
                bit += bit
            if not tensors and not any(hasattr(a, "dtype") for a in arrays):
                return self._of_numbers(inputs, options, arrays)
            place = backend.home(arrays)
        except (ValueError, TypeError) as error:             # a ragged list, text, arrays of two devices
            raise explained(error, self, asked, [*arrays, *inputs[len(arrays):]], options) from error
        dtype = getattr(arrays[0], "dtype", None)
        if not self.ours or special and not on.kernels:
            kernel = None
        else:
            kernel = place.kernels.get(self.name) if dtype is _F4 or dtype is None else place.kernel(self.name, dtype)
        if self.in_float32 and dtype is not _F4 and kernel is None and (dtype or getattr(arrays[-1], "dtype", None)) is not _F4:
            wider = self._wider([x if isinstance(x, Tensor) else a for x, a in zip(inputs, arrays)])
            if wider is not None:
                with _uncast(on):
                    return _rounded(self.run(tuple(wider[0]), options), wider[1])
        try:                                    # the value, by a kernel or by the function
            if kernel is not None and (wanted or kernel.alone is None):
                y, fused = kernel.forward(place.xp, *arrays, *options)
            elif kernel is not None:
                y = kernel.alone(place.xp, *arrays, *options)
            else:
                y = self.call(place.xp, arrays if self.on_arrays else inputs, options)
                if isinstance(y, Tensor) and not self.on_arrays:
                    return y                    # a definition: the ops in it have recorded themselves
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise explained(error, self, asked, arrays, options) from error
        if type(y) is not place.array or wanted and kernel is None and not self.on_arrays:
            y = self._as_result(y, kernel)
        if y.dtype is not _F4 or dtype is not _F4:
            y = self._settle(y, arrays)
        node = None                             # the step, if there is something to carry back
        if wanted and (y.dtype is _F4 or y.dtype.kind not in "iub"):           # (whole numbers do not move by small amounts)
            plan = self.plans.get(wanted)
            if plan is None:
                plan = self.plans[wanted] = self.plan([bool(wanted >> i & 1) for i in range(len(inputs))])
            if kernel is not None:
                saved = plan.keep(arrays, options, y), kernel, place.xp, fused, options
                node = new_node(y.shape, y.dtype, parents, plan.fused, saved)
            elif plan.rules:
                node = new_node(y.shape, y.dtype, parents, plan, plan.keep(arrays, options, y))
        if special:
            on.note(node, self, inputs, options, y)
        return wrap(y, node) if tensors else y

    def _as_result(self, y: Any, kernel: Any) -> Any:
        """What the function, or the kernel, returned, as an array: NumPy gives scalars for 0-d arrays.

        Raises:
            TypeError: it is none, or one from which no gradient leads back.
        """
        if isinstance(y, Tensor) or not hasattr(y, "dtype"):
            raise TypeError(f"{self.name}: the function of a primitive is given arrays and returns one, computed with xp, "
                            f"but this returned a {type(y).__name__}")
        if not self.on_arrays and kernel is None:
            raise TypeError(f"{self.name}: a definition is given Tensors and returns one, computed with ops, but this returned "
                            f"a {type(y).__name__}, which has no gradient: use no .data and no .numpy() in it")
        return np.asarray(y) if isinstance(y, np.generic) else y

    def _of_numbers(self, inputs: tuple, options: tuple, arrays: list) -> Any:
        """The op on numbers alone: NumPy's stay NumPy's, Python's become Tensors."""
        make = np.asarray if any(isinstance(x, np.generic) for x in inputs) else Tensor
        some = any(x is not None for x in inputs)            # an input may be left out, but not all of them
        try:
            return self.run(tuple(x if x is None and some else make(x) for x in inputs), options)
        except TypeError as error:
            raise explained(error, self, inputs, arrays, options) from error

    def along(self, inputs: tuple, options: tuple, also: dict) -> Any:
        """`run` of an op along an axis: a whole number or, in any sequence, several.  A single number has one axis, as in torch.

        Raises:
            TypeError: the axis is something else.
        """
        if also:
            options = self._translate(options, also)
        place = self.options.index("axis")
        axis = options[place]
        if axis is not None and type(axis) is not int:
            axis = tuple(whole(self.name, a) for a in axis) if isinstance(axis, (tuple, list)) else whole(self.name, axis)
            options = (*options[:place], axis, *options[place + 1:])
        x, *others = inputs
        x = Tensor(x) if type(x) in (bool, int, float) else x
        if getattr(x, "shape", None) == () and axis not in (None, ()):
            return self.run((x.reshape((1,)), *others), options).reshape(())
        return self.run(inputs, options)

    def _wider(self, inputs: Sequence) -> tuple[list, np.dtype] | None:
        if self.only_numbers and float not in map(type, inputs):
            return None
        return _wider(inputs, [self.is_floating] * len(inputs), inputs)

    def _settle(self, y: Any, arrays: list) -> Any:
        """The promotion rule, in one place: a floating result has the common type of the floating inputs, float32 if none.

        (NumPy would widen int with float32, and int / int, to float64; and bfloat16 with a Python number to float32.)
        """
        if "dtype" in self.options or not is_float(y.dtype):
            return y
        floats = [a.dtype for a in arrays if hasattr(a, "dtype") and is_float(a.dtype)]
        dtype = np.result_type(*floats) if floats else _F4
        return y if y.dtype == dtype else cast(y, dtype)

    def _translate(self, options: tuple, also: dict) -> tuple:
        named = dict(zip(self.options, options, strict=True))
        for name, value in also.items():
            ours = TORCH_SPELLING.get(name)
            if ours not in named:
                raise TypeError(f"{self.name}() has no option {name!r}; it has {', '.join(named)}")
            if named[ours] is not None and named[ours] is not False and type(named[ours]) is not Default:
                raise _given_twice(self.name, ours, named[ours], name, value)
            named[ours] = value
        return tuple(named.values())


class Primitive(_Op):
    """An op with a rule for each input."""
    on_arrays = True

    def __init__(self, function: Callable, inputs: list[str], options: list[str]):
        super().__init__(function, inputs, options)
        if "y" in inputs:
            raise TypeError(f"{self.name}: an input cannot be called 'y', which is what rules call the output: rename it")
        self.rules: dict[str, tuple[Callable, list[str]]] | None = None        # until `defvjp` says so
        self.front.defvjp = self.defvjp

    def defvjp(self, **rules: Callable) -> None:
        """One rule per input: `x=lambda g, ...: gradient of x`.  An input left out has no gradient, so that `defvjp()` alone
        declares the op to be constant.

        After `g`, a rule names what it needs, and that is all the tape keeps: an input, its `x_shape`, the output `y`, an
        option.  It returns any array, which is not written into; in this package a new one, `g`, or a view of `g`.

        Raises:
            TypeError: a rule is for something that is no input, or asks for what is neither an input nor an option.
        """
        known = {"y", *self.inputs, *self.options, *(f"{name}_shape" for name in self.inputs)}
        found = {}
        for name, rule in rules.items():
            _, *asks = rule.__code__.co_varnames[:rule.__code__.co_argcount]
            if name not in self.inputs or not known.issuperset(asks):
                raise TypeError(f"{self.name}: the rule for {name!r} asks for {asks}; a rule is for one of {self.inputs} and may "
                                f"ask, after the gradient, for {sorted(known)}")
            found[name] = rule, asks
        self.rules = {**(self.rules or {}), **found}
        self.plans.clear()                      # made with the rules of before

    def plan(self, wanted: list[bool]) -> _Plan:
        if self.rules is None:
            raise TypeError(f"{self.name} has no derivative, but an input requires a gradient: type {self.name}.defvjp("
                            f"{self.inputs[0]}=lambda g: …), or {self.name}.defvjp() if it is to count as a constant")
        no_gradient = (lambda g: None), []
        rules = [self.rules.get(name, no_gradient) for name, want in zip(self.inputs, wanted, strict=True) if want]
        return _Plan(self, wanted, rules if self.rules else [])


class Definition(_Op):
    """An op that is differentiated by differentiating what it is made of."""
    on_arrays = False

    def meaning(self, given: list) -> Tensor:
        """What it is on these inputs and options, without a kernel of its own."""
        wider = self._wider(given[:len(self.inputs)]) if self.in_float32 else None
        if wider is None:
            return self.function(*given)
        return _rounded(self.function(*wider[0], *given[len(self.inputs):]), wider[1])

    def plan(self, wanted: list[bool]) -> _Plan:
        """A definition answers by being differentiated, and so keeps everything it was given."""
        return _Meaning(self, wanted, [(None, [*self.inputs, *self.options])])


class _Plan(Step):
    """What an op keeps, and how it goes back, when a given set of its inputs wants a gradient."""
    output: int | None = None                   # where in what is kept the output is, if a rule asks for it

    def __init__(self, op: _Op, wanted: list[bool], rules: list[tuple[Callable, list[str]]]):
        self.op, self.name, self.wanted, self.fresh = op, op.name, tuple(wanted), op.ours
        known = {name: f"arrays[{i}]" for i, name in enumerate(op.inputs)}
        known |= {name: f"options[{i}]" for i, name in enumerate(op.options)}
        known = {**known, "y": "y", **{f"{name}_shape": f"shape({known[name]})" for name in op.inputs}, **known}
        asked = {ask for _, asks in rules for ask in asks}
        kept = [name for name in known if name in asked]
        self.keep = eval(f"lambda arrays, options, y: ({''.join(f'{known[name]}, ' for name in kept)})", {"shape": shape_of})
        self.rules = [(rule, _pick([kept.index(ask) for ask in asks])) for rule, asks in rules]
        self.fused = _Fused(self)
        parent = {name: k for k, name in enumerate(name for name, want in zip(op.inputs, wanted, strict=True) if want)}
        self.as_tensors = [(k, parent.get(name)) for k, name in enumerate(kept) if name in op.inputs]
        if "y" in kept and "y" not in op.inputs:
            self.output = kept.index("y")

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        """One gradient per parent; `again` when they will be differentiated in their turn."""
        if again:
            saved = self.recorded(node, saved)
        return [rule(g, *asks(saved)) for rule, asks in self.rules]

    def check(self, node: Node, pulled: list) -> None:
        names = [name for name, want in zip(self.op.inputs, self.wanted, strict=True) if want]
        for name, parent, gx in zip(names, node.parents, pulled):
            fits = hasattr(gx, "dtype") and len(gx.shape) >= len(parent.shape) and \
                all(n in (1, m) for n, m in zip(parent.shape[::-1], gx.shape[::-1]))
            if gx is not None and not fits:
                given = f"an array of shape {tuple(gx.shape)}" if hasattr(gx, "shape") else f"a {type(gx).__name__}"
                raise ValueError(f"{self.name}: the rule for {name!r} is to return an array of shape {parent.shape}, or one that "
                                 f"this broadcasts to, but returned {given}")

    def recorded(self, node: Node, saved: tuple) -> list:
        """What was kept, back on the tape: inputs as Tensors with the nodes they had, the output with this node."""
        saved = list(saved)
        for k, parent in self.as_tensors:
            if hasattr(saved[k], "dtype"):
                saved[k] = wrap(saved[k], None if parent is None else node.parents[parent])
        if self.output is not None:
            saved[self.output] = wrap(saved[self.output], node)
        return saved


class _Meaning(_Plan):
    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        """Differentiate the definition.  Each input gets a slot of its own, though one Tensor may have filled two."""
        slots = self.recorded(node, saved)
        wanted = [i for i, want in enumerate(self.wanted) if want]
        for i in wanted:
            slots[i] = wrap(slots[i].data, new_node(slots[i].shape, slots[i].dtype, (slots[i].node,), _through))
        y = self.op.meaning(slots)
        if getattr(y, "node", None) is None:    # it came out without them: of no steps, say
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

    def add(self, saved: tuple, g: Any, total: Any) -> bool:
        _, kernel, xp, fused, options = saved
        if kernel.add is None or g.dtype is not total.dtype and not is_half(g.dtype) or isinstance(total, np.generic):
            return False
        kernel.add(xp, total, g, fused, *options)
        return True

    def __init__(self, plan: _Plan):
        self.plan, self.name = plan, plan.name

    def pull(self, node: Node, saved: tuple, g: Any, again: bool) -> list:
        kept, kernel, xp, fused, options = saved
        if again:
            return self.plan.pull(node, kept, g, again)
        gradients = kernel.backward(xp, g, fused, self.plan.wanted, *options)
        return [gx for gx, want in zip(gradients, self.plan.wanted, strict=True) if want]


def shape_of(x: Any) -> tuple:
    """The shape of a Tensor, an array, a number, or nested lists."""
    return x.shape if hasattr(x, "shape") else np.shape(x)


def _pick(places: list[int]) -> Callable[[tuple], tuple]:
    """A function that picks these places out of a tuple, as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)              # in C: this runs for every op and every rule
    return (lambda values, place=places[0]: (values[place],)) if places else lambda values: ()


def _bare(x: Any) -> Any:
    """An op's input without its Tensor.  NumPy scalars become Python's, which widen no dtype; lists become arrays."""
    if isinstance(x, np.generic):
        return x.item()
    return as_array(x) if isinstance(x, (list, tuple)) else x


def shaped(x: Any, op: str = "") -> Any:
    """x as something with a shape, which numbers and lists are not: the Tensor or the array that an op makes of it."""
    if hasattr(x, "shape"):
        return x
    try:
        return Tensor(x) if isinstance(x, (bool, int, float)) else as_array(x)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{op}: {error}" if op else str(error)) from None
