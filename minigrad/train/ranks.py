"""How ranks share a run: each reads its own items, all start with the same weights, and all take the same actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np

from .. import backend
from ..data.passes import made, own_generators
from ..distributed import Communicator
from ..nn import Module
from ..optim import clip_grad_norm_, clip_grads_with_norm_
from ..optim.clip import NonFiniteError
from ..tensor import Tensor
from .batches import looks_at_padding
from .checkpoint import environment
from .state import TrainerControl

FLAGS = "should_training_stop", "should_epoch_stop", "should_save", "should_evaluate", "should_log"


class Indices:
    """A dataset whose items are their own indices, so that a rank can read only some of the items of a batch."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int:
        return index


class Share:
    """Reads the items of a rank's micro-batches of `size` items; None takes the place of other ranks' items."""

    def __init__(self, dataset: Any, size: int, world: Communicator):
        self.dataset, self.size, self.rank, self.ranks = dataset, size, world.rank, world.size

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        mine = [place // self.size % self.ranks == self.rank for place in range(len(indices))]
        own = iter(made((self.dataset, list), [i for i, is_mine in zip(indices, mine) if is_mine]).batch)
        return [next(own) if is_mine else None for is_mine in mine]


def shared(dataset: Any, size: int, world: Communicator) -> dict[str, Any]:
    """The arguments with which a DataLoader reads only this rank's items; a micro-batch has `size` items.

    Every rank reads all items if the dataset draws them from its own random generator, which must advance equally on
    all ranks, or if the loss depends on the padding of the rest of the batch.
    """
    if sharing(dataset, world).size == 1 or looks_at_padding(dataset[0]):
        return {"dataset": dataset}
    return {"dataset": Indices(dataset), "collate": Share(dataset, size, world)}


def begin_together(world: Communicator, model: Module, arguments: dict[str, Any], train_dataset: Any) -> None:
    """Check that all ranks have the same version, model, data and arguments, and broadcast the weights of rank 0.

    Raises:
        RankError: a rank has a different one.
    """
    if world.size == 1:
        return
    held, made = model.state_dict(), environment()
    world.agree("version", {name: made[name] for name in ("minigrad", "numpy")})
    world.agree("model", {name: (str(t.dtype), *t.shape) for name, t in held.items()})
    world.agree("choice of parameters to train", [name for name, p in model.named_parameters() if p.requires_grad])
    world.agree("set of arguments", arguments)
    world.agree("train_dataset", fingerprint(train_dataset))
    broadcast(world, held)


def broadcast(world: Communicator, tensors: dict[str, Any]) -> None:
    """Copy the values of Tensors from rank 0 to all ranks; a Tensor that has them already is not written."""
    for tensor in tensors.values() if world.size > 1 else ():
        home = backend.of(tensor.data)
        held = np.ascontiguousarray(home.to_numpy(tensor.data))
        there = held.reshape(-1).view(np.uint8)
        received = world.broadcast(there.copy())
        if not np.array_equal(received, there):  # a weight that is written counts as trained, and is saved
            tensor.copy_(received.view(held.dtype).reshape(tensor.shape))


def fingerprint(dataset: Any) -> tuple[int, ...]:
    """The length of a dataset and, unless its items are random, checksums of the first and the last item."""
    size = len(dataset)
    return (size,) if own_generators(dataset) else (size, crc32(repr((dataset[0], dataset[size - 1])).encode()))


def everywhere(world: Communicator, holds: Any) -> bool:
    """Whether something holds on every rank."""
    return not world.all_reduce(np.array([not holds], np.int64), "max")[0]


def clip_shared(world: Communicator, parameters: Sequence[Tensor], max_norm: float, error_if_nonfinite: bool) -> float:
    """`clip_grad_norm_`, where each rank has the gradients of some of the parameters and the norm is of all.

    Raises:
        NonFiniteError: on every rank, if the norm is infinite or not a number, and `error_if_nonfinite` is True.
    """
    own = float(clip_grad_norm_(parameters, math.inf))
    norm = math.sqrt(world.all_reduce(np.array([own * own]))[0])
    if error_if_nonfinite and not math.isfinite(norm):
        raise NonFiniteError(
            f"the gradients cannot be clipped: their norm over all ranks is {norm}; lower the learning rate, or look "
            "for log(0) or 0/0 in the loss"
        )
    clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def sharing(dataset: Any, world: Communicator) -> Communicator:
    """The communicator of the ranks that share a dataset; of this rank alone if the dataset has its own generator."""
    return Communicator() if own_generators(dataset) else world


def agree(world: Communicator, control: TrainerControl, signal: int | None) -> int | None:
    """Set on every rank the flags that the callbacks of any rank set; returns a signal that any of them received."""
    if world.size == 1:
        return signal
    wishes = np.array([*(getattr(control, flag) for flag in FLAGS), signal or 0], np.int64)
    *flags, received = world.all_reduce(wishes, "max").tolist()
    for flag, on in zip(FLAGS, flags):
        setattr(control, flag, bool(on))
    return received or None
