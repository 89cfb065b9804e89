"""Saving a model of one's own, and loading it again: `mg.save(model.state_dict(), "model.safetensors")`.

The format is safetensors, which holds arrays by name and nothing else.  (Models with a Hugging Face layout have
`save_pretrained` and `from_pretrained`.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .backend import of
from .nn.module import Module
from .pretrained.checkpoint import safetensors
from .pretrained.checkpoint.files import replacing
from .tensor import Tensor

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib")
WHY = "which runs code when it is loaded; minigrad keeps weights in safetensors only"


def save(tensors: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write Tensors or arrays by name, such as `model.state_dict()`, to a .safetensors file.

    The file is written beside and then moved in, so that a run that is killed leaves the old one whole.

    Raises:
        TypeError: something is no Tensor or array, or its dtype is one that the format does not have.
        ValueError: the file's name says that it is to be a pickle.
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
    arrays = {name: _array(name, value) for name, value in tensors.items()}
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {path.parent} to write {path.name} in: make it first")
    with replacing(path) as [part]:
        safetensors.write(part, arrays)


def load(path: str | os.PathLike, device: str = "cpu") -> dict[str, Tensor]:
    """The Tensors of a .safetensors file by name, for `model.load_state_dict(mg.load("model.safetensors"))`.

    On the CPU they are mapped into memory, so that nothing is read before it is used, and the file is not changed.

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
    return {name: Tensor(array, device=device) for name, array in safetensors.read(path).items()}


def _array(name: Any, value: Any) -> np.ndarray:
    if not isinstance(name, str) or name == "__metadata__":
        raise TypeError(f"save: a file holds arrays by name, and {name!r} is no name for one")
    array = value.data if isinstance(value, Tensor) else value
    if not hasattr(array, "dtype") or isinstance(array, np.generic):
        instead = f"type mg.tensor({value!r:.40}), or keep it elsewhere, in JSON say"
        if isinstance(value, Mapping):
            instead = "save each dict in a file of its own, or in one under names such as 'model.weight'"
        raise TypeError(
            f"save: {name!r} is of type {type(value).__name__}, and the file holds Tensors and arrays: {instead}"
        )
    return of(array).to_numpy(array)
