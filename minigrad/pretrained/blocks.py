"""Where the layers of a family are, with their heads and channels, and how a model gets fewer of them.

What is removed is gone: the arrays are smaller, and config.json says what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backend
from ..errors import is_whole
from ..nn import Module
from ..nn.tree import Tensor, followed

if TYPE_CHECKING:
    from .model import PretrainedModel

PRUNED_HEADS = "pruned_heads"  # the entry of config.json, as in transformers 4: {layer: its removed heads}


@dataclass(frozen=True)
class Blocks:
    """The paths of a family, those of `layers` from the base model and the others from a layer."""

    layers: str  # the list of layers
    depth: str  # the entry of the configuration with their number
    width: str  # the entry with the number of channels of a feed-forward network
    expand: tuple[str, ...]  # the Linears whose outputs are the channels
    contract: str  # the Linear whose inputs are
    attention: str = ""  # the module with the number of `heads`; empty where heads cannot be removed one by one
    project: tuple[str, ...] = ()  # the Linears whose outputs belong to heads
    merge: str = ""  # the Linear whose inputs do


def layers_of(model: PretrainedModel) -> list[Module]:
    """The layers of a model.  Raises ValueError for a family whose layers have no common form."""
    return followed(model.base_model, blocks_of(model).layers)[-1]


def blocks_of(model: PretrainedModel) -> Blocks:
    """Where the layers of a model are.  Raises ValueError for a family of another form, and if there are adapters."""
    if hasattr(model, "peft_config"):
        raise ValueError(
            "a model with adapters keeps its layers, heads and channels: type model.merge_and_unload() or "
            "model.unload() first"
        )
    if model.quantization is not None:
        raise ValueError("a quantised model keeps its layers, heads and channels: remove some before it is quantised")
    if (blocks := model.base_model.blocks) is None:
        raise ValueError(
            f"{type(model).__name__} cannot lose layers, heads or channels: expected a model of one stack of "
            "transformer layers, such as BERT or GPT-2"
        )
    return blocks


def head_sizes(model: PretrainedModel) -> list[tuple[int, int]]:
    """For each layer the number of its heads and the features of each.

    Raises ValueError for a family whose heads cannot be removed one by one.
    """
    blocks = blocks_of(model)
    if not blocks.attention:
        raise ValueError(
            f"{type(model).__name__} cannot lose heads, which share keys and values: remove layers or channels"
        )
    found = []
    for layer in layers_of(model):
        heads = part(layer, blocks.attention).heads
        found.append((heads, part(layer, blocks.merge).in_features // heads))
    return found


def part(layer: Module, path: str) -> Any:
    """The module at a path from a layer."""
    return followed(layer, path)[-1]


def remove_heads(model: PretrainedModel, heads: Mapping[int, Iterable[int]]) -> None:
    """Remove heads of layers; see `PretrainedModel.prune_heads`."""
    blocks, layers, sizes = blocks_of(model), layers_of(model), head_sizes(model)
    gone = {i: sorted(removed) for i, removed in removed_heads(model).items()}
    asked = checked_places(PRUNED_HEADS, heads, len(layers))
    for i, wanted in asked.items():
        own = numbers_of(sizes[i][0], gone.get(i, []))
        if unknown := [head for head in wanted if head not in own and head not in gone.get(i, ())]:
            raise ValueError(f"layer {i} has the heads {', '.join(map(str, own))}, and no head {unknown[0]}")
        kept = [place for place, head in enumerate(own) if head not in wanted]
        if not kept:
            raise ValueError(f"layer {i} would be left without a head: keep one, or remove the layer with prune_layers")
        gone[i] = sorted({*gone.get(i, ()), *wanted})
        asked[i] = kept
    for i, kept in asked.items():
        left, size = sizes[i]
        columns = np.add.outer(np.multiply(kept, size), np.arange(size)).ravel()
        for path in blocks.project:
            linear = part(layers[i], path)
            rows = np.add.outer(np.arange(0, linear.out_features, left * size), columns).ravel()
            keep(linear, rows, 0)
        keep(part(layers[i], blocks.merge), columns, 1)
        part(layers[i], blocks.attention).heads = len(kept)
    _note(model, gone)


def removed_heads(model: PretrainedModel) -> dict[int, list[int]]:
    """For each layer that lost some, the heads that were removed, by their first numbers."""
    return {int(i): list(heads) for i, heads in (model.config.rest.get(PRUNED_HEADS) or {}).items()}


def numbers_of(left: int, gone: Sequence[int]) -> list[int]:
    """The first numbers of the heads that are left in a layer."""
    return [head for head in range(left + len(gone)) if head not in gone]


def _note(model: PretrainedModel, gone: Mapping[int, Sequence[int]]) -> None:
    """Write into the configuration which heads were removed."""
    model.config.rest.pop(PRUNED_HEADS, None)
    if found := {str(i): [int(head) for head in heads] for i, heads in sorted(gone.items()) if heads}:
        model.config.rest[PRUNED_HEADS] = found


def as_configured(model: PretrainedModel) -> None:
    """Remove the heads of a newly made model that its configuration says were removed.

    Raises ValueError for an entry that names others than there are.
    """
    entry = model.config.rest.get(PRUNED_HEADS)
    if not entry:
        return
    try:
        heads = {int(i): removed for i, removed in entry.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{PRUNED_HEADS} is {entry!r:.80}; expected heads by layer, such as {{'0': [2, 5]}}") from None
    del model.config.rest[PRUNED_HEADS]
    remove_heads(model, heads)


def remove_channels(model: PretrainedModel, channels: Mapping[int, Iterable[int]]) -> None:
    """Remove channels of feed-forward networks; see `PretrainedModel.prune_channels`."""
    blocks, layers = blocks_of(model), layers_of(model)
    asked = checked_places("channels", channels, len(layers))
    counts = [len(asked.get(i, ())) for i in range(len(layers))]
    if len(set(counts)) > 1:
        raise ValueError(
            f"the layers would lose {', '.join(map(str, counts))} channels, but {blocks.width} in config.json is one "
            "number: remove as many from each layer"
        )
    for i, wanted in asked.items():
        width = part(layers[i], blocks.contract).in_features
        if wanted and (max(wanted) >= width or len(wanted) == width):
            raise ValueError(
                f"layer {i} has the channels 0 to {width - 1}, of which one at least must stay; {max(wanted)} and "
                f"{len(wanted) - 1} others were to be removed"
            )
    for i, wanted in asked.items():
        contract = part(layers[i], blocks.contract)
        kept = np.setdiff1d(np.arange(contract.in_features), wanted)
        for path in blocks.expand:
            keep(part(layers[i], path), kept, 0)
        keep(contract, kept, 1)
    setattr(model.config, blocks.width, part(layers[0], blocks.contract).in_features)


def remove_layers(model: PretrainedModel, layers: Iterable[int]) -> None:
    """Remove layers; see `PretrainedModel.prune_layers`."""
    blocks, stack, config = blocks_of(model), layers_of(model), model.config
    wanted = checked_places("layers", {0: layers}, 1)[0]
    kept = [i for i in range(len(stack)) if i not in wanted]
    if not kept or any(i >= len(stack) for i in wanted):
        raise ValueError(
            f"{type(model).__name__} has the layers 0 to {len(stack) - 1}, of which one at least must stay; "
            f"{', '.join(map(str, wanted))} were to be removed"
        )
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        raise ValueError(
            "with scale_attn_by_inverse_layer_idx a layer depends on its number, so that none can be removed"
        )
    gone = removed_heads(model)
    if "layer_types" in vars(config):  # which layers attend to a window only, here or by their number
        kinds = ["full_attention" if window is None else "sliding_attention" for window in config.windows]
        config.layer_types = [kinds[i] for i in kept]
    stack[:] = [stack[i] for i in kept]
    setattr(config, blocks.depth, len(kept))
    _note(model, {new: gone[old] for new, old in enumerate(kept) if old in gone})


def checked_places(what: str, given: Any, count: int) -> dict[int, list[int]]:
    """Numbers by layer, each list sorted, without repetition.

    Raises TypeError or ValueError for other than whole numbers from 0, and for a layer that is not there.
    """
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{what} is {given!r:.80}; expected a dict of lists by the number of the layer, such as {{0: [1, 2]}}"
        )
    found = {}
    for i, places in given.items():
        if not is_whole(i, 0) or i >= count:
            raise ValueError(f"{what} names layer {i!r}; expected a whole number from 0 to {count - 1}")
        places = list(places) if isinstance(places, Iterable) and not isinstance(places, str) else [places]
        if wrong := [place for place in places if not is_whole(place, 0)]:
            raise ValueError(f"{what} has {wrong[0]!r}; expected whole numbers, 0 or more")
        found[int(i)] = sorted({int(place) for place in places})
    return found


def keep(linear: Any, places: np.ndarray, axis: int) -> None:
    """Leave a Linear with those of its outputs (axis 0) or inputs (axis 1); a mask on its weight is cut, too."""
    for t in (t for t in vars(linear).values() if isinstance(t, Tensor) and t.ndim > axis):
        xp = backend.of(t.data).xp
        t.hold(xp.ascontiguousarray(xp.take(t.data, xp.asarray(places), axis)))
    if axis:
        linear.in_features = len(places)
    else:
        linear.out_features = len(places)
