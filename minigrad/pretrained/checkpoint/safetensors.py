"""The safetensors file format: the length of a JSON header, the header, and the arrays one after another.

Reading maps the file into memory: the pages of an array are loaded on first access and copied on first write, so
nothing is read twice and the file is never changed.  The format: https://github.com/safetensors/safetensors
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...backend import dtype_named
from ...data.json_text import from_json

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
QUANTISED = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4"}
MAX_HEADER = 100_000_000  # bytes; the format's own limit


class Unsupported(ValueError):
    """The file is well formed, but its content is not supported."""


def mapped(path: Path) -> np.ndarray:
    """The bytes of a file, (n,) uint8, copy-on-write.  While in use, it may be replaced but must not be truncated."""
    return np.memmap(path, np.uint8, "c") if path.stat().st_size else np.empty(0, np.uint8)


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, with their stored order and dtypes, mapped into memory.

    Raises ValueError if the file is truncated, if its header is inconsistent, or if a dtype is that of a quantised
    model.
    """
    raw = mapped(path)
    try:
        return _arrays(raw)
    except Unsupported as error:
        raise ValueError(f"{path} was not loaded: {error}") from None
    except ValueError as error:
        pointer = raw[:8].tobytes() == b"version "
        told = f"{error}; copy it again"
        if pointer:
            told = "expected the weights, not a Git LFS pointer: run `git lfs pull`"
        raise ValueError(f"{path} is truncated or corrupt: {told}") from None


def write(path: Path, arrays: Mapping[str, np.ndarray], **metadata: str) -> None:
    """Write arrays to a file, the widest dtypes first, so that all are aligned; `metadata` are texts by name.

    Raises TypeError for a dtype that the format lacks.
    """
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
    header: dict = {"__metadata__": {"format": "pt", **metadata}}  # transformers 4 refuses a file that does not say so
    at = 0
    for name, array in ordered:
        if str(array.dtype) not in NAMES:
            raise TypeError(
                f"{name} has dtype {array.dtype}, which safetensors cannot hold: convert it, for example to float32"
            )
        header[name] = {"dtype": NAMES[str(array.dtype)], "shape": array.shape, "data_offsets": (at, at + array.nbytes)}
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)  # the first array starts on a cache line
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            file.write(contiguous(array).reshape(-1).view(np.uint8).data)


def metadata(path: Path) -> dict[str, str]:
    """The texts by name in the header of a file that `read` has accepted."""
    with open(path, "rb") as file:
        header = from_json(file.read(int.from_bytes(file.read(8), "little")))
    return header.get("__metadata__", {})


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array in C order; a transposed matrix is copied in strips that fit the cache, up to thirty times faster."""
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.asarray(array, order="C")
    copy = np.empty(array.shape, array.dtype)
    for i in range(0, array.shape[1], 64):
        copy[:, i : i + 64] = array[:, i : i + 64]
    return copy


def _arrays(raw):
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    if not 8 < start <= min(raw.size, MAX_HEADER):
        raise ValueError(f"found {raw.size} bytes, expected a safetensors header")
    header = from_json(raw[8:start].tobytes(), object_pairs_hook=_without_doubles)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    entries = sorted(_entry(name, entry) for name, entry in header.items() if name != "__metadata__")
    size = start + max((end for _, end, *_ in entries), default=0)
    if raw.size != size:
        raise ValueError(f"found {raw.size} bytes, expected {size}")
    arrays, at = {}, 0
    for begin, end, name, dtype, shape in entries:
        dtype = dtype_named(DTYPES[dtype])
        if begin != at or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name[:80]!r} is not where and as large as its header says")
        arrays[name], at = np.ndarray(shape, dtype, raw, start + begin), end
    return arrays


def _entry(name, entry):
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]} if (
            dtype in DTYPES
            and all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape[:65], begin, end))
            and len(shape) <= 64
        ):
            return begin, end, name, dtype, shape
        case {"dtype": str(dtype)} if dtype in QUANTISED:
            raise Unsupported(
                f"{name[:80]!r} has dtype {dtype}, as in quantised models; expected F32, F16 or BF16: "
                "load the model before quantisation"
            )
    raise ValueError(f"{name[:80]!r} is described by {str(entry)[:80]}")


def _without_doubles(pairs):
    if len(unique := dict(pairs)) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return unique
