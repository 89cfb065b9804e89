"""A Hugging Face model directory on disk: config.json as a dict, safetensors as bare arrays.  Nothing in it is ever executed."""
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


class Weights(Mapping):
    """Arrays by name, each read when it is asked for, with the dtype it is stored in; `shapes` is known without reading any.

    A file is opened anew for each array (0.1 ms): kept open, its pages would stay in memory beside the copies made of them.
    """

    def __init__(self, files: Iterable[Path]):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._file: dict[str, Path] = {}
        for path in files:
            with _opened(path) as file:
                for name in file.keys():
                    self._file[name], self.shapes[name] = path, tuple(file.get_slice(name).get_shape())

    def __getitem__(self, name: str) -> np.ndarray:
        with _opened(self._file[name]) as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def __len__(self) -> int:
        return len(self._file)


def read_config(directory: str | os.PathLike) -> dict:
    """config.json of a model directory.

    Raises FileNotFoundError if the directory or the file is missing, ValueError if it is not JSON or names no model_type.
    """
    path = model_directory(directory) / "config.json"
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise ValueError(f'{path} has no "model_type": expected an entry such as "model_type": "bert"; add the one these weights '
                         "were made with, or pass another directory")
    return config


def read_weights(directory: str | os.PathLike) -> Weights:
    """The arrays in model.safetensors, or in the shards that model.safetensors.index.json lists, by their names in the file.

    Raises FileNotFoundError if there are none, ValueError if a file is damaged or there is only a pickle.
    """
    directory = model_directory(directory)
    whole, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if whole.is_file():
        return Weights([whole])
    if index.is_file():
        named = read_json(index).get("weight_map")
        if not isinstance(named, dict) or not named or not all(isinstance(shard, str) for shard in named.values()):
            raise ValueError(f'{index} has no usable "weight_map": expected one such as '
                             '{"weight": "model-00001-of-00002.safetensors"}; copy it again')
        shards = [directory / Path(shard).name for shard in sorted(set(named.values()))]
        if missing := [path.name for path in shards if not path.is_file()]:
            raise FileNotFoundError(f"{directory} lacks {', '.join(missing)}: expected all {len(shards)} files that {index.name} "
                                    "lists; copy what is missing there")
        return Weights(shards)
    if pickles := sorted(path.name for path in directory.iterdir() if path.suffix in PICKLES):
        named = str((read_config(directory).get("architectures") or [""])[0])
        kind = named if named.isidentifier() else "AutoModel"              # it goes into a command that the reader may run
        raise ValueError(f"{directory} has only {pickles[0]}, a pickle: opening one can run any code, so it was not opened; "
                         "expected model.safetensors, which transformers makes of it: python -c \"from transformers import "
                         f"{kind} as M; M.from_pretrained('{directory}').save_pretrained('{directory}')\"")
    raise FileNotFoundError(f"{directory} has no weights: expected model.safetensors, found {_listing(directory)}")


def read_json(path: Path) -> dict:
    """The object in a JSON file.  Raises FileNotFoundError, or ValueError if it holds anything else."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: expected a Hugging Face model directory, found {_listing(path.parent)}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): repair it, or copy it again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}: expected a JSON object, {{...}}")
    return content


def model_directory(directory: str | os.PathLike) -> Path:
    """`directory` as a Path.  Raises FileNotFoundError or NotADirectoryError if it is not one."""
    path = Path(directory)
    if path.is_dir():
        return path
    if path.exists():
        raise NotADirectoryError(f"{path} is a file: expected the directory that holds config.json and model.safetensors")
    hub = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(directory)) and not ("/" in str(directory) and path.parent.is_dir())
    raise FileNotFoundError(f"there is no directory {path}" + (
        f"; if that is a name on the Hugging Face Hub, minigrad does not download yet: run `hf download {directory} "
        f"--local-dir {path.name}`, then pass {path.name!r}" if hub else ": expected one with config.json and model.safetensors"))


def save(directory: str | os.PathLike, config: Mapping, arrays: Mapping[str, np.ndarray]) -> None:
    """Write config.json and model.safetensors; if either cannot be written in full, what was there before stays.

    Raises ValueError if the directory holds something other than a model, OSError if it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file
    directory = output_directory(directory)
    with replacing(directory / "config.json", directory / "model.safetensors") as (text, weights):
        text.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}    # save_file ignores strides
        try:
            save_file(dense, weights, metadata={"format": "pt"})    # transformers 4 refuses a file that does not say so
        except SafetensorError as error:
            raise OSError(f"{directory}/model.safetensors could not be written and is as it was: {error}") from None
        shutil.copymode(text, weights)                              # save_file lets only its owner read what it writes


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Names beside `paths` to write to: they take the place of `paths` if the block succeeds, and vanish if it fails."""
    parts = [path.with_name(f".{path.name}.part") for path in paths]
    try:
        yield parts
        for part in parts:
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
        for part, path in zip(parts, paths, strict=True):
            os.replace(part, path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def output_directory(directory: str | os.PathLike) -> Path:
    """`directory`, made if it is missing.  Raises if it is a file, or holds something that is neither a model nor a tokenizer."""
    path = Path(directory)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file: expected a directory to save in; pass a new name")
    held = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")} if path.exists() else set()
    ours = "model_type" in read_json(path / "config.json") if "config.json" in held else held & {"tokenizer.json", "vocab.txt"}
    if held and not ours:
        raise ValueError(f"{path} holds something other than a model ({_listing(path)}): pass a new or an empty directory")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _opened(path):
    import ml_dtypes  # noqa: F401        teaches NumPy the name bfloat16
    from safetensors import SafetensorError, safe_open
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or corrupt: found {path.stat().st_size} bytes, expected {_promised(path)}; "
                         f"copy it again ({error})") from None


def _promised(path):
    """How many bytes a safetensors file says it has: 8 for the length of its JSON header, the header, and the arrays."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            header = json.loads(file.read(min(int.from_bytes(start, "little"), path.stat().st_size)))
        return 8 + int.from_bytes(start, "little") + max(x["data_offsets"][1] for n, x in header.items() if n != "__metadata__")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return "a safetensors header" if start != b"version " else "the weights, not a Git LFS pointer: run `git lfs pull`"


def _listing(directory):
    names = sorted(entry.name for entry in directory.iterdir())
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "nothing"
