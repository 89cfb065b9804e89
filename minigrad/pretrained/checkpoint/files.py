"""A Hugging Face model directory on disk: config.json as a dict, weights as arrays.  None of it is ever executed.

Reading changes nothing.  A file may be a symbolic link, as in the Hub's cache, and is then read from its target; links
to directories inside a model directory are not followed.  Only `save` moves or removes files, only in the directory it
is given, and it replaces a link instead of writing through it.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...data.json_text import from_json
from . import hub, pickles, safetensors

CONFIG, WHOLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")  # the endings of files of weights
SMALL = ("*.json", "*.txt", "*.model", "*.jinja")  # the files of a model on the Hub that are not weights
SHARDS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
WRITING, WRITTEN = ".writing", ".written"  # where `save` writes, and the new name of that when all files are flushed


def read_config(source: str | os.PathLike, revision: str | None = None, local_files_only: bool = False) -> dict:
    """config.json of a model directory, of the directory of a file of weights, or of a model on the Hub.

    Raises FileNotFoundError if there is none, ValueError if it is not JSON or lacks model_type.
    """
    if path_of(source).is_file():
        path = path_of(source).parent / "config.json"
        if not path.is_file():
            if path_of(source).suffix not in WEIGHTS:
                model_directory(source)  # raises
            raise FileNotFoundError(
                f"there is no config.json beside {source}: put it there, or pass config=, such as "
                "config=AutoConfig.from_pretrained(...) or "
                'config=ResNetConfig.torchvision("resnet50")'
            )
    else:
        path = _current(model_directory(source, SMALL, revision, local_files_only), CONFIG)
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise ValueError(
            f'{path} has no "model_type": expected an entry such as "model_type": "bert"; add the type of these '
            "weights, or pass another directory"
        )
    return config


def read_weights(
    source: str | os.PathLike, revision: str | None = None, local_files_only: bool = False
) -> dict[str, np.ndarray]:
    """The arrays of a model by their names in its files, memory-mapped copy-on-write.

    `source` is a directory or a name on the Hub, with model.safetensors or the shards that its index lists, or else
    pytorch_model.bin, whole or in shards; or a single file, .safetensors, .bin, .pt or .pth.

    Raises FileNotFoundError if there are no weights, ValueError if a file is damaged or holds more than weights.
    """
    if path_of(source).is_file():
        return _read(path_of(source))
    directory = model_directory(source, (WHOLE, INDEX, "model-*-of-*.safetensors"), revision, local_files_only)
    if head := _head(directory / WRITTEN):  # a save was interrupted before it moved its files into place
        path = directory / WRITTEN / head
        return _read_shards(path, directory) if head == INDEX else _read(path)
    if not (directory / WHOLE).is_file() and not (directory / INDEX).is_file():
        directory = model_directory(
            source, (PICKLE, PICKLE_INDEX, "pytorch_model-*-of-*.bin"), revision, local_files_only
        )
    for whole, index in ((directory / WHOLE, directory / INDEX), (directory / PICKLE, directory / PICKLE_INDEX)):
        if whole.is_file():
            return _read(whole)
        if index.is_file():
            return _read_shards(index, directory)
    weights = sorted(path for path in directory.iterdir() if path.suffix in WEIGHTS)
    raise FileNotFoundError(
        f"{directory} has no weights: expected {WHOLE}, found {_listing(directory)}"
        + (f"; if it is {weights[0].name}, pass {str(weights[0])!r}" if weights else "")
    )


def _read(path):
    if path.suffix in (".json", ".txt"):
        raise ValueError(f"{path} holds no weights: pass the directory it is in, {str(path.parent)!r}")
    return (safetensors if path.suffix == ".safetensors" else pickles).read(path)


def _read_shards(index, directory):
    where = read_json(index).get("weight_map")
    if (
        not isinstance(where, dict)
        or not where
        or not all(isinstance(shard, str) and len(shard) < 256 for shard in where.values())
    ):
        raise ValueError(
            f'{index} has no usable "weight_map": expected one such as '
            '{"weight": "model-00001-of-00002.safetensors"}; copy it again'
        )
    shards = [_current(directory, Path(shard).name) for shard in sorted(set(where.values()))]
    if missing := [path.name for path in shards if not path.is_file()]:
        raise FileNotFoundError(
            f"{directory} lacks {', '.join(missing)}: expected all {len(shards)} files that "
            f"{index.name} lists; copy what is missing there"
        )
    arrays = {shard.name: _read(shard) for shard in shards}
    if missing := [name for name, shard in where.items() if name not in arrays[Path(shard).name]]:
        raise ValueError(f"{missing[0]} is not in {where[missing[0]]}, where {index} says it is: copy both again")
    merged = {name: array for shard in arrays.values() for name, array in shard.items()}
    return merged | {name: arrays[Path(shard).name][name] for name, shard in where.items()}


def read_json(path: Path) -> dict:
    """The object in a JSON file.  Raises FileNotFoundError, or ValueError if the file holds anything else."""
    if not path.is_file():
        adapter = "adapter_config.json"
        wanted = "the directory of an adapter" if path.name == adapter else "a Hugging Face model directory"
        more = "; load the model of this adapter, then type PeftModel.from_pretrained(model, directory)"
        raise FileNotFoundError(
            f"{path} is missing: expected {wanted}, found {_listing(path.parent)}"
            + more * (path.name == "config.json" and (path.parent / adapter).is_file())
        )
    try:
        content = from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): repair it, or copy it again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}: expected a JSON object, {{...}}")
    return content


def path_of(source: str | os.PathLike) -> Path:
    """The path of a model.  Raises TypeError for what is neither text nor a path."""
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"expected the directory of a model, or its name on the Hub, as text, not {source!r:.80}")
    return Path(source)


def model_directory(
    source: str | os.PathLike,
    patterns: tuple[str, ...] = SMALL,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """The directory `source`, or the one into which files that match the patterns are downloaded from the Hub.

    Raises FileNotFoundError or NotADirectoryError if there is none, ImportError if downloading needs a library,
    TypeError if `source` is neither text nor a path.
    """
    path = path_of(source)
    if path.is_dir():
        return path
    if path.exists():
        raise NotADirectoryError(f"{path} is a file: expected the directory that holds config.json and {WHOLE}")
    if hub.is_name(str(source)):
        return hub.download(str(source), patterns, revision, local_files_only)
    raise FileNotFoundError(f"there is no directory {path}: expected one with config.json and {WHOLE}")


def save(
    directory: str | os.PathLike,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    max_shard_size: int | str = "5GB",
) -> None:
    """Write config.json and model.safetensors, or shards of at most `max_shard_size` bytes ("5GB") and their index.

    All files are written to a temporary directory, then moved into place.  Whenever this is interrupted, the directory
    reads as either the old model or the new one, complete.

    Raises ValueError if the directory holds something other than a model, OSError if it cannot be written to.
    """
    shards = _split(arrays, _bytes(max_shard_size))
    names = (
        [WHOLE]
        if len(shards) == 1
        else [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    )
    texts = {"config.json": dict(config)}
    if len(shards) > 1:
        texts[INDEX] = {
            "metadata": {"total_size": sum(array.nbytes for array in arrays.values())},
            "weight_map": {name: file for file, shard in zip(names, shards, strict=True) for name in shard},
        }
    directory = output_directory(directory)
    _settle(directory)
    aside = directory / WRITING
    _remove(aside)
    try:
        aside.mkdir()
        for name, text in texts.items():
            (aside / name).write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
        for name, shard in zip(names, shards, strict=True):
            safetensors.write(aside / name, shard)
        for path in aside.iterdir():
            _sync(path)
        aside.rename(directory / WRITTEN)  # from here on, the new model is read
    except OSError as error:
        raise OSError(f"{directory} could not be written and is unchanged: {error}") from None
    finally:
        _remove(aside)
    _settle(directory)


def _head(written):
    """The file of weights, or their index, that a finished save left in `.written`; None if there is none.

    It is the last file to be moved out of `.written`; as long as it is there, the files there are the current ones.  A
    link is never followed.
    """
    if written.is_symlink() or not written.is_dir():
        return None
    return next((name for name in (INDEX, WHOLE) if (written / name).is_file()), None)


def _current(directory, name):
    """The path of a file: in `.written` if a finished save was interrupted there, otherwise in the directory."""
    inside = directory / WRITTEN / name
    return inside if _head(directory / WRITTEN) and inside.is_file() else directory / name


def _settle(directory):
    """Move the files of a finished save from `.written` into place; they may be those of an interrupted one."""
    written = directory / WRITTEN
    if written.is_symlink() or not written.is_dir():
        return _remove(written)
    if strange := [
        path.name
        for path in written.iterdir()
        if path.is_symlink() or not path.is_file() or (path.name != CONFIG and not SHARDS.fullmatch(path.name))
    ]:
        raise ValueError(
            f"{written} holds {strange[0]!r}, which is not from an interrupted save: remove {written}, or save "
            "to a new directory"
        )
    head = _head(written)
    if head is None:  # no finished save
        return _remove(written)
    keep = set(read_json(written / INDEX)["weight_map"].values()) if head == INDEX else set()
    for path in written.iterdir():
        if path.name != head:
            path.replace(directory / path.name)
    for path in directory.iterdir():
        if SHARDS.fullmatch(path.name) and path.name not in keep | {head}:
            path.unlink()
    (written / head).replace(directory / head)
    written.rmdir()


def _remove(path):
    """Remove a directory with its content, or a file or link of that name; the target of a link is kept."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)  # a link, a file, or a pipe, on which rmtree would block forever


def _split(arrays, limit):
    """The arrays in order, in dicts of at most `limit` bytes; a larger array gets a dict of its own."""
    shards, size = [{}], 0
    for name, array in arrays.items():
        if shards[-1] and size + array.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = array
        size += array.nbytes
    return shards


def _bytes(size):
    """The number of bytes of "5GB", "200MiB" or a number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)(i?)B", str(size), re.IGNORECASE)
    count = (
        int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " ")) if found else size
    )
    if type(count) is not int or count < 1:
        raise ValueError(
            f'max_shard_size is {size!r}: expected a number of bytes, 1 or more, or a text such as "5GB" or "200MB"'
        )
    return count


def _sync(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Temporary files to write to, which replace `paths` if the block succeeds and are removed otherwise."""
    parts = [path.with_name(f".{path.name}.part") for path in paths]
    for part in parts:
        part.unlink(missing_ok=True)  # a file left by a killed run, or a link, which must not be followed
    try:
        yield parts
        for part in parts:
            _sync(part)
        for part, path in zip(parts, paths, strict=True):
            os.replace(part, path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def check_parent(output: str | os.PathLike) -> None:
    """Raise NotADirectoryError if `output` cannot be created, since a file is where a directory is needed."""
    for parent in Path(output).parents:
        if parent.exists() and not parent.is_dir():
            raise NotADirectoryError(f"{parent} is a file, so {output} cannot be created in it: pass another name")


def output_directory(directory: str | os.PathLike) -> Path:
    """`directory`, created if missing.

    Raises NotADirectoryError if it is a file, ValueError if it holds something other than a model or its parts.
    """
    path = Path(directory)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file: expected a directory to save to; pass a new name")
    check_parent(path)
    held = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")} if path.exists() else set()
    # Files of ours that may be in a directory without config.json; run.json is a Trainer's.
    alone = {WHOLE, "tokenizer.json", "vocab.txt", "preprocessor_config.json", "run.json"}
    ours = "model_type" in read_json(path / CONFIG) if CONFIG in held else held & alone
    if held and not ours:
        raise ValueError(
            f"{path} holds something other than a model ({_listing(path)}): pass a new or an empty directory"
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def _listing(directory):
    names = sorted(entry.name for entry in directory.iterdir())
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "nothing"
