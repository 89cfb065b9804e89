"""Checkpoints of a training run: directories from which a run resumes, bit for bit, as if it had never stopped.

`checkpoint-<step>/` holds the model as `from_pretrained` reads it, and the rest of the run as safetensors and JSON.  It
is written under a temporary name and renamed when it is complete.  `manifest.json`, written last, lists the size and
the CRC-32 of each file.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from .. import backend
from ..finetune import PeftModel
from ..nn import Module
from ..places import warn
from ..pretrained import PretrainedModel
from ..pretrained.checkpoint import safetensors
from ..pretrained.checkpoint.files import WHOLE
from ..pretrained.checkpoint.safetensors import contiguous
from ..transforms import generator_state, generators, set_generator_state

MANIFEST = "manifest.json"
NAME = re.compile(r"\.?checkpoint-(\d+)(\.old|\.new)?")


def write(directory: str | os.PathLike, step: int, fill: Callable[[Path], None]) -> Path:
    """Make `checkpoint-<step>` in a directory; `fill` writes its files into the empty directory it is called with.

    An interruption loses nothing: an older checkpoint of the same step is removed only when the new one has replaced
    it.

    Raises OSError, with a message of one line, if it cannot be written; earlier checkpoints are kept.
    """
    target = Path(directory) / f"checkpoint-{step}"
    new, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    try:
        for left in (new, *(() if target.exists() else (old,))):
            if not is_whole(left):
                shutil.rmtree(left, ignore_errors=True)
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(parents=True)
        fill(new)
        seal(new)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        new.rename(target)
        synced(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if not target.exists() and is_whole(old):
            old.rename(target)
        shutil.rmtree(new, ignore_errors=True)
        whole = [path.name for path in candidates(directory) if is_whole(path)]
        told = f"{whole[0]}, the newest, is unchanged" if whole else "there is no earlier one"
        raise OSError(
            f"checkpoint-{step} could not be written in {directory} ({error}); {told}: make room or give another "
            "output_dir, then resume from the newest"
        ) from None
    return target


def seal(directory: Path) -> None:
    """Flush all files of a directory to disk, then write the manifest, which marks it as complete."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    with ThreadPoolExecutor(2) as pool:  # compute the CRC of one file while another is flushed
        names = [path.relative_to(directory).as_posix() for path in paths]
        entries = dict(zip(names, pool.map(sealed, paths)))
    with open(directory / MANIFEST, "w", encoding="utf-8") as file:
        file.write(json.dumps({"files": entries, "time": time.time()}, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    for path in {directory, *(path.parent for path in paths)}:
        synced(path)


def sealed(path: Path) -> dict[str, int]:
    """Flush a file to disk; return its size and its CRC-32."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
    return {"size": path.stat().st_size, "crc32": crc(path)}


def synced(directory: Path) -> None:
    """Flush a directory's list of files to disk, where the system supports that."""
    if os.name == "posix":
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fault(directory: Path, thorough: bool = False) -> str | None:
    """What is wrong with a checkpoint; None if it is complete.  `thorough` also verifies the CRC-32 of every file."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        entries = manifest["files"].items()
        for name, entry in entries:
            path = directory / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != entry["size"]:
                return f"{name} has {path.stat().st_size} bytes, not {entry['size']}"
            if thorough and crc(path) != entry["crc32"]:
                return f"{name} holds other bytes than were written"
    except OSError:
        return f"it has no {MANIFEST}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def crc(path: Path) -> int:
    """The CRC-32 of a file."""
    check = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            check = crc32(block, check)
    return check


def is_whole(directory: Path) -> bool:
    return fault(directory) is None


def candidates(directory: str | os.PathLike) -> list[Path]:
    """The checkpoints in a directory, the newest step first, complete or not, including one that is being replaced."""
    found = (
        [path for path in Path(directory).iterdir() if NAME.fullmatch(path.name)] if Path(directory).is_dir() else []
    )
    return sorted(found, key=lambda path: (-step_of(path), path.name.startswith("."), path.name.endswith(".old")))


def step_of(path: Path) -> int:
    return int(path.name.partition("-")[2].partition(".")[0])


def run_of(path: Path) -> str | None:
    """The id of the run that a complete checkpoint belongs to."""
    state = path / "trainer_state.json"
    return json.loads(state.read_text(encoding="utf-8")).get("run_id") if state.is_file() else None


def latest_checkpoint(directory: str | os.PathLike) -> Path | None:
    """The newest complete checkpoint of the run with this output directory; None if there is none.

    A damaged one, as a full disk or another program may leave it, is skipped with a warning, and so is one of an
    earlier run.
    """
    run = Path(directory) / "run.json"
    current = json.loads(run.read_text(encoding="utf-8")).get("run_id") if run.is_file() else None
    for path in candidates(directory):
        if wrong := fault(path, thorough=True):
            if not path.name.startswith("."):
                warn(f"{path} is damaged and was skipped: {wrong}")
        elif current and (other := run_of(path)) and other != current:
            warn(f"{path} is of an earlier run and was skipped; to resume from it, name it")
        else:
            return path
    return None


def rotate(directory: str | os.PathLike, limit: int | None, keep: tuple[str | None, ...], run_id: str) -> list[Path]:
    """Remove a run's oldest checkpoints until `limit` are left, keeping those in `keep`; return those removed."""
    if limit is None:
        return []
    mine = [
        path
        for path in candidates(directory)
        if not path.name.startswith(".") and is_whole(path) and run_of(path) == run_id
    ]
    kept = {Path(name).name for name in keep if name}
    room = max(limit - sum(path.name in kept for path in mine[1:]), 1)
    gone = [path for path in mine if path.name not in kept or path == mine[0]][room:]
    for path in gone:
        # Renamed first, so that an interrupted removal leaves no checkpoint that looks complete.
        path.rename(old := path.with_name(f".{path.name}.old"))
        (old / MANIFEST).unlink()
        shutil.rmtree(old, ignore_errors=True)
    return gone


def write_model(model: Module, directory: Path) -> None:
    """Write a model's weights as `model.safetensors`, with the configuration of a pretrained one; or its adapters."""
    if isinstance(model, (PretrainedModel, PeftModel)):
        model.save_pretrained(directory)
    else:
        arrays = {name: contiguous(t.numpy()) for name, t in model.state_dict().items()}
        safetensors.write(directory / WHOLE, arrays)


def read_model(model: Module, directory: Path) -> dict[str, Any]:
    """The weights that `write_model` wrote, by their names in the model.

    Raises ValueError, naming the directory, if they do not fit the model.
    """
    try:
        if isinstance(model, PeftModel):  # whose other weights are frozen, and not saved
            return model.saved_state(directory)
        if isinstance(model, PretrainedModel):
            floating = next((str(p.dtype) for p in model.parameters() if p.dtype.kind not in "iub"), "float32")
            state = type(model).from_pretrained(directory, dtype=floating).state_dict()
        else:
            state = safetensors.read(directory / WHOLE)
        own = model.state_dict()
        wrong = [name for name in own if name not in state or tuple(state[name].shape) != own[name].shape]
        wrong += [name for name in state if name not in own]
        if wrong:
            name = wrong[0]
            there, here = (str(tuple(found[name].shape)) if name in found else "missing" for found in (state, own))
            raise ValueError(f"{name} is {there} there and {here} here")
        return state
    except (ValueError, FileNotFoundError) as error:
        told = " ".join(str(error).split())
        raise ValueError(
            f"{directory} is a checkpoint of another model ({told}); nothing was loaded: give the model it was made "
            "with, or another output_dir"
        ) from None


def load(model: Module, state: dict[str, Any]) -> None:
    """Load what `read_model` returned."""
    model.load_state_dict(state, strict=not isinstance(model, PeftModel))


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, default=jsonable) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"), object_hook=from_jsonable)


def jsonable(value: Any) -> Any:
    """A NumPy array or scalar as a value that JSON can hold."""
    if isinstance(value, np.ndarray):
        return {"__array__": str(value.dtype), "values": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"a checkpoint cannot hold a {type(value).__name__}: state_dict() must return numbers, texts and arrays"
    )


def from_jsonable(entries: dict) -> Any:
    return np.array(entries["values"], entries["__array__"]) if "__array__" in entries else entries


def random_states(*roots: Any) -> list[list[Any]]:
    """The state of every random number generator that these objects can reach, including the global ones."""
    return [[type(g).__name__, generator_state(g)] for g in generators(*roots)]


def check_random_states(saved: list[list[Any]], *roots: Any) -> None:
    """Raise ValueError if the generators differ in number or kind from those that were saved."""
    kinds, here = [kind for kind, _ in saved], [type(g).__name__ for g in generators(*roots)]
    if kinds != here:
        raise ValueError(
            f"its random numbers come from {len(kinds)} generators ({', '.join(kinds)}), here from {len(here)} "
            f"({', '.join(here)}): those of NumPy and Python, that of mg.seed, if it was called, and those of the "
            "model, the collator and the dataset; call mg.seed before the model is made if that run did, and not if "
            "it did not"
        )


def restore_random_states(saved: list[list[Any]], *roots: Any) -> None:
    """Restore the state of every generator."""
    for (_, state), generator in zip(saved, generators(*roots), strict=True):
        set_generator_state(generator, tuple_deep(state))


def tuple_deep(state: Any) -> Any:
    """Lists, which JSON makes of tuples, turned back into tuples, which Python's own generator needs."""
    return tuple(map(tuple_deep, state)) if isinstance(state, list) else state


def environment() -> dict[str, Any]:
    """The versions and hardware that the numbers of a run may depend on besides its arguments."""
    from .. import __version__

    return {
        "minigrad": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        **backend.machine(),
    }
