"""ResNet-50 looking at four pictures: one forward pass in evaluation, beside transformers' model with the same weights."""
from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import Row, in_turns, sides

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


def run(rounds: int = 11) -> list[Row]:
    from minigrad.pretrained import ResNetConfig, ResNetForImageClassification
    with TemporaryDirectory() as directory:
        ResNetForImageClassification(ResNetConfig(num_labels=1000), rng=0).save_pretrained(directory)
        with sides(with_minigrad, with_torch, given=(directory,)) as pair:
            return [Row("ResNet-50, 4 pictures of 224 × 224, forward", *in_turns(*pair, rounds=rounds), goal=1.67)]
