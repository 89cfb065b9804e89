"""The derivative rule of every op in symbols, as a textbook would write it.

g is the gradient that arrives, y the op's output.  What the code does stands beside each op, in `defvjp`; broadcasting
is undone by the tape, so no rule mentions it.
"""

from __future__ import annotations

from typing import Any

RULES: dict[str, dict[str, str]] = {  # by op and input; under "" what holds for every input
    # arithmetic
    "add": {"a": "g", "b": "g"},
    "subtract": {"a": "g", "b": "-g"},
    "multiply": {"a": "g · b", "b": "g · a"},
    "divide": {"a": "g / b", "b": "-g · y / b"},
    "negative": {"x": "-g"},
    "abs": {"x": "g · sign(x)"},
    "maximum": {"a": "g where a > b, g/2 where equal", "b": "g where b > a, g/2 where equal"},
    "minimum": {"a": "g where a < b, g/2 where equal", "b": "g where b < a, g/2 where equal"},
    "where": {"a": "g where the condition holds, else 0", "b": "g where it does not hold, else 0"},
    "astype": {"x": "g, in x's dtype"},
    "to_device": {"x": "g, sent back"},
    # elementwise
    "exp": {"x": "g · y"},
    "log": {"x": "g / x"},
    "log1p": {"x": "g / (1 + x)"},
    "expm1": {"x": "g · exp(x)"},
    "sqrt": {"x": "g / 2y"},
    "sin": {"x": "g · cos x"},
    "cos": {"x": "-g · sin x"},
    "tanh": {"x": "g · (1 - y²)"},
    "sigmoid": {"x": "g · sigmoid(x) · sigmoid(-x)"},
    "erf": {"x": "g · 2/√π · exp(-x²)"},
    "normal_cdf": {"x": "g · φ(x)"},
    "normal_pdf": {"x": "-g · x · y"},
    "relu": {"x": "g where y > 0, else 0"},
    "clip": {"x": "g where x was not held, else 0"},
    "softplus": {"x": "g · sigmoid(βx)"},
    "power_of": {"x": "g · n xⁿ⁻¹"},
    "power_by": {"x": "g · n xⁿ⁻¹", "exponent": "g · y log x"},
    # reductions
    "sum": {"x": "g, repeated along the axes that were summed"},
    "norm": {"x": "g · x / y"},
    "max": {"x": "g to the largest entries, in equal shares"},
    "min": {"x": "g to the smallest entries, in equal shares"},
    "logsumexp": {"x": "g · exp(x - y)"},
    "softmax": {"x": "y · (g - Σ g y)"},
    "log_softmax": {"x": "g - exp(y) Σ g"},
    "cumsum": {"x": "the sum of g from here to the end"},
    # shape and index
    "reshape": {"x": "g, in x's shape"},
    "broadcast_to": {"x": "g, summed over the axes that were stretched"},
    "swapaxes": {"x": "g, the axes swapped back"},
    "transpose": {"x": "gᵀ: the axes put back"},
    "concatenate": {"": "the piece of g where this input went"},
    "pad": {"x": "g, without the padding"},
    "take": {"x": "zeros, with g added in at the index"},
    "add_at": {"g": "g[index]"},
    "embedding": {"weight": "zeros, with each row of g added in at its id"},
    "gather": {"x": "zeros, with g added in at the ids"},
    "put_along": {"g": "the entries of g at the ids"},
    # products of matrices, convolution, pooling
    "matmul": {"a": "g bᵀ", "b": "aᵀ g"},
    "linear": {"x": "g W", "weight": "gᵀ x", "bias": "Σ g over all but the last axis"},
    "conv": {
        "x": "g, slid back over the filters",
        "weight": "what each entry of a filter saw, times g, summed",
        "bias": "Σ g over examples and places",
    },
    "conv_norm": {
        "x": "h, slid back over the filters times scale, with h = g where y > 0 if relu",
        "weight": "scale · W, with W what each entry of a filter saw, times h, summed",
        "scale": "Σ weight · W",
        "shift": "Σ h over examples and places",
        "more": "h",
    },
    "conv_input_grad": {
        "g": "conv(g, weight)",
        "weight": "what each entry of a filter saw of g, times the input, summed",
    },
    "conv_weight_grad": {"x": "the input, slid back over g", "g": "conv(x, g)"},
    "max_pool": {"x": "g to the largest entry of each window"},
    "collect": {"x": "g to all of each window, or to the entry chosen"},
    "spread": {"g": "the sum of g over each window, or its entry chosen"},
    # layers and losses that have a kernel, and so may stand on the tape as one step
    "gelu": {"x": "g · (Φ(h) + h φ(h)), with h = x + bias", "bias": "that, summed over all but the last axis"},
    "dropout": {"x": "g · keep / (1 - p)"},
    "relu6": {"x": "g where 0 < x < 6, else 0"},
    "per_channel": {
        "x": "g · weight",
        "weight": "Σ g x over all but the channels",
        "bias": "Σ g over all but the channels",
    },
    "batch_norm": {
        "x": "(h - mean h - x̂ · mean(h x̂)) / σ, with h = g · weight, means over the batch",
        "weight": "Σ g x̂",
        "bias": "Σ g",
    },
    "layer_norm": {"x": "(h - mean h - x̂ · mean(h x̂)) / σ, with h = g · weight", "weight": "Σ g x̂", "bias": "Σ g"},
    "scaled_dot_product_attention": {
        "q": "scale · S k, with S = P · (g vᵀ - Σ P g vᵀ), P = softmax(scale · q kᵀ)",
        "k": "scale · Sᵀ q",
        "v": "Pᵀ g",
        "mask": "S",
    },
    "cross_entropy": {"logits": "g · (softmax(logits) - target) · share of the mean"},
    "binary_cross_entropy": {"p": "g · (p - target) / (p (1 - p))", "target": "g · (log(1 - p) - log p)"},
    "ctc": {"log_probs": "-g · probability of being in each letter at each time"},
    **dict.fromkeys(("lstm", "gru", "rnn"), {"": "back through the steps in time, the last first"}),
}
OTHER_STEPS = {"checkpoint": "computed again, then back through what that made", "slot": "g"}


def rule(name: str, op: Any, input: str) -> str:
    """The rule of an op for one input.

    Of a user's op, whose symbols nobody wrote down, what its rule is a function of.
    """
    if op is None:
        return OTHER_STEPS.get(name, "g, carried back")
    if op.ours and name in RULES:
        return RULES[name].get(input) or RULES[name][""]
    if input in getattr(op, "rules", ()):
        return f"its own rule, of {', '.join(['g', *op.rules[input][1]])}"
    return "nothing: no rule was given" if hasattr(op, "rules") else "back through its definition"
