"""Products of two inputs and a weight, and of an input and a weight that an adapter of low rank changes."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..builtin import builtin
from ..primitive import definition
from ..tensor import shaped


@builtin(in_float32="halves", autocast="half")
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """input1ᵀ W input2 + bias for each output's matrix W: (…, A) and (…, B) to (…, O); `weight` is (O, A, B).

    Raises:
        ValueError: the shapes do not belong together.
    """
    input1, input2, weight = (shaped(x, "bilinear") for x in (input1, input2, weight))
    one, two, layout = tuple(input1.shape), tuple(input2.shape), tuple(weight.shape)
    if len(layout) != 3 or not one or one[:-1] != two[:-1] or one[-1:] + two[-1:] != layout[1:]:
        raise ValueError(
            f"bilinear: (…, A), (…, B) and a weight (O, A, B) are needed, these have {one}, {two} and {layout}"
        )
    bias = bias if bias is None else shaped(bias, "bilinear")
    if bias is not None and tuple(bias.shape) != layout[:1]:
        raise ValueError(f"bilinear: the bias has shape {tuple(bias.shape)}, but there are {layout[0]} outputs")
    y = ops.einsum("...a,oab,...b->...o", input1, weight, input2)
    return y if bias is None else y + bias


@builtin(in_float32="halves and integers")
@definition
def lora_linear(x, weight, bias, a, b, /, scale):
    """x (W + scale · B A)ᵀ + bias, with W (out, in), A (r, in) and B (out, r) (LoRA, Hu et al. 2021, eq. 3).

    The kernel multiplies x by the sum, which takes no longer than by W alone; the gradients of A and B are computed
    without that of W.
    """
    return ops.linear(x, weight, bias) + ops.linear(ops.linear(x, a) * scale, b)


lora_linear.in_symbols(
    x="g (W + s B A)", weight="gᵀ x", bias="Σ g over all but the last axis", a="s (g B)ᵀ x", b="s gᵀ (x Aᵀ)"
)
