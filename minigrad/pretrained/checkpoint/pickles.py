"""PyTorch's .bin, .pt and .pth files: weights out of pickles, without running what a pickle may run.

A pickle is a program for a small stack machine, and Python's own machine imports and calls whatever the program names.  The one
here knows about half of the instructions, imports nothing, and calls only the few functions of this file that stand in its
table; anything else in a file is refused by name.  Of what checkpoints hold beside the weights, such as a set or a
torch.device, only the name is kept.  The work is bounded by the length of the program, and the arrays by the size of the
file.  Arrays are mapped into memory, as those of safetensors are.
"""
import pickletools
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...backend import dtype_named
from .safetensors import mapped

LONGEST_PROGRAM = 1 << 23                       # bytes; it describes arrays, whose numbers lie elsewhere
MOST_CLAIMED, REPEATS = 1 << 26, 64             # bytes that arrays may add up to: so many, or so many times the file's size
MAGIC, PROTOCOL = 0x1950a86a20f9469cfc6c, 1001  # how files of PyTorch before 1.6 begin
STORAGES = {f"{module} {kind}Storage": dtype for module in ("torch", "torch.cuda") for kind, dtype in {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"}.items()} | {"torch.storage UntypedStorage": "uint8"}
NEW_DTYPES = {f"torch {name}": name for name in ("uint16", "uint32", "uint64")}
DTYPES = {f"torch {name}" for name in (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128")}


class Name(NamedTuple):
    """Something the program would like to import; only ever looked up in the tables here."""
    text: str


class Beside(NamedTuple):
    """A value that is none of the weights, of which only the kind is kept."""
    kind: str


class Storage(NamedTuple):
    """A run of numbers outside the program."""
    key: str
    dtype: str
    numel: int
    start: int = 0                              # where it begins in the run it is part of; old files only


class Stored(NamedTuple):
    """A tensor: numbers of a storage, in steps."""
    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict by name; those that shared memory when they were saved share it again.

    A checkpoint that keeps its state dict under "state_dict", "model_state_dict" or "model" beside other plain values will do.
    A tensor that repeats its numbers (stride 0) is read as such a view; together the arrays may be up to 64 times as large as
    the file, or 64 MB.

    Raises ValueError if the file holds anything but tensors and plain containers (none of it was executed), or is damaged.
    """
    raw = mapped(path)
    try:
        program, runs = _zip(path, raw) if raw[:4].tobytes() == b"PK\3\4" else _legacy(raw)
        arrays = {name: _array(raw, runs, stored) for name, stored in _state_dict(program).items()}
        if (claimed := sum(array.nbytes for array in arrays.values())) > max(MOST_CLAIMED, REPEATS * raw.size):
            raise ValueError(f"its tensors add up to {claimed} bytes, but the file has {raw.size}: no model repeats its numbers "
                             "so often")
        return arrays
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, zipfile.BadZipFile) as error:
        told = error if type(error) in (ValueError, zipfile.BadZipFile) else "it is malformed"
        raise ValueError(f"{path} was not loaded, and nothing in it was executed: {told}; if you trust it, save its state_dict "
                         "as safetensors with the program that made it") from None


def _state_dict(value):
    if type(value) is dict:
        for name in ("state_dict", "model_state_dict", "model"):
            if type(value.get(name)) is dict:
                value = value[name]
        if tensors := {name: item for name, item in value.items() if type(name) is str and type(item) is Stored}:
            return tensors
    raise ValueError("it holds no state dict, tensors by name")


def _array(raw, runs, stored):
    """The array a tensor describes, if all of it lies inside of its storage."""
    dtype, step = dtype_named(stored.dtype), dtype_named(stored.storage.dtype).itemsize
    at, size = runs[stored.storage.key]
    first, room = stored.storage.start * step, stored.storage.numel * step
    last = stored.offset + sum((n - 1) * stride for n, stride in zip(stored.shape, stored.strides, strict=True))
    empty = 0 in stored.shape
    if first + room > size or (not empty and (last + 1) * dtype.itemsize > room):
        raise ValueError(f"a tensor of shape {str(stored.shape)[:80]} and strides {str(stored.strides)[:80]} reaches beyond its "
                         "storage")
    if empty:
        return np.empty(stored.shape, dtype)
    return np.ndarray(stored.shape, dtype, raw, at + first + stored.offset * dtype.itemsize,
                      tuple(stride * dtype.itemsize for stride in stored.strides))


# The two kinds of file: each gives what the program made, and where the run of each storage key lies, as (start, bytes).

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
        if raw[begin:begin + length].tobytes() != b"little":
            raise ValueError("its numbers are not little-endian")
    if size > LONGEST_PROGRAM:
        raise ValueError(f"its data.pkl has {size} bytes, more than any model's")
    return run(BytesIO(raw[start:start + size].tobytes())), runs


def _run(raw, entry):
    """Where the bytes of an entry of a zip file lie, behind a header of their own of 30 bytes, a name and an extra field."""
    begin = entry.header_offset
    head = raw[begin:begin + 30].tobytes()
    start = begin + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
        raise ValueError(f"its entry {entry.filename[:80]!r} is compressed or encrypted, as PyTorch writes none")
    if head[:4] != b"PK\3\4" or start + entry.file_size > raw.size:
        raise ValueError(f"it is truncated or corrupt at {entry.filename[:80]!r}")
    return start, entry.file_size


def _legacy(raw):
    """Before 1.6: programs for a magic number, a version, the system, the value and the keys; then for each key a run."""
    stream = BytesIO(raw[:LONGEST_PROGRAM].tobytes())
    if (run(stream), run(stream)) != (MAGIC, PROTOCOL):
        raise ValueError("it is no file of PyTorch's")
    system = run(stream)
    if type(system) is not dict or system.get("little_endian") is not True:
        raise ValueError("its numbers are not little-endian")
    storages: dict[str, Storage] = {}
    value, keys = run(stream, storages), run(stream)
    at, runs = stream.tell(), {}
    for key in keys if type(keys) is list else ():
        numel = int.from_bytes(raw[at:at + 8].tobytes(), "little")
        size = numel * dtype_named(storages[key].dtype).itemsize
        runs[key], at = (at + 8, size), at + 8 + size
        if at > raw.size:
            raise ValueError(f"it is truncated: found {raw.size} bytes, expected {at} or more")
    return value, runs


# The stack machine.

def run(stream: BytesIO, storages: dict[str, Storage] | None = None) -> Any:
    """What the pickle at the stream makes: plain values, containers and `Stored` tensors; the storages it names go to `storages`.

    Raises ValueError at the first instruction that is not among those of plain tensors, or does not fit what lies on the stack.
    """
    stack: list = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    copied = 0                                  # entries of dicts that were made of lists, which a program may name repeatedly

    def above_mark():
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def pop(kind):
        item = stack.pop()
        if type(item) is not kind:
            raise ValueError(f"a {kind.__name__} was expected where there is a {type(item).__name__}")
        return item

    for instruction, value, _ in pickletools.genops(stream):
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case ("NONE" | "NEWTRUE" | "NEWFALSE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "SHORT_BINUNICODE"
                  | "BINUNICODE" | "BINUNICODE8" | "SHORT_BINSTRING" | "BINSTRING" | "SHORT_BINBYTES" | "BINBYTES"):
                stack.append({"NEWTRUE": True, "NEWFALSE": False}.get(instruction.name, value))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_SET":
                stack.append(Beside("builtins set"))
            case "FROZENSET":
                above_mark()
                stack.append(Beside("builtins frozenset"))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                marks.append(len(stack) - int(instruction.name[-1]))
                stack.append(tuple(above_mark()))
            case "TUPLE":
                stack.append(tuple(above_mark()))
            case "MARK":
                marks.append(len(stack))
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if instruction.name == "APPEND" else above_mark()
                if type(stack[-1]) is not Beside:
                    _top(stack, list).extend(items)
            case "ADDITEMS":
                above_mark()
                _top(stack, Beside)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(-2), stack.pop()] if instruction.name == "SETITEM" else above_mark()
                pairs = _pairs(zip(items[::2], items[1::2], strict=True))
                if type(stack[-1]) is not Beside:
                    _top(stack, dict).update(pairs)
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "GLOBAL":
                stack.append(_name(value))
            case "STACK_GLOBAL":
                name, module = pop(str), pop(str)
                stack.append(_name(f"{module} {name}"))
            case "BINPERSID":
                storage = _storage(pop(tuple))
                if storages is not None:
                    storages.setdefault(storage.key, storage)
                stack.append(storage)
            case "REDUCE":
                arguments, function = pop(tuple), pop(Name)
                if function.text in BESIDE:
                    stack.append(Beside(function.text))
                elif function.text in CALLS:
                    stack.append(CALLS[function.text](*arguments))
                else:
                    raise ValueError(f"it calls {function.text}")
                copied += len(stack[-1]) if type(stack[-1]) is dict else 0
                if copied > len(stream.getbuffer()):
                    raise ValueError("it copies a list again and again")
            case "BUILD":                       # the attributes of an OrderedDict: `_metadata`, which says nothing of the weights
                state = stack.pop()
                if type(stack[-1]) is not Beside:
                    _top([state], dict)
                    _top(stack, dict)
            case other:
                raise ValueError(f"it has the instruction {other}, which tensors do not need")
    raise ValueError("it ends too early")


def _top(stack, kind):
    if type(stack[-1]) is not kind:
        raise ValueError(f"a {kind.__name__} was expected where there is a {type(stack[-1]).__name__}")
    return stack[-1]


def _name(text):
    if "_rebuild_qtensor" in text or text.startswith("torch Q"):
        raise ValueError("its tensors are quantised, which minigrad does not read: load the model they were made from")
    if not any(text in known for known in (CALLS, STORAGES, NEW_DTYPES, DTYPES, BESIDE)):
        raise ValueError(f"it asks for {text[:80]!r}, which is neither a tensor nor a plain container")
    return Name(text)


def _pairs(pairs):
    items = {}
    for key, value in pairs:
        flat = type(key) is tuple and len(key) < 9 and all(type(item) in (str, int) for item in key)
        if type(key) not in KEYS and not flat:  # hashing a tuple of tuples of … can take for ever
            raise ValueError(f"a dict has a {type(key).__name__} for a key")
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


# What a program may call, by the name it would import.

def _tensor(storage, offset, shape, strides, *_):
    return _stored(storage, storage.dtype, offset, shape, strides)


def _tensor_of_dtype(storage, offset, shape, strides, requires_grad, hooks, dtype, *_):
    return _stored(storage, NEW_DTYPES[dtype.text], offset, shape, strides)


def _stored(storage, dtype, offset, shape, strides):
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple or len(shape) != len(strides):
        raise ValueError("it has a tensor that is not described as PyTorch does")
    if len(shape) > 64 or not all(type(n) is int and 0 <= n < 1 << 62 for n in (offset, *shape, *strides)):
        raise ValueError("it has a tensor whose offset, shape or strides are not whole numbers, 0 or more")
    return Stored(storage, dtype, offset, shape, strides)


def _parameter(data, *_):
    if type(data) is not Stored:
        raise ValueError("it has a parameter that is no tensor")
    return data


def _ordered_dict(pairs=()):                    # Python 2 gave it a list of pairs
    return _pairs(pairs)


def _size(shape):
    if type(shape) is not tuple:
        raise ValueError("it has a torch.Size that is no tuple")
    return shape


CALLS = {"torch._utils _rebuild_tensor": _tensor, "torch._utils _rebuild_tensor_v2": _tensor,
         "torch._utils _rebuild_tensor_v3": _tensor_of_dtype, "torch._utils _rebuild_parameter": _parameter,
         "torch._utils _rebuild_parameter_with_state": _parameter, "collections OrderedDict": _ordered_dict, "torch Size": _size}
KEYS = (str, int, float, bool, type(None), Name, Beside)
BESIDE = {"torch device", "_codecs encode", "numpy dtype", "numpy.core.multiarray scalar", "numpy._core.multiarray scalar",
          *(f"collections {name}" for name in ("Counter", "defaultdict", "deque")),
          *(f"datetime {name}" for name in ("datetime", "date", "time", "timedelta")),
          *(f"pathlib {name}" for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
          *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in (
              "set", "frozenset", "complex", "range", "xrange", "slice",
              "int", "long", "float", "bool", "str", "list", "dict", "tuple"))}
