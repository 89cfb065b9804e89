"""What ranks share of a run: each reads its own items, all begin with the same weights and do the same things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np

from .. import backend
from ..data.passes import made, own_generators
from ..distributed import Communicator
from ..nn import Module
from .batches import looks_at_padding
from .state import TrainerControl

FLAGS = "should_training_stop", "should_epoch_stop", "should_save", "should_evaluate", "should_log"


class Indices:
    """A dataset whose items are their own indices, so that a batch can be made of some of its items alone."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int:
        return index


class Share:
    """Reads the items of a rank's micro-batches, of `size` items each; None stands for the items of other ranks."""

    def __init__(self, dataset: Any, size: int, world: Communicator):
        self.dataset, self.size, self.rank, self.ranks = dataset, size, world.rank, world.size

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        mine = [place // self.size % self.ranks == self.rank for place in range(len(indices))]
        own = iter(made((self.dataset, list), [i for i, is_mine in zip(indices, mine) if is_mine]).batch)
        return [next(own) if is_mine else None for is_mine in mine]


def shared(dataset: Any, size: int, world: Communicator) -> dict[str, Any]:
    """What a DataLoader is given so that a rank reads its own items only; `size` is that of a micro-batch.

    All are read on every rank if they are drawn from a random generator of the dataset, which must see all of them, or
    if the loss depends on how far others of a batch are padded.
    """
    if sharing(dataset, world).size == 1 or looks_at_padding(dataset[0]):
        return {"dataset": dataset}
    return {"dataset": Indices(dataset), "collate": Share(dataset, size, world)}


def begin_together(world: Communicator, model: Module, arguments: dict[str, Any], train_dataset: Any) -> None:
    """Check that every rank has the same model and data, and give them all the weights of rank 0.

    Raises:
        RankError: a rank has something else.
    """
    if world.size == 1:
        return
    held = model.state_dict()
    world.agree("model", {name: (str(t.dtype), *t.shape) for name, t in held.items()})
    world.agree("choice of parameters to train", [name for name, p in model.named_parameters() if p.requires_grad])
    world.agree("set of arguments", arguments)
    world.agree("train_dataset", fingerprint(train_dataset))
    broadcast(world, held)


def broadcast(world: Communicator, tensors: dict[str, Any]) -> None:
    """Let Tensors hold on every rank what they hold on rank 0; what holds it already is not written into."""
    for tensor in tensors.values() if world.size > 1 else ():
        home = backend.of(tensor.data)
        held = np.ascontiguousarray(home.to_numpy(tensor.data))
        there = held.reshape(-1).view(np.uint8)
        received = world.broadcast(there.copy())
        if not np.array_equal(received, there):  # a weight that is written into counts as trained, and is saved
            tensor.copy_(received.view(held.dtype).reshape(tensor.shape))


def fingerprint(dataset: Any) -> tuple[int, ...]:
    """The length of a dataset and, unless they are drawn by chance, a check of its first and last item."""
    size = len(dataset)
    return (size,) if own_generators(dataset) else (size, crc32(repr((dataset[0], dataset[size - 1])).encode()))


def sharing(dataset: Any, world: Communicator) -> Communicator:
    """The ranks among whom a dataset is shared out: every rank reads all of one that draws from its own generator."""
    return Communicator() if own_generators(dataset) else world


def agree(world: Communicator, control: TrainerControl, signal: int | None) -> int | None:
    """Do on every rank what the callbacks of one ask for; returns the signal that any of them has received."""
    if world.size == 1:
        return signal
    wishes = np.array([*(getattr(control, flag) for flag in FLAGS), signal or 0], np.int64)
    *flags, received = world.all_reduce(wishes, "max").tolist()
    for flag, on in zip(FLAGS, flags):
        setattr(control, flag, bool(on))
    return received or None
