"""ResNet-50 looking at four pictures: one forward pass in evaluation, beside transformers' model with the same weights."""
from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import Row, sides
from .training import main, multiplying, paired

SHAPE = 4, 3, 224, 224


def with_minigrad(directory: str) -> Iterator[Any]:
    from minigrad import Tensor, no_grad
    from minigrad.pretrained import ResNetForImageClassification
    with no_grad():
        yield from work(ResNetForImageClassification.from_pretrained(directory), Tensor)


def with_torch(directory: str) -> Iterator[Any]:
    import torch
    from transformers import ResNetForImageClassification
    with torch.no_grad():
        yield from work(ResNetForImageClassification.from_pretrained(directory).eval(), torch.from_numpy)


def work(model: Any, tensor: Any) -> Iterator[Any]:
    import numpy as np
    pictures = tensor(np.random.default_rng(0).standard_normal(SHAPE, np.float32))
    yield
    logits = model(pictures).logits.numpy()
    yield (logits / np.abs(logits).max()).ravel().tolist()
    while True:
        model(pictures)
        yield


def products_alone(directory: str) -> Iterator[None]:
    """A convolution is, for each picture, a product with one column for each place."""
    from minigrad.pretrained import ResNetConfig
    from minigrad.pretrained.files import read_config
    c, (N, channels, height, _) = ResNetConfig.from_dict(read_config(directory)), SHAPE
    products, inputs, side = [(N, c.embedding_size, 49 * channels, (height // 2) ** 2)], c.embedding_size, height // 4
    for stage, (outputs, depth) in enumerate(zip(c.hidden_sizes, c.depths)):
        before, side = side, side // 2 if stage else side
        inner, places = outputs // 4, side**2
        products += [(N, outputs, inputs, places)]           # the shortcut
        for i in range(depth):
            products += [(N, inner, outputs if i else inputs, places if i else before**2), (N, inner, 9 * inner, places),
                         (N, outputs, inner, places)]
        inputs = outputs
    return multiplying(products)


def run(rounds: int = 15) -> list[Row]:
    from minigrad.pretrained import ResNetConfig, ResNetForImageClassification
    with TemporaryDirectory() as directory:
        ResNetForImageClassification(ResNetConfig(num_labels=1000), rng=0).save_pretrained(directory)
        with sides(with_minigrad, with_torch, products_alone, given=(directory,), tolerance=1e-3) as works:
            return [paired("ResNet-50 forward, 4 pictures of 224 × 224", works, rounds)]


if __name__ == "__main__":
    main("resnet")
