"""The files of an adapter, as `peft` writes and reads them: adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..pretrained.checkpoint import pickles, safetensors
from ..pretrained.checkpoint.files import model_directory, replacing
from .config import CONFIG, PeftConfig
from .names import theirs

WEIGHTS, PICKLE = "adapter_model.safetensors", "adapter_model.bin"


def read(source: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of an adapter by their names in its file, which is read without executing anything.

    Raises:
        FileNotFoundError: there is no such directory, or no adapter in it.
        ValueError: the file is damaged, or holds more than arrays.
    """
    directory = model_directory(source, (CONFIG, WEIGHTS, PICKLE))
    for name, reader in ((WEIGHTS, safetensors), (PICKLE, pickles)):
        if (directory / name).is_file():
            return reader.read(directory / name)
    raise FileNotFoundError(f"{directory} holds no adapter: expected {WEIGHTS} or {PICKLE} beside {CONFIG}")


def write(directory: Path, config: PeftConfig, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an adapter, read it back and compare.

    Raises OSError if it cannot be written, or if the file that is read back differs.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{directory} is a file: expected a directory to save to; pass a new name") from None
    except OSError as error:
        raise OSError(f"the directory {directory} could not be made: {error}") from None
    with replacing(directory / WEIGHTS, directory / CONFIG) as [weights, text]:
        safetensors.write(weights, arrays)
        text.write_text(config.text(), encoding="utf-8")
        found = safetensors.read(weights)
        if found.keys() != arrays.keys() or any(found[n].tobytes() != a.tobytes() for n, a in arrays.items()):
            raise OSError(f"the adapter read back from {directory} differs from the one written: is the disk faulty?")
    (directory / PICKLE).unlink(missing_ok=True)  # left by an adapter that was saved there before


def stored_name(model: Any, path: str, adapted: set[str]) -> str:
    """The name in the file of one of the model's own weights, which gains a step if its layer is adapted."""
    module, _, leaf = path.rpartition(".")
    return f"{theirs(model, module)}.base_layer.{leaf}" if module in adapted else theirs(model, path)


def is_transposed(model: Any, path: str) -> bool:
    """Whether one of the model's own weights is stored (in, out)."""
    layout = getattr(model, "layout", None)
    return layout is not None and layout.transposed(path)
