"""PyTorch's .bin, .pt and .pth files: weights read from pickles, without executing them.

A pickle is a program for a small stack machine.  Python's own machine imports and calls whatever the program names; the
one here implements about half of the instructions, imports nothing, and calls only the few functions in a table of this
file.  Anything else in a file is refused by name.  Of other values in a checkpoint, such as a set or a torch.device,
only the name of the class is kept.  The work is bounded by the length of the program, and the arrays by the size of the
file.  Arrays are mapped into memory, as for safetensors.
"""

import pickletools
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...backend import dtype_named
from .safetensors import mapped

MAX_PROGRAM = 1 << 23  # bytes; the program describes arrays, whose numbers are stored elsewhere
# The arrays may add up to MAX_CLAIMED bytes, or to MAX_REPEATS times the size of the file.
MAX_CLAIMED, MAX_REPEATS = 1 << 26, 64
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the beginning of files of PyTorch before 1.6
STORAGES = {
    f"{module} {kind}Storage": dtype
    for module in ("torch", "torch.cuda")
    for kind, dtype in {
        "Float": "float32",
        "Double": "float64",
        "Half": "float16",
        "BFloat16": "bfloat16",
        "Long": "int64",
        "Int": "int32",
        "Short": "int16",
        "Char": "int8",
        "Byte": "uint8",
        "Bool": "bool",
    }.items()
} | {"torch.storage UntypedStorage": "uint8"}
NEW_DTYPES = {f"torch {name}": name for name in ("uint16", "uint32", "uint64")}
DTYPES = {
    f"torch {name}"
    for name in (
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
        "complex64",
        "complex128",
    )
}


class Name(NamedTuple):
    """A name that the program imports; here it is only looked up in the tables of this file."""

    text: str


class Beside(NamedTuple):
    """A value other than a weight, of which only the class name is kept."""

    kind: str


class Storage(NamedTuple):
    """A run of numbers outside the program."""

    key: str
    dtype: str
    numel: int
    start: int = 0  # its start in the run that contains it; old files only


class Stored(NamedTuple):
    """A tensor: a strided view of a storage."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict by name; those that shared memory when they were saved share it again.

    The file may also hold a state dict under "state_dict", "model_state_dict" or "model" beside other plain values.  A
    tensor that repeats its numbers (stride 0) is read as such a view; together the arrays may be up to 64 times as
    large as the file, or 64 MB.

    Raises ValueError if the file is damaged, or holds anything but tensors and plain containers; none of it is
    executed.
    """
    raw = mapped(path)
    try:
        program, runs = _zip(path, raw) if raw[:4].tobytes() == b"PK\3\4" else _legacy(raw)
        arrays = {name: _array(raw, runs, stored) for name, stored in _state_dict(program).items()}
        if (claimed := sum(array.nbytes for array in arrays.values())) > max(MAX_CLAIMED, MAX_REPEATS * raw.size):
            raise ValueError(
                f"its tensors add up to {claimed} bytes, but the file has {raw.size}: no model repeats "
                "its numbers so often"
            )
        return arrays
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, zipfile.BadZipFile) as error:
        told = error if type(error) in (ValueError, zipfile.BadZipFile) else "it is malformed"
        raise ValueError(
            f"{path} was not loaded, and nothing in it was executed: {told}; if you trust it, save its "
            "state_dict as safetensors with the program that made it"
        ) from None


def _state_dict(value):
    if type(value) is dict:
        for name in ("state_dict", "model_state_dict", "model"):
            if type(value.get(name)) is dict:
                value = value[name]
        if tensors := {name: item for name, item in value.items() if type(name) is str and type(item) is Stored}:
            return tensors
    raise ValueError("it holds no state dict, a dict of tensors by name")


def _array(raw, runs, stored):
    """The array that a tensor describes.  Raises ValueError if it reaches beyond its storage."""
    dtype, step = dtype_named(stored.dtype), dtype_named(stored.storage.dtype).itemsize
    at, size = runs[stored.storage.key]
    first, room = stored.storage.start * step, stored.storage.numel * step
    last = stored.offset + sum((n - 1) * stride for n, stride in zip(stored.shape, stored.strides, strict=True))
    empty = 0 in stored.shape
    if first + room > size or (not empty and (last + 1) * dtype.itemsize > room):
        raise ValueError(
            f"a tensor of shape {str(stored.shape)[:80]} and strides {str(stored.strides)[:80]} reaches "
            "beyond its storage"
        )
    if empty:
        return np.empty(stored.shape, dtype)
    return np.ndarray(
        stored.shape,
        dtype,
        raw,
        at + first + stored.offset * dtype.itemsize,
        tuple(stride * dtype.itemsize for stride in stored.strides),
    )


# The two kinds of file.  Each function returns the value of the program, and (start, size in bytes) of each storage.


def _zip(path, raw):
    """PyTorch 1.6 and later: an archive/data.pkl, and archive/data/KEY for every storage, none compressed."""
    with zipfile.ZipFile(path) as file:
        entries = {entry.filename: entry for entry in file.infolist()}
        if len(entries) != len(file.infolist()):
            raise ValueError("it holds two entries of one name")
    programs = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(programs) != 1:
        raise ValueError("it is a zip file without an archive/data.pkl")
    archive = programs[0].removesuffix("data.pkl")
    runs = {name.removeprefix(f"{archive}data/"): _run(raw, entry) for name, entry in entries.items()}
    start, size = _run(raw, entries[programs[0]])
    if f"{archive}byteorder" in runs:
        begin, length = runs[f"{archive}byteorder"]
        if raw[begin : begin + length].tobytes() != b"little":
            raise ValueError("its numbers are not little-endian")
    if size > MAX_PROGRAM:
        raise ValueError(f"its data.pkl has {size} bytes, more than any model's")
    return run(BytesIO(raw[start : start + size].tobytes())), runs


def _run(raw, entry):
    """Start and size of an entry's bytes in a zip file, after its local header: 30 bytes, a name and an extra field."""
    begin = entry.header_offset
    head = raw[begin : begin + 30].tobytes()
    start = begin + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
        raise ValueError(f"its entry {entry.filename[:80]!r} is compressed or encrypted, which PyTorch never does")
    if head[:4] != b"PK\3\4" or start + entry.file_size > raw.size:
        raise ValueError(f"it is truncated or corrupt at {entry.filename[:80]!r}")
    return start, entry.file_size


def _legacy(raw):
    """Before 1.6: pickles of a magic number, a version, the system, the value and the keys; then a run for each key."""
    stream = BytesIO(raw[:MAX_PROGRAM].tobytes())
    if (run(stream), run(stream)) != (MAGIC, PROTOCOL):
        raise ValueError("it is not a file of PyTorch")
    system = run(stream)
    if type(system) is not dict or system.get("little_endian") is not True:
        raise ValueError("its numbers are not little-endian")
    storages: dict[str, Storage] = {}
    value, keys = run(stream, storages), run(stream)
    at, runs = stream.tell(), {}
    for key in keys if type(keys) is list else ():
        numel = int.from_bytes(raw[at : at + 8].tobytes(), "little")
        size = numel * dtype_named(storages[key].dtype).itemsize
        runs[key], at = (at + 8, size), at + 8 + size
        if at > raw.size:
            raise ValueError(f"it is truncated: found {raw.size} bytes, expected {at} or more")
    return value, runs


# The stack machine: a table of instructions, each of which calls a method of the machine's state.

VALUES = (
    "NONE",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "BINUNICODE8",
    "SHORT_BINSTRING",
    "BINSTRING",
    "SHORT_BINBYTES",
    "BINBYTES",
)
CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


def run(stream: BytesIO, storages: dict[str, Storage] | None = None) -> Any:
    """The value of the pickle at the stream: plain values, containers and `Stored` tensors.  `storages` is filled.

    Raises ValueError at the first instruction that plain tensors do not need, or that does not fit the stack.
    """
    machine = _Machine(len(stream.getbuffer()), {} if storages is None else storages)
    for instruction, value, _ in pickletools.genops(stream):
        name = instruction.name
        if name == "STOP":
            return machine.stack.pop()
        if name in VALUES:
            machine.stack.append(value)
        elif name in CONSTANTS:
            machine.stack.append(CONSTANTS[name])
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](machine, value)
        else:
            raise ValueError(f"it has the instruction {name}, which tensors do not need")
    raise ValueError("it ends too early")


class _Machine:
    """The state: the stack, the marks in it, and the memo.  The length of the program bounds the entries it copies."""

    def __init__(self, length: int, storages: dict[str, Storage]):
        self.length, self.storages, self.copied = length, storages, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[Any, Any] = {}

    def above_mark(self) -> list[Any]:
        """Pop everything above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, kind: type) -> Any:
        """Pop an item, which must be of this class."""
        _top(self.stack, kind)
        return self.stack.pop()

    def make_tuple(self, size: int | None = None) -> None:
        """Replace the top `size` items, or those above the mark, by a tuple."""
        if size is not None:
            self.marks.append(len(self.stack) - size)
        self.stack.append(tuple(self.above_mark()))

    def frozen_set(self) -> None:
        """Replace the items above the mark by the name of their class."""
        self.above_mark()
        self.stack.append(Beside("builtins frozenset"))

    def extend(self, items: list[Any]) -> None:
        """Append items to the list on top."""
        if type(self.stack[-1]) is not Beside:
            _top(self.stack, list).extend(items)

    def add_to_set(self) -> None:
        """Discard the items of a set, of which only the name is kept."""
        self.above_mark()
        _top(self.stack, Beside)

    def update(self, items: list[Any]) -> None:
        """Set items, key and value in turn, in the dict below them."""
        pairs = _pairs(zip(items[::2], items[1::2], strict=True))
        if type(self.stack[-1]) is not Beside:
            _top(self.stack, dict).update(pairs)

    def global_name(self) -> None:
        """Replace module and name by one name."""
        name, module = self.pop(str), self.pop(str)
        self.stack.append(_name(f"{module} {name}"))

    def persistent(self) -> None:
        """Replace the description of a storage by the storage."""
        storage = _storage(self.pop(tuple))
        self.storages.setdefault(storage.key, storage)
        self.stack.append(storage)

    def call(self) -> None:
        """Call a function of the table, or keep only the name of a harmless one."""
        arguments, function = self.pop(tuple), self.pop(Name)
        if function.text in BESIDE:
            self.stack.append(Beside(function.text))
        elif function.text in CALLS:
            self.stack.append(CALLS[function.text](*arguments))
        else:
            raise ValueError(f"it calls {function.text}")
        self.copied += len(self.stack[-1]) if type(self.stack[-1]) is dict else 0
        if self.copied > self.length:  # a dict is a copy of a list, which the program may use repeatedly
            raise ValueError("it copies a list again and again")

    def build(self) -> None:
        """Discard the attributes of an OrderedDict: `_metadata`, which is not about the weights."""
        state = self.stack.pop()
        if type(self.stack[-1]) is not Beside:
            _top([state], dict)
            _top(self.stack, dict)


INSTRUCTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda m, value: None,
    "FRAME": lambda m, value: None,
    "EMPTY_DICT": lambda m, value: m.stack.append({}),
    "EMPTY_LIST": lambda m, value: m.stack.append([]),
    "EMPTY_SET": lambda m, value: m.stack.append(Beside("builtins set")),
    "FROZENSET": lambda m, value: m.frozen_set(),
    "TUPLE1": lambda m, value: m.make_tuple(1),
    "TUPLE2": lambda m, value: m.make_tuple(2),
    "TUPLE3": lambda m, value: m.make_tuple(3),
    "TUPLE": lambda m, value: m.make_tuple(),
    "MARK": lambda m, value: m.marks.append(len(m.stack)),
    "APPEND": lambda m, value: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, value: m.extend(m.above_mark()),
    "ADDITEMS": lambda m, value: m.add_to_set(),
    "SETITEM": lambda m, value: m.update([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, value: m.update(m.above_mark()),
    "BINPUT": lambda m, value: m.memo.update({value: m.stack[-1]}),
    "LONG_BINPUT": lambda m, value: m.memo.update({value: m.stack[-1]}),
    "MEMOIZE": lambda m, value: m.memo.update({len(m.memo): m.stack[-1]}),
    "BINGET": lambda m, value: m.stack.append(m.memo[value]),
    "LONG_BINGET": lambda m, value: m.stack.append(m.memo[value]),
    "GLOBAL": lambda m, value: m.stack.append(_name(value)),
    "STACK_GLOBAL": lambda m, value: m.global_name(),
    "BINPERSID": lambda m, value: m.persistent(),
    "REDUCE": lambda m, value: m.call(),
    "BUILD": lambda m, value: m.build(),
}


def _top(stack, kind):
    if type(stack[-1]) is not kind:
        raise ValueError(f"expected a {kind.__name__}, found a {type(stack[-1]).__name__}")
    return stack[-1]


def _name(text):
    if "_rebuild_qtensor" in text or text.startswith("torch Q"):
        raise ValueError("its tensors are quantised, which is not supported: load the model before quantisation")
    if not any(text in known for known in (CALLS, STORAGES, NEW_DTYPES, DTYPES, BESIDE)):
        raise ValueError(f"it asks for {text[:80]!r}, which is neither a tensor nor a plain container")
    return Name(text)


def _pairs(pairs):
    items = {}
    for key, value in pairs:
        flat = type(key) is tuple and len(key) < 9 and all(type(item) in (str, int) for item in key)
        if type(key) not in KEYS and not flat:  # hashing deeply nested tuples can take exponential time
            raise ValueError(f"a dict has a {type(key).__name__} as a key")
        items[key] = value
    return items


def _storage(described):
    match described:
        case ("storage", Name(kind), str(key), str(), int(numel), *view) if kind in STORAGES and numel >= 0:
            match view:
                case [] | [None]:
                    return Storage(key, STORAGES[kind], numel)
                case [(str(), int(start), int(size))] if start >= 0 and size >= 0:
                    return Storage(key, STORAGES[kind], size, start)
    raise ValueError("it has a storage that is not described as PyTorch does")


# The functions that a program may call; CALLS has them by the names that it imports.


def _tensor(storage, offset, shape, strides, *_):
    return _stored(storage, storage.dtype, offset, shape, strides)


def _tensor_of_dtype(storage, offset, shape, strides, requires_grad, hooks, dtype, *_):
    return _stored(storage, NEW_DTYPES[dtype.text], offset, shape, strides)


def _stored(storage, dtype, offset, shape, strides):
    if (type(storage), type(shape), type(strides)) != (Storage, tuple, tuple) or len(shape) != len(strides):
        raise ValueError("it has a tensor that is not described as PyTorch does")
    if len(shape) > 64 or not all(type(n) is int and 0 <= n < 1 << 62 for n in (offset, *shape, *strides)):
        raise ValueError("it has a tensor whose offset, shape or strides are not whole numbers, 0 or more")
    return Stored(storage, dtype, offset, shape, strides)


def _parameter(data, *_):
    if type(data) is not Stored:
        raise ValueError("it has a parameter that is not a tensor")
    return data


def _ordered_dict(pairs=()):  # Python 2 passed a list of pairs
    return _pairs(pairs)


def _size(shape):
    if type(shape) is not tuple:
        raise ValueError("it has a torch.Size that is not a tuple")
    return shape


CALLS = {
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils _rebuild_parameter": _parameter,
    "torch._utils _rebuild_parameter_with_state": _parameter,
    "collections OrderedDict": _ordered_dict,
    "torch Size": _size,
}
KEYS = (str, int, float, bool, type(None), Name, Beside)
BESIDE = {
    "torch device",
    "_codecs encode",
    "numpy dtype",
    "numpy.core.multiarray scalar",
    "numpy._core.multiarray scalar",
    *(f"collections {name}" for name in ("Counter", "defaultdict", "deque")),
    *(f"datetime {name}" for name in ("datetime", "date", "time", "timedelta")),
    *(
        f"{module} {name}"
        for module in ("pathlib", "pathlib._local")  # the second in Python 3.13
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
    *(
        f"{module} {name}"
        for module in ("builtins", "__builtin__")
        for name in (
            "set",
            "frozenset",
            "complex",
            "range",
            "xrange",
            "slice",
            "int",
            "long",
            "float",
            "bool",
            "str",
            "list",
            "dict",
            "tuple",
        )
    ),
}
