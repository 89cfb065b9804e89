"""A strict stand-in for CuPy over NumPy, for the ordinary tests: no GPU, no CuPy, a few microseconds a call.

Its arrays hold NumPy's but are none.  Whatever CuPy refuses is refused: an implicit conversion, an array of NumPy's
among the operands, a name or an argument that CuPy lacks (manifest.json lists what it has).  So is what CuPy would let
pass but is a mistake all the same: a function of NumPy's called on an array of the device.  What differs in silence it
does not know (indices out of range, and everything about the bits): tests/on_cupy asks the real CuPy.
"""

import json
import types
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

MANIFEST = json.loads(Path(__file__).with_name("manifest.json").read_text("utf-8"))
NUMPY_ONLY = {"where", "initial", "mean", "correction"}  # arguments of reductions
UFUNC_ARGUMENTS = {"out", "dtype", "casting"}
REDUCE = {"add", "multiply"}
# ufuncs with .at, and the dtypes it takes
AT = {
    "add": "ilLqQIefd",
    "subtract": "iI",
    "maximum": "ilLqQIfd",
    "minimum": "ilLqQIfd",
    "bitwise_and": "ilLqQI",
    "bitwise_or": "ilLqQI",
    "bitwise_xor": "ilLqQI",
}
OWNERS = WeakValueDictionary()  # the arrays that are no views, by the id of NumPy's: what `base` gives
IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


def inside(value, where):
    """The same with NumPy's arrays in place of ours: what NumPy can compute on.

    An array of NumPy's itself is refused.
    """
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: an array of NumPy's was given to {where} of the device")
    if isinstance(value, (list, tuple)):
        return type(value)(inside(item, where) for item in value)
    if isinstance(value, dict):
        return {key: inside(item, where) for key, item in value.items()}
    return value


def outside(value):
    """A result of NumPy's as CuPy has it: scalars are arrays with no axes."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value)
        if value.dtype.kind in "OUSMm":
            raise ValueError(f"Unsupported dtype {value.dtype}")
        known = OWNERS.get(id(value))
        if known is not None and known._array is value:  # asarray gives the array itself
            return known
        array = object.__new__(ndarray)
        array._array, array.base = value, None
        if isinstance(value.base, np.ndarray):
            owner = OWNERS.get(id(value.base))
            array.base = outside(value.base) if owner is None else owner
        else:
            OWNERS[id(value)] = array
        return array
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(outside, value))
    return type(value)(map(outside, value)) if isinstance(value, (list, tuple)) else value


class ndarray:
    """An array of the device."""

    __slots__ = ("_array", "base", "__weakref__")
    __hash__ = None
    data = property(lambda self: types.SimpleNamespace(ptr=self._array.__array_interface__["data"][0]))

    def __array__(self, *args, **kwargs):
        raise TypeError(IMPLICIT)

    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        if isinstance(args[0], np.generic) and method == "__call__":  # a scalar of NumPy's on the left of an operator
            return outside(ufunc(*inside(args, ufunc.__name__)))
        raise TypeError(
            f"np.{ufunc.__name__} was called on an array of the device: call xp.{ufunc.__name__}, or move the others"
        )

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"np.{function.__name__} was called on an array of the device: call xp.{function.__name__}")

    def get(self, stream=None, order="C", out=None, blocking=True):
        return self._array.copy()

    def __getattr__(self, name):
        if name.startswith("__") or name not in MANIFEST["ndarray"]:
            raise AttributeError(f"'ndarray' object has no attribute {name!r}")
        value = getattr(self._array, name)
        if name == "flags":  # CuPy's know no more
            return types.SimpleNamespace(
                **{flag: getattr(value, flag) for flag in ("c_contiguous", "f_contiguous", "owndata")}
            )
        return guarded(name, value) if callable(value) else outside(value)

    def __getitem__(self, index):
        return outside(self._array[inside(index, "[]")])

    def __setitem__(self, index, value):
        if isinstance(value, (np.ndarray, list, tuple)) and np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._array[inside(index, "[]")] = inside(value, "[]")

    def __repr__(self):
        return repr(self._array)

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return map(outside, self._array)

    def __bool__(self):
        return bool(self._array)

    def __float__(self):
        return float(self._array)

    def __int__(self):
        return int(self._array)

    def item(self, *place):
        return self._array.item(*place)

    def tolist(self):
        return self._array.tolist()


def operator(name):
    def operate(self, *other):
        if other and not isinstance(other[0], (ndarray, int, float, complex, np.generic)):
            if isinstance(other[0], (np.ndarray, list, tuple)):
                raise TypeError(f"Unsupported type {type(other[0])}")
            return NotImplemented
        result = getattr(self._array, name)(*inside(other, name))
        return self if result is self._array else outside(result)

    return operate


for _name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split():
    for _kind in ("", "r", "i"):
        setattr(ndarray, f"__{_kind}{_name}__", operator(f"__{_kind}{_name}__"))
for _name in "lt le gt ge eq ne neg pos abs invert".split():
    setattr(ndarray, f"__{_name}__", operator(f"__{_name}__"))


def guarded(name, function, known=None):
    """NumPy's function on our arrays; `known` lists the parameters CuPy's has, if that can be told."""
    takes_any = known is not None and any(parameter.startswith("**") for parameter in known)

    def call(*args, **kwargs):
        for key in kwargs:
            absent = key in NUMPY_ONLY if known is None else key not in known
            if absent and not takes_any:
                raise TypeError(f"{name}() got an unexpected keyword argument {key!r} (CuPy {MANIFEST['version']})")
        result = function(*inside(args, name), **inside(kwargs, name))
        out = kwargs.get("out")
        return out if isinstance(out, ndarray) else outside(result)

    return call


class Ufunc:
    """A ufunc, with as many of its methods and dtypes as CuPy has."""

    def __init__(self, ufunc):
        self.ufunc, self.name = ufunc, ufunc.__name__
        self.call = guarded(self.name, ufunc, UFUNC_ARGUMENTS)
        self.outer = guarded("outer", ufunc.outer)

    def __call__(self, *args, **kwargs):
        return self.call(*args, **kwargs)

    def at(self, a, index, *b):
        if self.name not in AT:
            raise NotImplementedError(f"`cupy_{self.name}.at` is not supported yet")
        if a.dtype.char not in AT[self.name]:
            raise TypeError(f"`cupy_{self.name}.at` does not take {a.dtype}")
        self.ufunc.at(a._array, inside(index, "at"), *inside(b, "at"))

    def __getattr__(self, method):  # reduce, accumulate, reduceat
        if self.name not in REDUCE or method == "reduceat" and self.name != "add":
            raise NotImplementedError(f"`cupy_{self.name}.{method}` is not supported yet")
        return guarded(method, getattr(self.ufunc, method))


class Module(types.ModuleType):
    """`cupy`, or a module in it."""

    def __init__(self, path, numpy):
        super().__init__(path)
        self.path, self.numpy = path, numpy

    def __getattr__(self, name):
        table = MANIFEST["modules"][self.path]
        if name not in table:
            raise AttributeError(f"module {self.path!r} has no attribute {name!r}")
        kind, value = table[name], getattr(self.numpy, name, None)
        if value is None:
            raise NotImplementedError(f"strict_cupy: {self.path}.{name} has no counterpart in NumPy")
        found = (
            Module(f"{self.path}.{name}", value)
            if kind == "module"
            else Ufunc(value)
            if isinstance(value, np.ufunc)
            else value
            if kind in ("class", "value")
            else guarded(name, value, kind)
        )
        setattr(self, name, found)  # the next time it is found without asking
        return found


class Grid:
    """xp.ogrid"""

    def __getitem__(self, index):
        return outside(np.ogrid[index])


def asarray(a, dtype=None, order=None, *, copy=False, blocking=False):
    """The way from the host to the device."""
    if isinstance(a, ndarray):
        return outside(np.array(a._array, dtype, copy=copy or None))
    if isinstance(a, (list, tuple)):
        a = [item._array if isinstance(item, ndarray) else item for item in a]
    return outside(np.array(a, dtype))


xp = Module("cupy", np)
xp.ndarray, xp.ogrid, xp.asarray = ndarray, Grid(), asarray
xp.array = lambda a, dtype=None, copy=True, order="K": asarray(a, dtype, copy=copy)
xp.asnumpy = lambda a: a.get() if isinstance(a, ndarray) else np.asarray(a)
