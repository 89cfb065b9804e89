"""Image classification: one label for each picture."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import functional as F
from ..data import ImageDataset, WeightedRandomSampler, image_transforms, label_ids, read_images, split
from ..data.images import has_test_split, unlabelled_images
from ..data.pictures import picture_of
from ..data.readers import label_name
from ..data.samplers import Sampler
from ..data.text import sorted_labels
from ..pretrained import AutoModelForImageClassification, PretrainedModel
from ..pretrained.config import PROBLEMS, Config
from ..pretrained.image import AutoImageProcessor
from ..tensor import Tensor
from .base import Task, best_labels, counts_table
from .text_classification import COLUMNS, MAX_CLASSES, METRICS, TextClassification, warn_of_missing

SINGLE = PROBLEMS[0]
PIXEL = (  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
AUGMENTATIONS: dict[str, Callable[[tuple[int, int]], Any]] = {  # each is called with the height and width to produce
    "crop": lambda size: image_transforms.RandomResizedCrop(size, (0.35, 1.0)),
    "flip": lambda size: image_transforms.RandomHorizontalFlip(),
    "rotate": lambda size: image_transforms.RandomRotation(15, "bilinear"),
    "affine": lambda size: image_transforms.RandomAffine(10, (0.1, 0.1), (0.9, 1.1), 10, "bilinear"),
    "color": lambda size: image_transforms.ColorJitter(0.4, 0.4, 0.4, 0.1),
}


class Picture(NamedTuple):
    """A picture, given as a path or a uint8 array, and the name of its class, None if that is to be predicted."""

    image: Any
    label: str | None

    @property
    def text(self) -> str:
        """The path, or a hash of the array, which identifies copies of the picture."""
        if isinstance(self.image, (str, os.PathLike)):
            return str(self.image)
        return hashlib.sha1(np.asarray(self.image).tobytes()).hexdigest()


@dataclass
class ImageClassification(Task):
    """Pictures with labels, as `minigrad.data.read_images` reads them: folders, files of paths, MNIST, CIFAR-10.

    A list of pairs (picture, label) is accepted too; a picture is a path, a Pillow image or a uint8 array.  A
    directory with a test part is evaluated on that part unless another file is given.

    Options:
        image_column, label_column: the columns of a file of paths, if not "image", "path" or "file_name", and "label".
        augmentation: the random changes of training pictures, names of `AUGMENTATIONS` separated by commas, such as
            "crop,flip,color"; or "none".  Flip only photographs: letters and digits become unreadable.
        balanced_sampling: draw each label equally often in training, with replacement.
    """

    image_column: str | None = None
    label_column: str | None = None
    augmentation: str = "crop"
    balanced_sampling: bool = False

    name = "image-classification"
    model_class = AutoModelForImageClassification
    answer_options: ClassVar[dict[str, Any]] = {"top_k": 3}
    sample_input = "picture.jpg"
    defaults: ClassVar[dict[str, Any]] = {"group_by_length": False, "per_device_eval_batch_size": 32}

    problem = SINGLE
    names = TextClassification.names
    scores_of_classes = TextClassification.scores_of_classes
    report = TextClassification.report

    def __post_init__(self):
        self.source: Path | None = None  # the directory that was read last
        self.training: Sequence[Picture] = ()  # the pictures that are augmented
        named = [] if self.augmentation == "none" else str(self.augmentation).replace(" ", "").split(",")
        for name in named:
            if name not in AUGMENTATIONS:
                raise ValueError(
                    f"augmentation is {self.augmentation!r}; expected 'none', or some of {', '.join(AUGMENTATIONS)}, "
                    "separated by commas"
                )
        self.changes = [AUGMENTATIONS[name] for name in named]

    @property
    def metrics(self) -> tuple[str, ...]:
        return METRICS[SINGLE]

    @property
    def columns(self) -> dict[str, str]:
        return COLUMNS[SINGLE]

    # Files to examples.

    def read_file(self, path: Path, labelled: bool) -> list[Picture]:
        if not labelled:
            return self.examples(unlabelled_images(path, self.image_column))
        is_evaluation = self.model is not None or self.source is not None  # the first file read is the training file
        return self.read_split(path, "test" if is_evaluation and has_test_split(path) else "train")

    def read_split(self, path: Path, part: str) -> list[Picture]:
        """The pictures of a file, or of one part of a directory, with the names of their classes."""
        self.source = path
        found = read_images(path, part, self.image_column, self.label_column)
        return [Picture(image, found.classes[i]) for image, i in zip(found.images, found.labels, strict=True)]

    def read_item(self, where: str, item: Any) -> Picture:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise ValueError(
                f"{where} is {str(item)[:60]!r}; expected a pair (picture, label), such as ('a.png', 'cat')"
            )
        return Picture(self.checked(where, item[0]), label_name(where, item[1]))

    def examples(self, inputs: Any, **options: Any) -> list[Picture]:
        several = isinstance(inputs, (list, tuple))
        if several and not inputs or inputs is None:
            raise ValueError("there is no picture; expected one or more")
        pictures = inputs if several else [inputs]
        return [Picture(self.checked(f"picture {i}", image), None) for i, image in enumerate(pictures, 1)]

    def sample(self) -> str:
        return PIXEL

    def received(self, inputs: Any) -> list[bytes] | bytes:
        """The files of pictures, which JSON holds in base64."""
        several = isinstance(inputs, list)
        files = [from_base64(f"picture {i}", text) for i, text in enumerate(inputs if several else [inputs], 1)]
        return files if several else files[0]

    def checked(self, where: str, image: Any) -> Any:
        """A picture as a path, an array or the bytes of a file.  Raises FileNotFoundError if there is no such file."""
        if isinstance(image, (str, os.PathLike)):
            if not Path(image).is_file():
                raise FileNotFoundError(f"{where}: there is no file {image}; expected a picture")
            return image
        return np.asarray(image) if hasattr(image, "convert") else image

    def key(self, example: Picture) -> str:
        return example.text

    def split(self, examples: Sequence[Picture], eval_fraction: float, seed: int) -> tuple[Sequence, Sequence]:
        if self.source is not None and has_test_split(self.source):
            return examples, self.read_split(self.source, "test")
        train, held_out = split(examples, eval_fraction, seed)  # type: ignore[arg-type]
        return train, held_out

    # Examples to a model and a dataset.

    def study(self, train: Sequence[Picture], eval: Sequence[Picture], config: Config) -> dict[str, Any]:
        self.training = train
        self.warn_of_overlap(train, eval, "pictures")
        names, own = sorted_labels(str(example.label) for example in train), config.id2label or {}
        if len(names) < 2:
            raise ValueError(
                f"all {len(train)} training pictures have the label {names[0]!r}: expected two labels or more"
            )
        if sorted(names) == sorted(own.values()):  # keep the order in which the rows of the model's head are
            names = list(own.values())
        for part in (train, eval):
            label_ids(part, names)  # type: ignore[arg-type]
        warn_of_missing(eval, names)  # type: ignore[arg-type]
        return {"id2label": dict(enumerate(names)), "problem_type": SINGLE}

    def load_processor(self, source: str | os.PathLike) -> AutoImageProcessor:
        return AutoImageProcessor.from_pretrained(source)

    def encode(self, examples: Sequence[Picture], labelled: bool = True) -> Any:
        images = [example.image for example in examples]
        if not labelled:
            return _Unlabelled(images, self.processor)
        transform = self.augmented() if examples is self.training else self.processor
        return ImageDataset(images, label_ids(examples, self.names), self.names, transform)  # type: ignore[arg-type]

    def augmented(self) -> Callable[..., Any]:
        """The transform of training pictures: the augmentation, then what the processor does after resizing."""
        if not self.changes:
            return self.processor
        settings = self.processor.settings
        size = settings["crop_size"] if settings["do_center_crop"] else settings["size"]
        edges = (size["shortest_edge"],) * 2 if "shortest_edge" in size else (size["height"], size["width"])
        steps: list[Any] = [picture_of, *(change(edges) for change in self.changes)]
        if not isinstance(steps[1], image_transforms.RandomResizedCrop):
            steps.insert(1, image_transforms.Resize(edges))
        steps.append(image_transforms.Rescale(settings["rescale_factor"] if settings["do_rescale"] else 1.0))
        if settings["do_normalize"]:
            steps.append(image_transforms.Normalize(settings["image_mean"], settings["image_std"]))
        return image_transforms.Compose(steps)

    def sampler(self, dataset: ImageDataset) -> Sampler | None:
        return WeightedRandomSampler.balanced(dataset.labels) if self.balanced_sampling else None

    def describe(self, train: Sequence[Picture], eval: Sequence[Picture]) -> str:
        counts = [np.bincount(label_ids(part, self.names), minlength=len(self.names)) for part in (train, eval)]  # type: ignore[arg-type]
        rows = list(zip(self.names, *(count.tolist() for count in counts)))[:MAX_CLASSES]
        table = counts_table([*rows, ("all", len(train), len(eval))], "class")
        if more := len(self.names) - len(rows):
            table.insert(-1, f"... and {more:,} more classes")
        return "\n".join(table)

    # Outputs to scores and answers.

    def scores(self, outputs: np.ndarray, labels: np.ndarray | None, dataset: Any) -> dict[str, Any]:
        if labels is None:
            raise ValueError("there are no labels to compare with; expected a label for each picture")
        return self.scores_of_classes(outputs, labels)

    def outputs(self, model: PretrainedModel, batch: Mapping[str, Any], out: Any = None, **options: Any) -> Tensor:
        return super().outputs(model, batch, out)

    def answers(
        self, outputs: np.ndarray, dataset: Any, top_k: int | None = 5, **options: Any
    ) -> list[list[dict[str, Any]]]:
        """The `top_k` best labels (None: all) of each picture, each {"label": name, "score": probability}."""
        return best_labels(np.asarray(F.softmax(outputs)), self.names, top_k)

    def record(self, example: Picture, answer: list[dict[str, Any]]) -> dict[str, Any]:
        scores = {one["label"]: one["score"] for one in answer}
        return {"image": example.text, "label": next(iter(scores)), "scores": scores}

    def format_answer(self, example: Picture, answer: list[dict[str, Any]]) -> str:
        return "\n".join([example.text, *(f"  {one['score']:6.1%}  {one['label']}" for one in answer)])


def from_base64(where: str, text: Any) -> bytes:
    """The bytes that a text in base64 stands for, which may begin as a data: URL does."""
    if not isinstance(text, str):
        raise TypeError(f"{where} is {text!r:.60}; expected the bytes of a file in base64, as a text")
    try:
        return base64.b64decode(text.rpartition(",")[2], validate=True)
    except ValueError as error:
        raise ValueError(f"{where} is not in base64 ({error}); expected the bytes of a file") from None


class _Unlabelled:
    """Pictures without labels, as the processor prepares them."""

    def __init__(self, images: Sequence[Any], processor: AutoImageProcessor):
        self.images, self.processor = images, processor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": self.processor(self.images[index])["pixel_values"][0]}
