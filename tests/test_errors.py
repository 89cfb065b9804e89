"""No error of an array library or of Python reaches a user where ours could have spoken first."""

import inspect
import re
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.checking.catalogue import ROWS
from minigrad.tensor import Tensor

X = Tensor(np.arange(6.0).reshape(2, 3))
NOTHING, MASK, SMALL, WHOLE = (
    Tensor(np.zeros((0, 3))),
    Tensor(np.array([True, False])),
    Tensor(np.array([1, 2], np.int8)),
    Tensor([1, 2, 3]),
)
RAW = re.compile(
    "ufunc|unsupported operand|has no attribute|not supported between|could not (be )?broadcast|tuple index out of|"
    "object is not (iter|sub|call)|which has no identity|truth value|unsized|inhomogeneous|be interpreted|array of dim|"
    "must match exactly|array is .-dimensional|Python integer|not allowed|gufunc|could not convert|array of size"
)

# What is typed, and what is said: what was given, what is expected, or what to type instead.
SAID = {
    "if x:": (lambda: bool(X), r"shape \(2, 3\) is true.* is ambiguous: type mg\.any"),
    "x and y": (lambda: X and X, "x & y"),
    "not x": (lambda: not X, "~x"),
    "if of nothing": (lambda: bool(NOTHING), r"shape \(0, 3\)"),
    "float(x)": (lambda: float(X), r"float\(x\) needs a Tensor with one entry, this one has shape \(2, 3\)"),
    "int(x)": (lambda: int(NOTHING), r"int\(x\) needs"),
    "len(s)": (lambda: len(Tensor(2.0)), r"has no length.*x\.item\(\)"),
    "list(s)": (lambda: list(Tensor(2.0)), r"x\.item\(\)"),
    "a, b = s": (lambda: [(a, b) for a, b in [Tensor(2.0)]], r"no entries to go through"),
    "x + None": (lambda: X + None, r"add\(\(2, 3\), None\): b is None: give a Tensor.*without `return`"),
    "None - x": (lambda: None - X, "a is None"),
    "x @ None": (lambda: X @ None, "b is None"),
    "x ** None": (lambda: X**None, "exponent is None"),
    "x < None": (lambda: X < None, "b is None"),
    "x + text": (lambda: X + "a", "str is not an array: give a Tensor"),
    "x * {}": (lambda: X * {}, "dict is not an array"),
    "text": (lambda: mg.exp(np.array(["a"])), "x holds text"),
    "numbers as text": (lambda: mg.exp(np.array(["1.5"])), "x holds text"),
    "complex": (lambda: mg.exp(np.array([1j])), "x holds complex numbers"),
    "complex beside ours": (lambda: X[0] + np.array([1j, 1, 2]), "add: give numbers.* complex numbers"),
    "objects": (lambda: mg.where(X > 0, None, 1), "objects"),
    "-mask": (lambda: -MASK, r'negative\(\(2,\)\): booleans have no negative: type ~x.*x\.astype\("float32"\)'),
    "mask - mask": (lambda: MASK - MASK, r"type a != b"),
    "True - mask": (lambda: True - MASK, r"type a != b"),
    "sign of a mask": (lambda: mg.sign(MASK), "sign is not defined for bool"),
    "int8 + 1000": (
        lambda: SMALL + 1000,
        r'1000 is out of bounds for int8, which holds -128 to 127: type x\.astype\("int64',
    ),
    "int8 * -200": (lambda: -200 * SMALL, "-200 is out of bounds for int8"),
    "maximum": (lambda: mg.maximum(SMALL, 1000), "which holds -128 to 127"),
    "ints ** -1": (lambda: WHOLE**-1, r'whole numbers have no negative powers: type x\.astype\("float32"\)'),
    "2 ** -ints": (lambda: 2 ** (WHOLE * -1), "no negative powers"),
    "arctan2 of None": (lambda: mg.arctan2(X, None), "b is None"),
    "max of nothing": (lambda: NOTHING.max(), r"max\(\(0, 3\).*of no entries none is the largest"),
    "min along": (lambda: NOTHING.min(0), "of no entries along axis 0 none is the smallest"),
    "argmax of nothing": (lambda: NOTHING.argmax(0), "none is the largest"),
    "reshape": (lambda: X.reshape(4), r"cannot reshape 6 entries into \(4,\), which has 4; one size may be -1"),
    "reshape -1": (lambda: X.reshape(4, -1), r"cannot reshape 6 entries into \(4, -1\), whatever the -1 is"),
    "reshape -1, -1": (lambda: X.reshape(-1, -1), "not several"),
    "reshape -2": (lambda: X.reshape(-2, 3), "a size is at least 0; one may be -1"),
    "reshape text": (lambda: X.reshape("a"), "shape='a'.* whole number, not a str"),
    "reshape 1.5": (lambda: X.reshape(1.5), "a shape is whole numbers, not 1.5"),
    "broadcast_to": (lambda: mg.broadcast_to(X, (4, 3)), r"each size of \(2, 3\) is to be 1 or that of \(4, 3\)"),
    "where": (lambda: mg.where(X > 0, X, np.ones(5)), "axis -1 is 3 in one and 5 in the other"),
    "axis": (lambda: mg.softmax(X, 7), "axis 7 is out of bounds for 2 axes: give -2 to 1"),
    "axis twice": (lambda: X.sum((0, 0)), "named twice"),
    "swapaxes": (lambda: X.swapaxes("a", 1), "a='a'.* whole number, not a str"),
    "keepdims": (lambda: X.sum(0, "yes"), "keepdims is True or False, not 'yes'"),
    "an option": (lambda: F.softplus(X, "a"), "beta is a number, 1.0 by default, not 'a'"),
    "concatenate": (lambda: mg.concatenate([X, np.ones((2, 4))]), r"\(2, 3\), \(2, 4\), do not fit .*same sizes"),
    "pad": (lambda: mg.pad(X, 1), "a pair for each of the 2 axes, not 1"),
    "pad negative": (lambda: mg.pad(X, ((1, -1), (0, 0))), "at least 0"),
    "x[5]": (lambda: X[5], r"index 5 is out of bounds for axis 0 with size 2: give -2 to 1"),
    "x[0, 0, 0]": (lambda: X[0, 0, 0], "too many indices, 3 for 2 axes"),
    "x['a']": (lambda: X["a"], "an index is a whole number"),
    "mask": (lambda: X[np.array([True])], "along axis 0 the mask is 1 long, and what it picks from 2"),
    "copy_ text": (lambda: Tensor([1.0]).copy_("a"), "copy_: 'a' is no number"),
    "copy_ None": (lambda: Tensor([1.0]).copy_(None), "copy_: None is no number"),
    "copy_ shape": (lambda: Tensor([1.0, 2.0]).copy_([1, 2, 3]), r"shape \(3,\) do not broadcast to \(2,\)"),
    "copy_ beyond": (lambda: Tensor(np.array([1], np.int8)).copy_(1000), "1000 is no number.* of int8"),
    "Tensor of None": (lambda: Tensor(None), "not None, which a function without `return` gives"),
    "layer_norm": (lambda: F.layer_norm(X, 3, "a"), "layer_norm: a Tensor holds numbers"),
    "batch_norm of a list": (lambda: F.batch_norm([1.0, 2.0]), r"takes x \(N, C, …\), but x has shape \(2,\)"),
    "linear of uneven lists": (lambda: F.linear([[1.0], [1.0, 2.0]], np.eye(2)), "lists of one length"),
}


@pytest.mark.parametrize("typed", SAID)
def test_what_is_said(typed):
    f, words = SAID[typed]
    with pytest.raises((TypeError, ValueError, IndexError), match=words) as told:
        f()
    assert not RAW.search(str(told.value)), told.value


def unfit(a):
    """What may be given by mistake in the place of an array."""
    a = np.asarray(a)
    yield from (None, "text", {"a": 1}, {1.0, 2.0}, [[1.0, 2], [3.0]], object())
    yield from (a.astype(kind) for kind in (bool, np.int8, complex, object, str))
    shapes = ((), (0,), (7,), (2, 3, 1, 7, 2), tuple(n + 1 for n in a.shape), (0,) * a.ndim)
    yield from (Tensor(np.zeros(shape, np.float32)) for shape in shapes)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.op)
def test_whatever_is_given_to_an_op_it_is_not_numpy_that_answers(row):
    for i, right in enumerate(row.inputs):
        for given in unfit(right):
            inputs = [Tensor(x) if isinstance(x, np.ndarray) else x for x in row.inputs]
            inputs[i] = given
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    row.call(*inputs)
            except Exception as error:
                if not hasattr(error, "op"):
                    continue  # the functions in front of ops speak for themselves
                assert type(error) in (TypeError, ValueError, IndexError), (row.op, given)
                assert not RAW.search(str(error)), (row.op, given, error)


def test_a_slip_in_a_users_op_is_told_as_it_is():
    @mg.primitive
    def slip(xp, x, /):
        return xp.no_such_function(x)

    with pytest.raises(AttributeError, match="no_such_function"):
        slip(X)

    @mg.primitive
    def refusing(xp, x, /):
        raise ValueError("my shapes do not broadcast: tuple index out of range")

    with pytest.raises(ValueError, match=r"refusing\(\(2, 3\)\): my shapes do not broadcast: tuple index"):
        refusing(X)


NOT_WALKED = set(
    """seed manual_seed save load debug explain graph summary checkpoint gradcheck to_numpy_source autocast primitive
    definition from_dlpack tensor jacobian hessian vjp jvp grad enable_grad no_grad batch_norm_scale_and_shift
    """.split()
)  # what has files, modes or functions for arguments, and a step between ours
READING = {"minigrad.pipeline"}  # a text may be a directory that does not exist, or a model on the Hub
FUNCTIONS = {
    f"{room.__name__}.{name}": value
    for room in (mg, F)
    for name, value in ((name, getattr(room, name)) for name in dir(room) if name not in NOT_WALKED)
    if callable(value) and not isinstance(value, type) and not name.startswith("_")
    if getattr(value, "__module__", "").startswith("minigrad")
}


def parameters(function):
    """The names of what must be given, and of what may be."""
    found = [p for p in inspect.signature(function).parameters.values() if p.kind.name.startswith("POSITIONAL")]
    return [p.name for p in found if p.default is p.empty], [p.name for p in found if p.default is not p.empty]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whatever_a_function_is_given_our_own_words_answer(name):
    function = FUNCTIONS[name]
    needed, optional = parameters(function)
    mistakes = (None, "a", object(), {}, [[1.0], [1.0, 2.0]], NOTHING, Tensor(2.0), 1.5, X, np.array(["a"]))
    calls = [([bad if i == j else X for i in range(len(needed))], {}) for j in range(len(needed)) for bad in mistakes]
    calls += [([X] * len(needed), {k: bad}) for k in optional for bad in (None, "a", object(), 1.5, 7, -9, (0, 9), {})]
    for inputs, options in calls:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                function(*inputs, **options)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            ours = Path(last.filename).is_relative_to(Path(mg.__file__).parent) and "raise" in last.line
            assert ours, (inputs, options, f"{type(error).__name__}: {error}", last)
            kinds = TypeError, ValueError, IndexError, RuntimeError
            kinds += (FileNotFoundError, ImportError) if name in READING else ()
            assert type(error) in kinds, (inputs, options)
