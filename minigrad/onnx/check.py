"""Does the file compute what the model does?  Both are run on the same batches, the file by onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from .. import pretrained
from ..execution import no_grad
from ..parity import families as parity
from ..pretrained.checkpoint.files import read_config
from ..pretrained.model import PretrainedModel
from .files import FAMILIES, export, is_of_texts, noise, tensors

TOLERANCE = 1e-5  # of the larger of 1 and the largest number: what float32 may differ by
HEAD = f"{'model':38} {'dtype':8} {'batch':>5} × {'length':8} {'difference':>10} {'largest':>8}"


class Row(NamedTuple):
    """One comparison: the largest difference between numbers of the outputs, and the largest of these numbers."""

    model: str
    sizes: tuple[int, ...]  # batch and length, or batch, height and width
    difference: float
    largest: float

    @property
    def ok(self) -> bool:
        """Whether the two are equal to the rounding of float32."""
        return self.difference <= TOLERANCE * max(1.0, self.largest)

    def __str__(self) -> str:
        batch, *sizes = self.sizes
        size = " × ".join(map(str, sizes))
        return f"{self.model:38} {'float32':8} {batch:5} × {size:8} {self.difference:10.1e} {self.largest:8.3g}"


def difference(model: PretrainedModel, path: str | os.PathLike, inputs: dict[str, np.ndarray]) -> tuple[float, float]:
    """The largest difference between an output of the model and of its file, and the largest number in the outputs.

    Raises ImportError if onnxruntime is not installed.
    """
    return _difference(model, _session(path), inputs)


def compared(
    model: PretrainedModel, path: str | os.PathLike, image_size: int | tuple[int, int] | None = None
) -> Iterator[Row]:
    """Compare a model with its file in batches of 1 to 5, of texts of several lengths up to the greatest.

    Raises ImportError if onnxruntime is not installed.
    """
    session, longest = _session(path), model.config.longest or 512
    for many, size in ((1, 3), (5, 16), (2, longest)) if is_of_texts(model) else ((1, image_size), (5, image_size)):
        inputs = noise(model, many, size)
        shape = next(iter(inputs.values())).shape
        yield Row(
            type(model).__name__,
            (many, *shape[-1 if is_of_texts(model) else -2 :]),
            *_difference(model, session, inputs),
        )


def command(directory: str, path: str, image_size: int | None) -> int:
    """Run `minigrad export DIR`.  Returns 0 if what was compared is equal, else 1."""
    model = _read(directory)
    if model.quantization is not None:
        raise ValueError(
            f"{directory} holds a model that is quantised to {model.quantization.weights}, which is not exported: "
            "give the model that it was made from, or save dequantize(model) first"
        )
    try:
        export(model, path, image_size=image_size)
    except NotImplementedError as error:
        raise ValueError(f"{directory}: {error}") from None
    print(f"{type(model).__name__} was written to {path}")
    try:
        rows = list(compared(model, path, image_size))
    except ImportError as error:
        print(f"It was not compared with the model: {error}")
        return 0
    print(HEAD, *rows, sep="\n")
    return int(not all(row.ok for row in rows))


def families(published: bool) -> int:
    """Export models of random weights of every family and compare them, tiny ones or those of the published sizes."""
    rows = []
    print(HEAD)
    for family in (family for name, family in parity.FAMILIES.items() if name in FAMILIES):
        for head in family.heads[:2][-1:] if published else family.heads:
            kind = getattr(pretrained, family.prefix + head)
            model = kind(kind.config_class.from_dict({} if published else family.size), rng=0).eval()
            with TemporaryDirectory() as directory:
                path = Path(directory) / "model.onnx"
                export(model, path)
                for row in compared(model, path):
                    print(row, flush=True)
                    rows.append(row)
    return int(not all(row.ok for row in rows))


def _read(directory: str) -> PretrainedModel:
    """The model of a directory, with the head that it was saved with."""
    named = (read_config(directory).get("architectures") or [""])[0]
    kind = getattr(pretrained, str(named), None)
    return (
        kind if isinstance(kind, type) and issubclass(kind, PretrainedModel) else pretrained.AutoModel
    ).from_pretrained(directory)


def _difference(model: PretrainedModel, session: Any, inputs: dict[str, np.ndarray]) -> tuple[float, float]:
    given: dict[str, Any] = dict(inputs)
    with no_grad():
        ours = {name: y.numpy() for name, y in tensors(model(**given)).items()}
    theirs = session.run([*ours], inputs)
    largest = np.max([[abs(a - b).max(), abs(a).max()] for a, b in zip(ours.values(), theirs, strict=True)], 0)
    return float(largest[0]), float(largest[1])


def _session(path: str | os.PathLike) -> Any:
    """The file, ready to be run."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f'running ONNX files requires onnxruntime ({error}): pip install "minigrad-learn[onnx]"'
        ) from None
    return onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
