"""Reads and checks labelled pictures: from folders, from a file of paths, and in the formats of MNIST and CIFAR-10."""

from __future__ import annotations

import gzip
import os
import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .image_transforms import Transform
from .pictures import check_picture, read_picture
from .readers import Example, find_column, label_name, read_rows
from .text import label_ids, label_names

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".avif", ".tga"}
IMAGE_COLUMNS = ("image", "path", "file_name", "file", "filename", "image_path")
LABEL_COLUMNS = ("label", "class")
SPLITS = {"train": ("train", "training"), "test": ("test", "val", "valid", "validation", "eval")}  # names of folders
IDX = {"train": "train", "test": "t10k"}  # how the names of MNIST's files begin
IDX_KINDS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CIFAR = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
CIFAR_CLASSES = list[str]("airplane automobile bird cat deer dog frog horse ship truck".split())
MAX_BYTES = 1 << 34  # read from an idx file, whose header may declare any size


class ImageDataset:
    """Labelled pictures, one item each: {"pixel_values": the transformed picture, "label": its class number}.

    Args:
        images: paths of files, read when an item is requested, or uint8 arrays (H, W), (H, W, 1) or (H, W, 3).
        labels: the class number of each.
        classes: the names of the classes by number.
        transform: one of `minigrad.data.image_transforms`, such as a `Compose`, an AutoImageProcessor, or any function
            of a picture, which is a Pillow image if it comes from a file, and an array otherwise.  None gives uint8
            arrays.
        seed, epoch: the random numbers of a transform are a function of these and the index, so they are the same with
            any number of workers.  A DataLoader sets the epoch.

    Raises ValueError unless there is one label for each picture, a whole number from 0 to len(classes) - 1.
    """

    def __init__(
        self,
        images: Sequence[Any] | np.ndarray,
        labels: Sequence[int] | np.ndarray,
        classes: Sequence[str],
        transform: Callable[..., Any] | None = None,
        seed: int = 0,
        epoch: int = 0,
    ):
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} pictures and {len(labels)} labels; expected one label for each")
        if len(labels) and np.asarray(labels).dtype.kind not in "iu":
            raise ValueError(f"the labels are such as {labels[0]!r}; expected class numbers, whole, from 0")
        self.images, self.labels, self.classes = images, np.asarray(labels, np.int64), list(classes)
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(
                f"labels are from {self.labels.min()} to {self.labels.max()}; expected 0 to {len(self.classes) - 1}, "
                f"since there are {len(self.classes)} classes"
            )
        self.transform, self.seed, self.epoch = transform, seed, epoch

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels = self.picture(index)
        if isinstance(self.transform, Transform):
            pixels = self.transform(pixels, np.random.default_rng([self.seed, self.epoch, int(index) % len(self)]))
        elif self.transform is not None:
            pixels = self.transform(pixels)
        if isinstance(pixels, Mapping):  # from a processor, which returns a batch of one
            pixels = pixels["pixel_values"][0]
        return {"pixel_values": np.asarray(pixels), "label": int(self.labels[index])}

    def picture(self, index: int) -> Any:
        """The picture before any transform: a Pillow image in RGB if it comes from a file, otherwise the array."""
        image = self.images[index]
        return read_picture(image) if isinstance(image, (str, os.PathLike)) else image

    def at_epoch(self, epoch: int) -> ImageDataset:
        """The same pictures, with the transform's random numbers for that epoch."""
        return ImageDataset(self.images, self.labels, self.classes, self.transform, self.seed, epoch)

    def select(self, indices: Sequence[int] | np.ndarray) -> ImageDataset:
        """The pictures at some indices."""
        chosen = self.images[indices] if isinstance(self.images, np.ndarray) else [self.images[i] for i in indices]
        return ImageDataset(chosen, self.labels[indices], self.classes, self.transform, self.seed, self.epoch)

    def with_transform(self, transform: Callable[..., Any] | None, seed: int = 0) -> ImageDataset:
        """The same pictures with another transform."""
        return ImageDataset(self.images, self.labels, self.classes, transform, seed, self.epoch)

    def __repr__(self) -> str:
        return f"ImageDataset({len(self)} pictures of {len(self.classes)} classes)"


def read_images(
    path: str | os.PathLike,
    split: str = "train",
    image_column: str | None = None,
    label_column: str | None = None,
    transform: Callable[..., Any] | None = None,
    seed: int = 0,
) -> ImageDataset:
    """The labelled pictures at a path.

    The path is one of these:

    - a directory with a folder of pictures for each class, or with such directories called train and test (or val);
    - a .csv, .tsv, .jsonl or .json file that names a picture (in a column `image`, `path` or `file_name`, relative to
      the file's own directory) and its class (`label`) in each row;
    - a directory with MNIST's files, `train-images-idx3-ubyte` and so on, or others of that format, compressed or not;
    - a directory with CIFAR-10's files, in the Python version (whose pickles are read without running code) or the
      binary version.

    Args:
        split: "train" or "test", if there are both; a directory or a file that is not divided is returned whole.
        image_column, label_column: other names of the columns.
        transform, seed: as for `ImageDataset`.

    Raises:
        FileNotFoundError, ValueError: in one line that names the file, and the line in it: the path does not exist, a
            picture is missing, damaged or truncated, a folder is empty, or a file does not have the format of its name.
        ImportError: the pictures are files, and Pillow is not installed.
    """
    path = Path(path)
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected 'train' or 'test'")
    if path.is_file():
        found = from_table(path, image_column, label_column)
    elif not path.is_dir():
        raise FileNotFoundError(
            f"{path}: no such file or directory; expected a folder of pictures for each class, a .csv file of paths, "
            "or the files of MNIST or CIFAR-10"
        )
    elif (idx := find_idx(path, split)) is not None:
        found = from_idx(*idx)
    elif (cifar := find_cifar(path, split)) is not None:
        found = from_cifar(cifar)
    else:
        found = from_folders(split_folder(path, split))
    images, labels, classes = found
    for image in images:
        if isinstance(image, (str, os.PathLike)):
            check_picture(image)
    return ImageDataset(images, labels, classes, transform, seed)


def has_test_split(path: str | os.PathLike) -> bool:
    """Whether the path has a test part, so that `read_images(path, "test")` differs from `read_images(path)`."""
    path = Path(path)
    if not path.is_dir():
        return False
    if find_idx(path, "test") or find_cifar(path, "test"):
        return True
    return split_folder(path, "test") != split_folder(path, "train")


# Folders and tables of paths.


def folders(path: Path) -> list[Path]:
    """The directories in a directory, except hidden ones."""
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith((".", "__")))


def split_folder(path: Path, split: str) -> Path:
    """The directory with the folders of a split, or the directory itself if it has no splits."""
    names = {name for several in SPLITS.values() for name in several}
    inside = folders(path)
    if not inside or not all(each.name.lower() in names for each in inside):
        return path
    of_split = [each for each in inside if each.name.lower() in SPLITS[split]]
    if len(of_split) != 1:
        raise ValueError(
            f"{path}: {len(of_split)} of its folders {', '.join(each.name for each in inside)} are for the split "
            f"{split}; expected one, called {split}"
        )
    return of_split[0]


def from_folders(path: Path) -> tuple[list[Path], np.ndarray, list[str]]:
    """Paths, class numbers and class names; raises ValueError for a folder without a picture."""
    inside = folders(path)
    if not inside:
        raise ValueError(f"{path}: no folders in it; expected one with pictures for each class")
    examples, paths = [], []
    for folder in inside:
        own = sorted(pictures_in(folder))
        if not own:
            raise ValueError(f"{folder}: no picture in it (such as a .jpg or .png); add some, or remove the folder")
        paths += own
        examples += [Example("", folder.name)] * len(own)
    names = label_names(examples)
    return paths, label_ids(examples, names), names


def pictures_in(folder: Path) -> Iterator[Path]:
    """The files in a folder, at any depth, that have the ending of a picture."""
    for directory, _, names in os.walk(folder, followlinks=True):
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in ENDINGS:
                yield Path(directory, name)


def from_table(path: Path, image_column: str | None, label_column: str | None) -> tuple[list, np.ndarray, list[str]]:
    """Paths, class numbers and class names from the rows of a file; raises FileNotFoundError or ValueError."""
    labels = (label_column,) if label_column else LABEL_COLUMNS
    paths, examples = [], []
    for where, named, row, file in table_rows(path, image_column, labels):
        paths.append(file)
        examples.append(Example(str(file), label_name(where, row[find_column(named, row, "label", labels)])))
    names = label_names(examples)
    return paths, label_ids(examples, names), names


def table_rows(
    path: Path, image_column: str | None, labels: Sequence[str] = ()
) -> Iterator[tuple[str, str, dict[str, Any], Path]]:
    """For each row of a file: its position, the position of the column names, its fields, and its picture's path."""
    images = (image_column,) if image_column else IMAGE_COLUMNS
    for where, named, row in read_rows(path, [images, *([labels] if labels else [])], "the name of a picture"):
        name = row[find_column(named, row, "image", images)]
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{where}: the name of the picture is {str(name)[:60]!r}; expected the path of a file")
        file = path.parent / name.strip()
        if not file.is_file():
            raise FileNotFoundError(
                f"{where}: {file} does not exist; expected a picture, its path absolute or relative to {path.parent}"
            )
        yield where, named, row, file


def unlabelled_images(path: str | os.PathLike, image_column: str | None = None) -> list[Path]:
    """The pictures of a directory, at any depth, or those that the rows of a file name; checked as by `read_images`."""
    path = Path(path)
    if path.is_dir():
        found = sorted(pictures_in(path))
        if not found:
            raise ValueError(f"{path}: no picture in it (such as a .jpg or .png)")
    elif not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or directory; expected pictures, or a file that names them")
    elif path.suffix.lower() in ENDINGS:
        found = [path]
    else:
        found = [file for *_, file in table_rows(path, image_column)]
    for file in found:
        check_picture(file)
    return found


# MNIST's format.


def find_idx(path: Path, split: str) -> tuple[Path, Path] | None:
    """The files of pictures and of labels, if there are any; raises FileNotFoundError if there is only one of them."""
    for directory in (path, path / "MNIST" / "raw", path / "raw"):
        found = [
            next(
                (
                    file
                    for middle in "-."
                    for ending in ("", ".gz")
                    if (file := directory / f"{IDX[split]}-{what}{middle}idx{axes}-ubyte{ending}").is_file()
                ),
                None,
            )
            for what, axes in (("images", 3), ("labels", 1))
        ]
        if any(found):
            images, labels = found
            if images is None or labels is None:
                lacking = f"{IDX[split]}-" + ("images-idx3-ubyte" if images is None else "labels-idx1-ubyte")
                raise FileNotFoundError(f"{directory / lacking}: no such file, though {images or labels} is there")
            return images, labels
    return None


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """The array in a file of MNIST's idx format, which may be compressed (.gz).

    The format has two zero bytes, a code of the dtype, the number of axes, their lengths, and the values.

    Raises ValueError, naming the file, if its header is not of that form or does not match its size.
    """
    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in IDX_KINDS or not head[3]:
                raise ValueError(
                    f"{path}: not an idx file: it begins with {head.hex(' ') or 'nothing'}; expected 00 00 08 and the "
                    "number of axes, as MNIST's files do"
                )
            lengths = file.read(4 * head[3])
            shape = tuple(np.frombuffer(lengths[: len(lengths) // 4 * 4], ">u4").tolist())
            dtype = np.dtype(IDX_KINDS[head[2]])
            size = prod(shape) * dtype.itemsize
            body = file.read(min(size, MAX_BYTES) + 1) if len(shape) == head[3] else b""
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path}: cannot be decompressed: {error}; if it is damaged, copy it again") from None
    if len(shape) != head[3] or len(body) != size:
        more = "more" if len(body) > size else f"{len(body)}"
        raise ValueError(
            f"{path}: its header declares {' × '.join(map(str, shape)) or 'no shape'}, {size} bytes, but there are "
            f"{more}; if it is damaged, copy it again"
        )
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def from_idx(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pictures uint8 (N, H, W), class numbers (N,), and the names of the classes, "0" to "9" or beyond."""
    pictures, classes = read_idx(images), read_idx(labels)
    for file, array, axes in ((images, pictures, (3, 4)), (labels, classes, (1,))):
        if array.dtype != np.uint8 or array.ndim not in axes:
            raise ValueError(
                f"{file}: {array.dtype} of shape {array.shape}; expected uint8 with {axes[0]} "
                f"{'axes, pictures' if axes[0] > 1 else 'axis, labels'}"
            )
    if len(pictures) != len(classes):
        raise ValueError(
            f"{images}: {len(pictures)} pictures, but {len(classes)} labels in {labels}; expected one each"
        )
    if not len(pictures):
        raise ValueError(f"{images}: no picture in it; expected at least one")
    return pictures, classes, [str(i) for i in range(max(10, int(classes.max()) + 1))]


# CIFAR-10's formats.


def find_cifar(path: Path, split: str) -> list[Path] | None:
    """The files of a split, if there are any; raises FileNotFoundError if one of them is missing."""
    for directory in (path, path / "cifar-10-batches-py", path / "cifar-10-batches-bin"):
        for ending in ("", ".bin"):
            files = [directory / f"{name}{ending}" for name in CIFAR[split]]
            if any(file.is_file() for file in files):
                for file in files:
                    if not file.is_file():
                        raise FileNotFoundError(f"{file}: no such file; expected {', '.join(f.name for f in files)}")
                return files
    return None


def from_cifar(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pictures uint8 (N, 32, 32, 3), class numbers (N,) and the names of the classes."""
    rows, labels = zip(*(read_cifar(file) for file in files), strict=True)
    pictures = np.concatenate(rows).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pictures), np.concatenate(labels), CIFAR_CLASSES


def read_cifar(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of one file, as rows of 3072 bytes, and their labels; raises ValueError that names the file."""
    if file.suffix == ".bin":
        body = np.fromfile(file, np.uint8)
        if not body.size or body.size % 3073:
            raise ValueError(f"{file}: {body.size} bytes; expected a multiple of 3073, a label and 32 × 32 × 3 values")
        rows, labels = body.reshape(-1, 3073)[:, 1:], body[::3073]
    else:
        try:
            with open(file, "rb") as opened:
                found = _Arrays(opened, encoding="bytes").load()
            rows, labels = np.asarray(found[b"data"]), np.asarray(found[b"labels"])
        except OSError:
            raise
        except Exception as error:  # unpickling damaged bytes may raise any exception
            fault = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(
                f"{file}: not a batch of CIFAR-10 for Python ({fault}); if it is damaged, copy it again"
            ) from None
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072 or labels.shape != (len(rows),):
            raise ValueError(
                f"{file}: data is {rows.dtype} {rows.shape}, labels {labels.shape}; expected uint8 (N, 3072) and (N,)"
            )
    if labels.dtype.kind not in "iu" or not len(labels) or not 0 <= labels.min() <= labels.max() < len(CIFAR_CLASSES):
        raise ValueError(f"{file}: its labels are not whole numbers from 0 to 9; expected a file of CIFAR-10")
    return rows, labels


class _Arrays(pickle.Unpickler):
    """Reads a pickle of arrays, numbers and text, and refuses everything else, which might run code."""

    ALLOWED = frozenset(
        {("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    )

    def find_class(self, module: str, name: str) -> Any:
        """The functions that build an array: three of NumPy, and `_codecs.encode` for its bytes."""
        last = module.rpartition(".")[2]
        if module.partition(".")[0] not in ("numpy", "_codecs") or (last, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a file of arrays does not")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
