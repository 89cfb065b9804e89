"""Pictures with labels from folders, tables, MNIST's and CIFAR-10's files; damaged ones are refused by name."""

import gzip
import os
import pickle
import struct

import numpy as np
import pytest

from minigrad.data import DataLoader, ImageDataset, read_images
from minigrad.data.image_transforms import Compose, RandomCrop, RandomHorizontalFlip, Rescale
from minigrad.data.images import has_test_split, read_idx

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 8, 10, 3), np.uint8)


def folder(root, classes=("cat", "dog"), each=3, ending="png"):
    for i, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for j in range(each):
            Image.fromarray(PIXELS[each * i + j]).save(root / name / f"{j}.{ending}")
    return root


def idx(path, array, kind=8):
    head = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    raw = head + array.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def mnist(root, ending="", n=5):
    root.mkdir(exist_ok=True)
    for part, count in (("train", n), ("t10k", 2)):
        idx(root / f"{part}-images-idx3-ubyte{ending}", RNG.integers(0, 256, (count, 28, 28), np.uint8))
        idx(root / f"{part}-labels-idx1-ubyte{ending}", np.arange(count, dtype=np.uint8))
    return root


def cifar(root, binary=False):
    root.mkdir(exist_ok=True)
    rows = RNG.integers(0, 256, (6, 2, 3072), np.uint8)
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        labels = [i, (i + 3) % 10]
        if binary:
            np.column_stack([np.array(labels, np.uint8), rows[i]]).tofile(root / f"{name}.bin")
        else:  # as Python 2 wrote them
            content = pickle.dumps({b"data": rows[i], b"labels": labels, b"batch_label": b"training batch"}, 2)
            (root / name).write_bytes(content.replace(b"numpy._core.", b"numpy.core."))
    return root, rows


def test_folders(tmp_path):
    folder(tmp_path)
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / "dog" / ".hidden.png").write_text("")
    (tmp_path / "dog" / "deeper").mkdir()
    Image.fromarray(PIXELS[6]).save(tmp_path / "dog" / "deeper" / "x.PNG")
    data = read_images(tmp_path)
    assert data.classes == ["cat", "dog"] and data.labels.tolist() == [0] * 3 + [1] * 4
    np.testing.assert_array_equal(data[0]["pixel_values"], PIXELS[0])
    np.testing.assert_array_equal(data[6]["pixel_values"], PIXELS[6])
    assert data[-1]["label"] == 1 and repr(data) == "ImageDataset(7 pictures of 2 classes)"
    assert not has_test_split(tmp_path)
    chosen = data.select([4, 0])
    assert len(chosen) == 2 and chosen[0]["label"] == 1
    np.testing.assert_array_equal(chosen[1]["pixel_values"], PIXELS[0])


def test_splits_as_folders(tmp_path):
    folder(tmp_path / "train")
    folder(tmp_path / "val", each=2)
    assert len(read_images(tmp_path)) == 6 and len(read_images(tmp_path, "test")) == 4 and has_test_split(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.tsv"])
def test_tables_of_paths(tmp_path, name):
    folder(tmp_path / "photos")
    rows = [(f"photos/{kind}/{i}.png", label) for kind, label in (("cat", "2"), ("dog", "10")) for i in range(3)]
    content = {
        "a.csv": "path,label\n" + "".join(f"{path},{label}\n" for path, label in rows),
        "a.tsv": "path\tlabel\n" + "".join(f"{path}\t{label}\n" for path, label in rows),
        "a.jsonl": "".join(f'{{"file_name": "{path}", "label": {label}}}\n' for path, label in rows),
    }
    (tmp_path / name).write_text(content[name])
    data = read_images(tmp_path / name)
    assert data.classes == ["2", "10"] and data.labels.tolist() == [0] * 3 + [1] * 3
    np.testing.assert_array_equal(data[4]["pixel_values"], PIXELS[4])


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist(tmp_path, ending):
    mnist(tmp_path, ending)
    data, test = read_images(tmp_path), read_images(tmp_path, "test")
    assert (len(data), len(test)) == (5, 2) and data.classes == list("0123456789") and has_test_split(tmp_path)
    assert data[3]["pixel_values"].shape == (28, 28) and data[3]["label"] == 3


def test_idx_of_other_kinds(tmp_path):
    numbers = (np.arange(6).reshape(2, 3) / 4).astype(">f4")
    read = read_idx(idx(tmp_path / "a.idx", numbers, kind=0x0D))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, numbers)


@pytest.mark.parametrize("binary", [False, True])
def test_cifar(tmp_path, binary):
    root, rows = cifar(tmp_path, binary)
    data = read_images(root)
    assert len(data) == 10 and data.labels[:4].tolist() == [0, 3, 1, 4] and data.classes[3] == "cat"
    np.testing.assert_array_equal(data[2]["pixel_values"], rows[1, 0].reshape(3, 32, 32).transpose(1, 2, 0))
    assert len(read_images(root, "test")) == 2


def test_what_a_transform_draws_is_a_function_of_seed_epoch_and_index(tmp_path):
    transform = Compose([RandomCrop(6), RandomHorizontalFlip(), Rescale()])
    data = read_images(folder(tmp_path, each=6), transform=transform, seed=4)
    passes = []
    for workers in (0, 3):
        loader = DataLoader(data, 4, shuffle=True, seed=1, num_workers=workers)
        passes.append([np.stack([item["pixel_values"] for batch in loader for item in batch]) for _ in range(2)])
    np.testing.assert_array_equal(passes[0], passes[1])
    assert passes[0][0].shape == (12, 3, 6, 6) and passes[0][0].dtype == np.float32
    first, later = data[5]["pixel_values"], data.at_epoch(1)[5]["pixel_values"]
    np.testing.assert_array_equal(data[5]["pixel_values"], first)
    assert not np.array_equal(first, later)
    assert not np.array_equal(first, data.with_transform(transform, seed=5)[5]["pixel_values"])


def test_a_processor_is_a_transform():
    from minigrad.pretrained import AutoImageProcessor

    processor = AutoImageProcessor({"size": 8})
    data = ImageDataset(PIXELS, [0] * 12, ["a"], Compose([RandomCrop(7), processor]))
    assert data[0]["pixel_values"].shape == (3, 8, 8)
    plain = ImageDataset(PIXELS, [0] * 12, ["a"], processor)
    np.testing.assert_array_equal(plain[1]["pixel_values"], processor(PIXELS[1])["pixel_values"][0])


def test_labels_that_do_not_fit():
    with pytest.raises(ValueError, match="12 pictures and 2 labels"):
        ImageDataset(PIXELS, [0, 1], ["a", "b"])
    for label in (0.5, "1", None):
        with pytest.raises(ValueError, match=f"the labels are such as {label!r}; expected class numbers"):
            ImageDataset(PIXELS, [label] * 12, ["a", "b"])
    with pytest.raises(ValueError, match="labels are from 0 to 2; expected 0 to 1"):
        ImageDataset(PIXELS, [0, 1, 2] * 4, ["a", "b"])


def cut(path, part=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])


class Harm:
    def __reduce__(self):
        return os.system, ("true",)


def damage(root, what):
    """Make something damaged in a directory; returns the path to read and the name that the error must have."""
    if what == "nothing there":
        return root / "nowhere", "nowhere: no such file or directory"
    if what == "no folders":
        (root / "a.txt").write_text("")
        return root, f"{root.name}: no folders in it"
    if what == "an empty folder":
        folder(root)
        (root / "bird").mkdir()
        return root, "bird: no picture in it"
    if what in ("a cut PNG", "a cut JPEG"):
        ending = what[-4:].strip().lower()
        folder(root, ending=ending)
        cut(root / "dog" / f"1.{ending}")
        return root, f"1.{ending} was not read as a picture"
    if what == "text called a picture":
        folder(root)
        (root / "dog" / "1.png").write_text("hello")
        return root, "1.png is not a picture that Pillow can read"
    if what == "an empty picture":
        folder(root)
        (root / "dog" / "1.png").write_bytes(b"")
        return root, "1.png is not a picture that Pillow can read"
    if what == "two folders for a split":
        folder(root / "train"), folder(root / "training")
        return root, "2 of its folders train, training are for the split train"
    if what == "a row without its picture":
        folder(root / "p")
        (root / "a.csv").write_text("path,label\np/cat/0.png,x\np/cat/9.png,y\n")
        return root / "a.csv", "a.csv:3: .*9.png does not exist"
    if what == "a table without a column":
        (root / "a.csv").write_text("photo,label\nx.png,y\n")
        return root / "a.csv", "a.csv:1: no image column"
    if what == "a table without a label":
        folder(root / "p")
        (root / "a.csv").write_text("path,label\np/cat/0.png,\n")
        return root / "a.csv", "a.csv:2: the label is missing"
    if what == "an empty table":
        (root / "a.csv").write_text("path,label\n")
        return root / "a.csv", "a.csv:1: the file holds no example; expected the name of a picture"
    if what == "a table of another format":
        (root / "a.xlsx").write_text("")
        return root / "a.xlsx", "a.xlsx: cannot tell the format"
    if what.startswith("MNIST"):
        mnist(root)
        images, labels = root / "train-images-idx3-ubyte", root / "train-labels-idx1-ubyte"
        if what == "MNIST, cut":
            cut(images)
            return root, "train-images-idx3-ubyte: its header declares 5 × 28 × 28, 3920 bytes, but there are"
        if what == "MNIST, too long":
            images.write_bytes(images.read_bytes() + b"x")
            return root, "train-images-idx3-ubyte: .* there are more"
        if what == "MNIST, other magic":
            images.write_bytes(b"PK\3\4" + images.read_bytes())
            return root, "train-images-idx3-ubyte: not an idx file: it begins with 50 4b 03 04"
        if what == "MNIST, exchanged":
            labels.write_bytes(images.read_bytes())
            return root, "train-labels-idx1-ubyte: uint8 of shape"
        if what == "MNIST, fewer labels":
            idx(labels, np.zeros(4, np.uint8))
            return root, "5 pictures, but 4 labels in"
        if what == "MNIST, no labels":
            labels.unlink()
            return root, "train-labels-idx1-ubyte: no such file"
        if what == "MNIST, empty":
            labels.write_bytes(b"")
            return root, "train-labels-idx1-ubyte: not an idx file: it begins with nothing"
        images.unlink()
        packed = idx(root / "train-images-idx3-ubyte.gz", RNG.integers(0, 256, (5, 28, 28), np.uint8))
        cut(packed)
        return root, "train-images-idx3-ubyte.gz: cannot be decompressed"
    if what.startswith("CIFAR"):
        cifar(root)
        if what == "CIFAR, cut":
            cut(root / "data_batch_3")
            return root, "data_batch_3: not a batch of CIFAR-10"
        if what == "CIFAR, one missing":
            (root / "data_batch_3").unlink()
            return root, "data_batch_3: no such file"
        if what == "CIFAR with a program":
            (root / "data_batch_3").write_bytes(pickle.dumps(Harm()))
            return root, "data_batch_3: not a batch of CIFAR-10 for Python .*posix.system|nt.system"
        if what == "CIFAR of 100 classes":
            (root / "data_batch_3").write_bytes(
                pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [57]}, 2)
            )
            return root, "data_batch_3: its labels are not whole numbers from 0 to 9"
    raise AssertionError(what)


@pytest.mark.parametrize(
    "what",
    [
        *("nothing there", "no folders", "an empty folder", "a cut PNG", "a cut JPEG", "text called a picture"),
        *("an empty picture", "two folders for a split", "a row without its picture", "a table without a column"),
        *("a table without a label", "an empty table", "a table of another format", "MNIST, cut", "MNIST, too long"),
        *("MNIST, other magic", "MNIST, exchanged", "MNIST, fewer labels", "MNIST, no labels", "MNIST, empty"),
        *("MNIST, damaged .gz", "CIFAR, cut", "CIFAR, one missing", "CIFAR with a program", "CIFAR of 100 classes"),
    ],
)
def test_what_is_damaged_is_refused_in_one_line(tmp_path, what):
    path, text = damage(tmp_path, what)
    with pytest.raises((ValueError, FileNotFoundError), match=text) as caught:
        read_images(path)
    assert "\n" not in str(caught.value)


def test_a_cut_binary_batch_is_refused(tmp_path):
    cifar(tmp_path, binary=True)
    cut(tmp_path / "data_batch_3.bin", 0.7)
    with pytest.raises(ValueError, match="data_batch_3.bin: 4302 bytes; expected a multiple of 3073"):
        read_images(tmp_path)


def test_what_follows_a_picture_does_no_harm(tmp_path):
    folder(tmp_path, ending="jpg")
    photo = tmp_path / "cat" / "0.jpg"
    photo.write_bytes(photo.read_bytes() + b"\0" * 200)
    assert len(read_images(tmp_path)) == 6
