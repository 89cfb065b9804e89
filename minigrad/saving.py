"""Saves and loads the state of your own models: `mg.save(model.state_dict(), "model.safetensors")`.

The format is safetensors, which holds arrays by name, and texts, in which the other values of a nested dict, such as an
optimiser's state, are stored as JSON.  (Models with a Hugging Face layout have `save_pretrained` and
`from_pretrained`.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .backend import of
from .data.json_text import from_json
from .nn.module import Module
from .pretrained.checkpoint import safetensors
from .pretrained.checkpoint.files import replacing
from .tensor import Tensor

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib")
KEY = "minigrad"  # in the file's texts: how what was saved is put together of its arrays
WHY = "which runs code when it is loaded; minigrad keeps weights in safetensors only"


def save(tensors: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write Tensors or arrays by name, such as `model.state_dict()`, to a .safetensors file.

    A dict may also hold numbers, texts, None, and dicts, lists and tuples of all these, such as `{"model":
    model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}`; `load` gives the same back.

    The file is written under a temporary name and then renamed, so a run that is killed leaves the old one intact.

    Raises:
        TypeError: a value is of another type, or of a dtype that the format lacks.
        ValueError: the file's name has the ending of a pickle.
        FileNotFoundError: there is no such directory.
    """
    path = Path(path)
    if path.suffix in PICKLES:
        raise ValueError(
            f"{path.name} would be a pickle, {WHY}: type mg.save(..., {path.with_suffix('.safetensors').name!r})"
        )
    if isinstance(tensors, Module):
        raise TypeError(f"save: a file holds arrays by name, not a {type(tensors).__name__}: type model.state_dict()")
    if not isinstance(tensors, Mapping):
        raise TypeError(
            f"save: expected a dict of Tensors by name, such as model.state_dict(), not a {type(tensors).__name__}"
        )
    arrays: dict[str, np.ndarray] = {}
    structure = _taken_apart(tensors, "", arrays)
    extra = {} if list(arrays) == list(tensors) else {KEY: json.dumps(structure)}  # arrays by name need no more
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {path.parent} to write {path.name} in: make it first")
    with replacing(path) as [part]:
        safetensors.write(part, arrays, **extra)


def load(path: str | os.PathLike, device: str = "cpu") -> dict[Any, Any]:
    """The Tensors of a .safetensors file by name, for `model.load_state_dict(mg.load("model.safetensors"))`.

    What `save` was given with more than Tensors by name is given back as it was, arrays as arrays.  On the CPU they are
    mapped into memory, so that nothing is read before it is used, and the file is not changed.

    Raises:
        ValueError: the file is a pickle, or truncated, or otherwise none of safetensors.
    """
    path = Path(path)
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:1] == b"\x80" or start == b"PK\3\4":  # a pickle of protocol 2 or more, or torch's zip of one
        raise ValueError(
            f"{path.name} is a pickle, {WHY}.  To convert the weights of torch without running it: from "
            "minigrad.pretrained.checkpoint import pickles; mg.save(pickles.read(pathlib.Path(path)), "
            f"{path.with_suffix('.safetensors').name!r})"
        )
    arrays = safetensors.read(path)
    if (structure := safetensors.metadata(path).get(KEY)) is not None:
        return _put_together(from_json(structure), arrays, device)
    return {name: Tensor(array, device=device) for name, array in arrays.items()}


def _taken_apart(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON: a plain one as it is, any other as a dict that says its kind; its arrays go to `arrays`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        pairs = []
        for key, one in value.items():
            if isinstance(key, bool) or not isinstance(key, (str, int)) or key == "__metadata__":
                raise TypeError(f"save: a file holds arrays by name, and {key!r} is no name for one")
            pairs.append([key, _taken_apart(one, f"{path}.{key}" if path else str(key), arrays)])
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        items = [_taken_apart(one, f"{path}.{i}", arrays) for i, one in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    while path in arrays:  # as that of "a.b" beside that of "b" in "a"
        path += "_"
    arrays[path] = _array(path, value)
    return {"tensor" if isinstance(value, Tensor) else "array": path}


def _put_together(value: Any, arrays: dict[str, np.ndarray], device: str) -> Any:
    """What `_taken_apart` was given."""
    match value:
        case {"dict": pairs}:
            return {key: _put_together(one, arrays, device) for key, one in pairs}
        case {"tuple": items}:
            return tuple(_put_together(one, arrays, device) for one in items)
        case {"tensor": name}:
            return Tensor(arrays[name], device=device)
        case {"array": name}:
            return arrays[name]
        case list():
            return [_put_together(one, arrays, device) for one in value]
    return value


def _array(name: str, value: Any) -> np.ndarray:
    array = value.data if isinstance(value, Tensor) else value
    if not hasattr(array, "dtype"):
        raise TypeError(
            f"save: {name!r} is of type {type(value).__name__}; expected a Tensor, an array, a number, a text, or a "
            "dict, list or tuple of these: leave it out, or save what its state_dict() returns"
        )
    return of(array).to_numpy(array)
