"""Gradient checkpointing of whole models: the layers of their stacks are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..nn import Module
from ..nn.module import walk
from ..tensor import Tensor
from ..transforms import checkpoint


def stacks(model: Module) -> list[Module]:
    """The layers of the model's stacks: lists of two or more Modules of one class, each with submodules."""
    found = []
    for _, module in walk(model):
        if isinstance(module, Module):
            for value in vars(module).values():
                if (
                    isinstance(value, (list, tuple))
                    and len(value) > 1
                    and all(
                        isinstance(one, Module) and type(one) is type(value[0]) and len(one.modules()) > 1
                        for one in value
                    )
                ):
                    found += value
    return found


@contextmanager
def recompute_layers(model: Module, on: bool = True) -> Iterator[None]:
    """In the block, activations inside a layer of a stack are recomputed in the backward pass instead of kept.

    Raises ValueError if the model has no stack of layers.
    """
    layers = stacks(model) if on else []
    if on and not layers:
        raise ValueError(
            f"gradient_checkpointing=True, but {type(model).__name__} has no list of two or more layers of one "
            "class: leave it out, or call mg.checkpoint in its forward"
        )
    try:
        for layer in layers:
            layer.forward = partial(recomputed, layer, layer.forward)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def recomputed(layer: Module, forward: Any, *args: Any, **named: Any) -> Any:
    """The output of a layer; while it is trained, its intermediate values are not kept."""
    tensors = any(isinstance(one, Tensor) and one.requires_grad for one in (*args, *named.values()))
    if not layer.training or not tensors:
        return forward(*args, **named)
    return checkpoint(partial(forward, **named), *args)
