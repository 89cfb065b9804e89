"""Pruning: weights kept at zero, up to a sparsity that a training plan may raise; and smaller arrays.

The heads, channels and layers that matter least are removed; all other weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..finetune import PeftModel
from ..nn import Conv1d, Conv2d, Conv3d, Linear, Module
from ..nn.tree import Parameter
from ..nn.utils import prune
from ..patterns import check_matched, matches
from ..pretrained import PretrainedModel
from ..pretrained.blocks import blocks_of, head_sizes, layers_of, numbers_of, part, removed_heads
from ..train.batches import called, loss_and_logits
from .report import LayerCost

PRUNABLE = Linear, Conv1d, Conv2d, Conv3d


class Chosen:
    """The pruned parameters by their names, out of sight of a walk through the model, which they belong to already."""

    def __init__(self, named: dict[str, tuple[Module, str]]):
        self.named = named


class Pruning(Module):
    """Magnitude pruning of a model: the smallest weights are zero, and stay so while the others are trained.

        pruning = Pruning(model, sparsity=0.5)      half of the weights at once

        Pruning(model)                              or little by little, in a run with this plan
        plan = Plan().at(0.1, set("pruning", sparsity=cubic(0, 0.5, stairs=10), over=0.6))

    It is the model's attribute `pruning`, whose setting `sparsity` may be raised at any time, by a plan too; the value
    0.5 means that half of all chosen weights are zero.  The masks are those of `minigrad.nn.utils.prune`;
    `save_pretrained` and checkpoints keep them.

    Args:
        model: whose weights are pruned.
        patterns: of the parameters, such as "bert.encoder.**.weight"; by default those with a mask, and the weights of
            all Linear and Conv layers, except those that share an embedding and a pretrained model's pooler and head.
        scope: "global": the smallest of all together (Han et al. 2015); "layer": as many of each parameter; or a
            pattern such as "2:4", of which sparsity 0.5 keeps the 2 largest of each 4 neighbours.
        sparsity: what to prune at once.

    Raises:
        ValueError: a pattern matches no parameter, a parameter has two places in the model, or a value is out of range.
    """

    def __init__(self, model: Module, *patterns: str, scope: str = "global", sparsity: float = 0.0):
        if isinstance(model, PeftModel):
            raise ValueError(
                "this model has adapters: type model.merge_and_unload() or model.unload() first, or prune the model "
                "and give it adapters then"
            )
        self.scope, self.pattern = scope, _pattern(scope)
        self._chosen = Chosen(_chosen(model, patterns))
        for module, name in self._chosen.named.values():
            prune.identity(module, name)
        vars(self)["sparsity"] = self.pruned_fraction()
        model.pruning = self  # type: ignore[attr-defined]
        if sparsity:
            self.sparsity = sparsity

    @property
    def sparsity(self) -> float:
        """The part of the chosen weights that is zero.  Raise it to prune more; pruned weights do not come back."""
        return vars(self)["sparsity"]

    @sparsity.setter
    def sparsity(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"sparsity is {value!r}; expected a fraction from 0.0 to 1.0")
        pairs = list(self._chosen.named.values())
        if self.pattern is not None:
            n, m = self.pattern
            if value not in (0, 1 - n / m):
                raise ValueError(f"sparsity is {value!r}, but {self.scope} means {1 - n / m:g}: set that")
            for pair in pairs if value else ():
                prune.semi_structured(*pair, n, m)
        else:
            for group in [pairs] if self.scope == "global" else [[pair] for pair in pairs]:
                self._prune(group, value)
        vars(self)["sparsity"] = value

    def _prune(self, pairs: list[tuple[Module, str]], value: float) -> None:
        """Prune up to a fraction of all entries of these parameters together."""
        masks = [prune.mask_of(*pair) for pair in pairs]
        total, kept = (sum(map(count, masks)) for count in (np.size, np.count_nonzero))
        more = round(value * total) - (total - kept)
        if more < 0:
            raise ValueError(
                f"sparsity is {value:g}, but {1 - kept / total:.4g} of the weights are pruned already, which do not "
                "come back: give a larger value, or prune a new copy of the model"
            )
        prune.global_unstructured(pairs, prune.L1Unstructured, amount=int(more))

    def pruned_fraction(self) -> float:
        """The part of the chosen weights that the masks keep at zero."""
        masks = [prune.mask_of(*pair) for pair in self._chosen.named.values()]
        return 1 - sum(map(np.count_nonzero, masks)) / sum(mask.size for mask in masks)

    def remove(self, model: Module) -> None:
        """Make the weights plain parameters again, zeros included, and take `pruning` away from the model."""
        for pair in self._chosen.named.values():
            prune.remove(*pair)
        delattr(model, "pruning")

    def __str__(self) -> str:
        """A row for each parameter: how many entries it has, and which part of them is zero."""
        width = max(map(len, self._chosen.named))
        rows = [f"{'parameter':{width}}  {'entries':>10}  {'zero':>6}"]
        for name, pair in self._chosen.named.items():
            mask = prune.mask_of(*pair)
            rows.append(f"{name:{width}}  {mask.size:10,}  {1 - mask.mean():6.1%}")
        return "\n".join(rows)


def pruning_sensitivity(
    model: Module, sparsity: float, loss: Callable[[Any], float], *patterns: str
) -> list[LayerCost]:
    """What each parameter costs: the model's loss with this one alone pruned to a sparsity, minus the loss without.

    `saved` counts the bytes of the entries that are zero then.  `Report.layers` shows the list.

    Args:
        model: unchanged afterwards.
        loss: computes the loss of a model, on data that is not used for anything else.
        patterns: of the parameters, as for `Pruning`.
    """
    before, found = float(loss(model)), []
    for name, (module, own) in _chosen(model, patterns).items():
        weight = getattr(module, own)
        if not weight.is_leaf:
            raise ValueError(f"{name} has a mask: type Pruning(model).remove(model), or measure a model without masks")
        array = weight.numpy().copy()
        kept = prune.L1Unstructured(float(sparsity)).compute_mask(array, np.ones(array.shape, bool))
        try:
            weight.copy_(np.where(kept, array, 0))
            found.append(LayerCost(name, float(loss(model)) - before, int((~kept).sum()) * array.itemsize))
        finally:
            weight.copy_(array)
    return found


def _pattern(scope: str) -> tuple[int, int] | None:
    """The numbers of a scope such as "2:4".  Raises ValueError for an unknown one."""
    kept, _, of = str(scope).partition(":")
    if kept.isdigit() and of.isdigit() and 0 < int(kept) < int(of):
        return int(kept), int(of)
    if scope not in ("global", "layer"):
        raise ValueError(f"scope is {scope!r}; expected 'global', 'layer' or a pattern such as '2:4'")
    return None


def _chosen(model: Module, patterns: tuple[str, ...]) -> dict[str, tuple[Module, str]]:
    """The parameters to prune by name, each as its module and its name there."""
    places: dict[int, list[str]] = {}
    named: dict[str, tuple[Module, str]] = {}
    usual, heads = [], model.heads if isinstance(model, PretrainedModel) else ()
    for path, module in model.named_modules():
        masked = getattr(type(module), "masked", ())
        own = vars(module) if isinstance(module, Module) else {}
        for name, value in [(name, value) for name, value in own.items() if isinstance(value, Parameter)]:
            name = name.removesuffix("_orig") if name.removesuffix("_orig") in masked else name
            full = f"{path}.{name}".lstrip(".")
            named[full] = module, name
            places.setdefault(id(value), []).append(full)
            is_usual = name == "weight" and isinstance(module, PRUNABLE) and not (heads and matches(heads, full))
            if is_usual or name in masked:
                usual.append(full)
    check_matched(patterns, named, f"parameter of {type(model).__name__}")
    shared = {name: names for names in places.values() for name in names if len(names) > 1}
    chosen = [name for name in named if matches(patterns, name)] if patterns else [n for n in usual if n not in shared]
    if not chosen:
        raise ValueError(f"{type(model).__name__} has no Linear or Conv layer to prune: name parameters by patterns")
    if twice := [name for name in chosen if name in shared]:
        raise ValueError(
            f"{' and '.join(shared[twice[0]])} are one parameter, which cannot have a mask in one place only"
        )
    return {name: named[name] for name in chosen}


# Structure: which heads and channels matter least, and a model without them.


def head_importance(model: PretrainedModel, batches: Iterable[Mapping[str, Any]] | None = None) -> list[np.ndarray]:
    """For each layer the importance of its heads, (heads,).

    It is the norm of the weights that read a head's output or, with batches (dicts of the model's arguments, labels
    included), the mean over them of |Σ w · ∂loss/∂w| over these weights: the change of the loss, to first order, if
    the head is left out (Michel, Levy & Neubig 2019, eq. 3, with batches for examples).

    Raises:
        ValueError: heads of this family cannot be removed, there is no batch, or the weights are frozen.
    """
    groups = [heads for heads, _ in head_sizes(model)]
    return _importance(model, blocks_of(model).merge, groups, batches)


def channel_importance(model: PretrainedModel, batches: Iterable[Mapping[str, Any]] | None = None) -> list[np.ndarray]:
    """For each layer the importance of the channels of its feed-forward network, (channels,); as `head_importance`."""
    path = blocks_of(model).contract
    return _importance(model, path, [part(layer, path).in_features for layer in layers_of(model)], batches)


def _importance(
    model: PretrainedModel, path: str, groups: list[int], batches: Iterable[Mapping[str, Any]] | None
) -> list[np.ndarray]:
    """The importance of the inputs of the Linear at a path of each layer, in that many groups."""
    readers = [vars(part(layer, path)) for layer in layers_of(model)]
    weights = [entries.get("weight_orig", entries.get("weight")) for entries in readers]
    if batches is None:
        squares = [np.square(part(layer, path).weight.numpy()) for layer in layers_of(model)]
        return [np.sqrt(square.sum(0).reshape(n, -1).sum(1)) for square, n in zip(squares, groups, strict=True)]
    if not all(weight.requires_grad for weight in weights):
        raise ValueError(f"the weights {path} of some layers are frozen: type model.unfreeze() to have their gradients")
    totals, count, training = [np.zeros(n) for n in groups], 0, model.training
    model.eval()
    for batch in batches:
        count += 1
        model.zero_grad()
        loss_and_logits(called(model, batch))[0].backward()
        for total, weight in zip(totals, weights, strict=True):
            total += np.abs((weight.numpy() * weight.grad.numpy()).sum(0).reshape(len(total), -1).sum(1))
    model.zero_grad()
    model.train(training)
    if not count:
        raise ValueError("there is no batch: give some with labels, or none at all for the norm of the weights")
    return [total / count for total in totals]


def shrink(
    model: PretrainedModel,
    *,
    heads: float = 0.0,
    channels: float = 0.0,
    layers: float = 0.0,
    batches: Iterable[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Remove fractions of a model's heads, channels and layers; what is left is faster and smaller.

    Of the heads of all layers together the least important are removed, but for one in each layer; of the channels as
    many of each layer; of the layers those in between, so that the others are evenly spaced and the last stays.

    Args:
        heads, channels, layers: fractions from 0.0 to below 1.0, rounded to whole numbers of each.
        batches: batches with labels for `head_importance` and `channel_importance`; by default the norm of the weights
            decides.

    Returns:
        What was removed, in the form that `prune_heads`, `prune_channels` and `prune_layers` of the model take.

    Raises:
        ValueError: a fraction is out of range, or the family cannot lose what is asked for.
    """
    for name, fraction in (("heads", heads), ("channels", channels), ("layers", layers)):
        if not 0 <= fraction < 1:
            raise ValueError(f"{name} is {fraction!r}; expected the fraction to remove, from 0.0 to below 1.0")
    given, removed = None if batches is None else list(batches), dict[str, Any]()
    if layers:
        depth = len(layers_of(model))
        kept = evenly(depth, max(1, round((1 - layers) * depth)))
        removed["layers"] = [i for i in range(depth) if i not in kept]
        model.prune_layers(removed["layers"])
    if heads:
        found, gone = head_importance(model, given), removed_heads(model)
        removed["heads"] = {
            i: [numbers_of(len(found[i]), gone.get(i, []))[place] for place in places]
            for i, places in _least(found, heads).items()
        }
        model.prune_heads(removed["heads"])
    if channels:
        found = channel_importance(model, given)
        removed["channels"] = {i: np.argsort(one)[: round(channels * len(one))].tolist() for i, one in enumerate(found)}
        model.prune_channels(removed["channels"])
    return removed


def evenly(depth: int, count: int) -> list[int]:
    """`count` of `depth` layers, evenly spaced, the last one among them: of 6 layers 3 are 1, 3 and 5."""
    return [(i + 1) * depth // count - 1 for i in range(count)]


def _least(importance: list[np.ndarray], fraction: float) -> dict[int, list[int]]:
    """The places of the least important of all layers together, but for the most important of each."""
    order = sorted((value, i, place) for i, one in enumerate(importance) for place, value in enumerate(one))
    wanted = round(fraction * len(order))
    best = {(i, int(one.argmax())) for i, one in enumerate(importance)}
    found: dict[int, list[int]] = {}
    for _, i, place in [entry for entry in order if entry[1:] not in best][:wanted]:
        found.setdefault(i, []).append(place)
    return found
