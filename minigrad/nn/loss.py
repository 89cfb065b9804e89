"""The losses as modules that keep their options; each calls its function in `minigrad.losses`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import losses
from ..losses.checks import check_reduction
from .module import Buffer, Module


class Loss(Module):
    """A loss whose options are given to the constructor and whose inputs are given to the call.

    Options are given by name, the first few also by position, where torch has them in the same place.  As in torch
    `weight` and `pos_weight` are buffers: they move with the module and are saved with it.

    Raises:
        TypeError: the function has no such option.
        ValueError: the function has no such reduction.
    """

    function: Callable
    options: tuple[str, ...]
    by_position: int  # how many of the options may be given by position

    def __init__(self, *given: Any, **named: Any):
        if len(given) > self.by_position or named.keys() - set(self.options[len(given) :]):
            first, rest = self.options[: self.by_position], self.options[self.by_position :]
            got = [*map(repr, given), *(f"{name}={value!r}" for name, value in named.items())]
            takes = ", ".join([*first, *(f"{name}=…" for name in rest)])
            raise TypeError(f"{type(self).__name__} takes {takes}, each once, but was given {', '.join(got)}")
        for name, value in {**dict(zip(self.options, given)), **named}.items():
            if name.endswith("weight") and value is not None:
                value = Buffer(losses.constant(type(self).__name__, name, value))
            elif name == "reduction":
                check_reduction(self.function.__name__, str(value))
            setattr(self, name, value)

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs, **{name: value for name, value in vars(self).items() if name in self.options})


def _module_of(function: Callable, name: str, inputs: int = 2) -> type[Loss]:
    """A module that calls `function`; its options are the parameters after the inputs."""
    code = function.__wrapped__.__code__  # (`builtin` wraps every loss)
    options = code.co_varnames[inputs : code.co_argcount + code.co_kwonlyargcount]
    doc = f"`losses.{function.__name__}`, with its options: {', '.join(options)}."
    return type(
        name,
        (Loss,),
        {
            "function": staticmethod(function),
            "options": options,
            "by_position": code.co_argcount - inputs,
            "__doc__": doc,
            "__module__": __name__,
        },
    )


CrossEntropyLoss = _module_of(losses.cross_entropy, "CrossEntropyLoss")
NLLLoss = _module_of(losses.nll_loss, "NLLLoss")
BCELoss = _module_of(losses.binary_cross_entropy, "BCELoss")
BCEWithLogitsLoss = _module_of(losses.binary_cross_entropy_with_logits, "BCEWithLogitsLoss")
MSELoss = _module_of(losses.mse_loss, "MSELoss")
L1Loss = _module_of(losses.l1_loss, "L1Loss")
HuberLoss = _module_of(losses.huber_loss, "HuberLoss")
SmoothL1Loss = _module_of(losses.smooth_l1_loss, "SmoothL1Loss")
KLDivLoss = _module_of(losses.kl_div, "KLDivLoss")
CosineEmbeddingLoss = _module_of(losses.cosine_embedding_loss, "CosineEmbeddingLoss", 3)
CTCLoss = _module_of(losses.ctc_loss, "CTCLoss", 4)
MarginRankingLoss = _module_of(losses.margin_ranking_loss, "MarginRankingLoss", 3)
HingeEmbeddingLoss = _module_of(losses.hinge_embedding_loss, "HingeEmbeddingLoss")
SoftMarginLoss = _module_of(losses.soft_margin_loss, "SoftMarginLoss")
MultiMarginLoss = _module_of(losses.multi_margin_loss, "MultiMarginLoss")
MultiLabelMarginLoss = _module_of(losses.multilabel_margin_loss, "MultiLabelMarginLoss")
MultiLabelSoftMarginLoss = _module_of(losses.multilabel_soft_margin_loss, "MultiLabelSoftMarginLoss")
TripletMarginLoss = _module_of(losses.triplet_margin_loss, "TripletMarginLoss", 3)
TripletMarginWithDistanceLoss = _module_of(losses.triplet_margin_with_distance_loss, "TripletMarginWithDistanceLoss", 3)
PoissonNLLLoss = _module_of(losses.poisson_nll_loss, "PoissonNLLLoss")
GaussianNLLLoss = _module_of(losses.gaussian_nll_loss, "GaussianNLLLoss", 3)
