"""What compression brings and what it costs: bytes, milliseconds, tokens per second and a score, as table and picture.

report = Report("perplexity")
report.measure("float32", model, batch, score)
report.measure("int8", quantize(model), batch, score)
print(report)
report.picture().savefig("report.png")
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ..execution import no_grad
from ..nn import Buffer, Module, Parameter
from ..nn.quantized import QuantizationConfig, QuantizedLinear, convert, quantizable
from ..nn.tree import walk
from ..pretrained.text.generation import Generates
from ..train.batches import called, without
from ..train.plots import new_figure
from .quantization import calibrate

NEW_TOKENS = 32  # that a language model writes to be measured
MAX_LAYERS = 24  # in the picture


@dataclass
class Measured:
    """A row of the report: a model of some name, its size, its speed, and how good it is."""

    name: str
    bytes: int  # of its parameters and buffers
    milliseconds: float  # of a forward pass, or of a token that a language model writes
    tokens_per_second: float
    score: float | None = None  # such as accuracy or perplexity, on data that the compression has not seen


@dataclass
class LayerCost:
    """What it costs to quantise or prune one layer alone, or several with one weight, and what it saves."""

    path: str
    loss: float  # with this layer changed, minus that without
    saved: int  # bytes


@dataclass
class Report:
    """The rows of several models, the first of which the others are compared with, and what hurts, layer by layer.

    Args:
        metric: what the score is, such as "accuracy" or "perplexity".
    """

    metric: str = "score"
    rows: list[Measured] = field(default_factory=list)
    layers: list[LayerCost] = field(default_factory=list)

    def measure(
        self, name: str, model: Module, batch: Any, score: Callable[[Any], float] | None = None, rounds: int = 3
    ) -> Measured:
        """Add a row for a model.

        Args:
            batch: what it is called with; for a language model that writes, the prompts, (B, T) ids or a dict of them.
            score: computes the score of a model.
            rounds: how often it is called; the median counts, of the time that the processor spent.
        """
        seconds, tokens_per_second = speed(model, batch, rounds)
        value = None if score is None else float(score(model))
        self.rows.append(Measured(name, size_of(model), 1e3 * seconds, tokens_per_second, value))
        return self.rows[-1]

    def __str__(self) -> str:
        head = ["model", "MB", "× size", "ms", "tokens/s", "× speed", self.metric]
        lines, first = [head], self.rows[0] if self.rows else None
        for row in self.rows:
            assert first is not None
            ratio = row.bytes / first.bytes, first.milliseconds / row.milliseconds
            numbers = f"{row.bytes / 1e6:.1f}", f"{ratio[0]:.2f}", f"{row.milliseconds:.1f}"
            score = "" if row.score is None else f"{row.score:.4f}"
            lines.append([row.name, *numbers, f"{row.tokens_per_second:.0f}", f"{ratio[1]:.2f}", score])
        told = aligned(lines)
        if self.layers:
            layers = sorted(self.layers, key=lambda layer: -layer.loss)
            rows = [[layer.path, f"{layer.loss:+.5f}", f"{layer.saved / 1e6:.2f}"] for layer in layers]
            told += "\n\n" + aligned([["changed alone", "loss", "MB saved"], *rows])
        return told

    def picture(self) -> Any:
        """A matplotlib Figure: size against score, a circle for each model, as large as its time; and what hurts.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: there is nothing to draw.
        """
        if not self.rows:
            raise ValueError("the report has no rows: type report.measure(name, model, batch) first")
        figure = new_figure(5 + 5 * bool(self.layers), 4)
        axes, *more = figure.subplots(1, 1 + bool(self.layers), squeeze=False)[0]
        longest = max(row.milliseconds for row in self.rows)
        for row in self.rows:
            x, y = row.bytes / 1e6, row.tokens_per_second if row.score is None else row.score
            axes.scatter(x, y, s=400 * row.milliseconds / longest, alpha=0.6)
            axes.annotate(row.name, (x, y), textcoords="offset points", xytext=(6, 6))
        unscored = any(row.score is None for row in self.rows)
        axes.set(xlabel="MB", ylabel="tokens per second" if unscored else self.metric, title="area: time")
        axes.margins(0.25)
        for second in more:
            layers = sorted(self.layers, key=lambda layer: layer.loss)[-MAX_LAYERS:]
            second.barh([layer.path for layer in layers], [layer.loss for layer in layers])
            second.tick_params(axis="y", labelsize=6)
            second.set(xlabel="loss, with this layer alone changed", title="what hurts")
        return figure


def aligned(lines: list[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        ).rstrip()
        for line in lines
    )


def size_of(model: Module) -> int:
    """The bytes of a model's parameters and buffers, each once."""
    return sum({id(t): t.data.nbytes for _, t in walk(model) if isinstance(t, (Parameter, Buffer))}.values())


def speed(model: Any, batch: Any, rounds: int) -> tuple[float, float]:
    """(seconds, tokens a second) of a forward pass, or, of a language model that writes, of a new token."""
    inputs, _ = without(batch)
    ids: Any = inputs.get("input_ids") if isinstance(inputs, Mapping) else inputs
    ids = next(iter(inputs.values())) if ids is None else ids[0] if isinstance(ids, tuple) else ids
    writes, new = isinstance(model, Generates), NEW_TOKENS
    if writes:
        longest = model.config.longest or ids.shape[1] + new
        new = min(new, longest // 2)
        ids = ids[:, : longest - new]

    def run() -> None:
        if writes:
            model.generate(ids, max_new_tokens=new, eos_token_id=[])
        else:
            called(model, inputs)

    taken, training = [], model.training
    model.eval()
    try:
        with no_grad():
            run()
            for _ in range(rounds):
                start = time.process_time()
                run()
                taken.append(time.process_time() - start)
    finally:
        model.train(training)
    seconds = max(median(taken), 1e-9)
    return (seconds / new, len(ids) * new / seconds) if writes else (seconds, math.prod(ids.shape[:2]) / seconds)


def sensitivity(
    model: Any,
    config: str | QuantizationConfig,
    loss: Callable[[Any], float],
    paths: Iterable[str] = (),
    batches: Sequence[Any] = (),
) -> list[LayerCost]:
    """What each layer costs: the model's loss with this layer alone quantised, minus the loss without.

    Args:
        model: not quantised; it is unchanged afterwards.
        config: "int8", "int4" or a `QuantizationConfig`.
        loss: computes the loss of a model, on data that is not used for anything else.
        paths: the layers to try, by their paths; all by default.
        batches: for static activations, what `calibrate` is given.
    """
    config, named = QuantizationConfig.of(config), {}
    for path, layer in model.named_modules():
        named.setdefault(id(layer), path)
    groups: dict[int, list[Any]] = {}
    for layer in quantizable(model, config):
        groups.setdefault(id(layer.weight), []).append(layer)
    before, found, wanted = float(loss(model)), [], set(paths)
    for layers in groups.values():
        if wanted and not any(named[id(layer)] in wanted for layer in layers):
            continue
        weight, size = layers[0].weight, size_of(model)
        convert(layers, config)
        model.quantization = config
        try:
            if any(isinstance(layer, QuantizedLinear) and layer.activations == "static" for layer in layers):
                calibrate(model, batches)
            cost = float(loss(model)) - before
            found.append(LayerCost(named[id(layers[0])], cost, size - size_of(model)))
        finally:
            for layer in layers:
                layer.dequantize()
                layer.weight = weight
            model.quantization = None
    return found
