"""`minigrad quantize DIR --output OUT`: a model directory in 8 or 4 bits, and what that brings and costs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..execution import no_grad
from ..nn.quantized import QuantizationConfig
from ..pretrained import AutoModel, PretrainedModel
from ..pretrained.checkpoint.files import check_parent, model_directory
from ..pretrained.image import FILE as PROCESSOR_FILE
from ..pretrained.text.generation import Generates
from ..pretrained.text.tokenizer import FILES as TOKENIZER_FILES
from ..tasks import kind_of_model, task_named
from ..tasks.feature_extraction import POOLING_FILES
from ..tasks.language_modeling import LanguageModeling
from ..train.batches import agreed_collator, called, loss_and_logits, used_columns
from ..train.pipeline import Pipeline, pipeline
from .quantization import quantize
from .report import Report, sensitivity

MAX_CALIBRATION, MAX_LAYER_EXAMPLES = 256, 64  # items that are read to find scales, and what each layer costs
MAX_TOGETHER = 8  # items of a batch of these
BESIDE = (  # files other than the configuration and the weights that determine what a model answers
    *TOKENIZER_FILES,
    "spiece.model",
    "tokenizer.model",
    PROCESSOR_FILE,
    *POOLING_FILES,
)


def command(
    directory: str,
    output: str,
    weights: str = "int8",
    activations: str | None = None,
    keep: Sequence[str] = (),
    calibrate: str | None = None,
    eval: str | None = None,
    layers: bool = False,
) -> Report:
    """Quantise the model of a directory, save it to another, and print the report, which is kept there too.

    Args:
        weights, activations, keep: as in `QuantizationConfig`; `keep` are its modules_to_not_convert.
        calibrate: for static activations, a file as for finetune --train.
        eval: a file of examples that neither training nor `calibrate` has seen, for the scores.
        layers: also tell what each layer costs alone, on the first examples of `eval`.

    Raises:
        FileExistsError: `output` is there already.
        ValueError: options that do not go together, or what `quantize` refuses.
    """
    if Path(output).exists():
        raise FileExistsError(f"{output} exists already and was not overwritten: pass another name to --output")
    check_parent(output)
    config = QuantizationConfig(weights, activations, keep)
    if (activations == "static") != (calibrate is not None):
        raise ValueError("static activations and --calibrate FILE go together: give both or neither")
    if layers and eval is None:
        raise ValueError("--layers needs examples to compute losses on: give --eval FILE, too")
    kind = task_named(kind_of_model(directory)[1])
    if kind is None and (eval or calibrate):
        raise ValueError(f"the model in {directory} is for no task, so no file can be read for it: leave the file out")
    pipe = pipeline(kind.name, directory) if kind is not None and (eval or calibrate) else None
    model: Any = (
        pipe.task.model if pipe else (AutoModel if kind is None else kind.model_class).from_pretrained(directory)
    )
    if model.quantization is not None:
        raise ValueError(f"{directory} holds a model that is quantised to {model.quantization.weights} already")
    metric = "score"
    if pipe is not None and eval is not None:
        usual = "accuracy" if "accuracy" in pipe.task.metrics else pipe.task.metrics[0]
        metric = "perplexity" if isinstance(pipe.task, LanguageModeling) else usual

    def score(_: Any) -> float:
        assert pipe is not None and eval is not None
        return pipe.evaluate(eval)[metric]

    scored = None if eval is None else score
    report, batch = Report(metric), inputs_for(model)
    calibration = list(batches(pipe, calibrate, MAX_CALIBRATION)) if pipe is not None and calibrate else None
    report.measure("float32", model, batch, scored)
    if pipe is not None and eval is not None and layers:
        some = list(batches(pipe, eval, MAX_LAYER_EXAMPLES))
        report.layers = sensitivity(model, config, lambda model: mean_loss(model, some), batches=calibration or ())
    quantize(model, config, calibration)
    report.measure(weights, model, batch, scored)
    model.save_pretrained(output)
    for name in BESIDE:
        if (file := model_directory(directory) / name).is_file():
            Path(output, name).parent.mkdir(exist_ok=True)
            shutil.copyfile(file, Path(output, name))
    Path(output, "quantization.txt").write_text(f"{report}\n", encoding="utf-8")
    with suppress(ImportError):  # without matplotlib there is the table alone
        report.picture().savefig(Path(output, "quantization.png"))
    print(f"{report}\n\nThe model was written to {output}")
    return report


def batches(pipe: Pipeline, source: str, most: int) -> Iterator[Any]:
    """The first items of a file in small batches, as the model is called with them, labels included."""
    task = pipe.task
    dataset = task.encode(task.read(source))
    collate, used = agreed_collator(task.model, task.processor, task.collator()), used_columns(task.model, dataset[0])
    count = min(len(dataset), most)
    for first in range(0, count, MAX_TOGETHER):
        items = [dataset[i] for i in range(first, min(count, first + MAX_TOGETHER))]
        yield collate([{name: item[name] for name in used or item} for item in items])


def mean_loss(model: Any, some: Sequence[Any]) -> float:
    """The loss of a model, a mean over batches.

    Raises:
        ValueError: the model computes none.
    """
    with no_grad():
        losses = [loss_and_logits(called(model, batch))[0] for batch in some]
    if None in losses:
        raise ValueError(
            f"{type(model).__name__} computes no loss, so what a layer costs is not known: leave out --layers"
        )
    return float(np.mean([loss.item() for loss in losses]))


def inputs_for(model: PretrainedModel) -> Any:
    """Random inputs to measure speed with: a prompt of 32 tokens, eight texts of 128, or eight pictures."""
    c, rng = model.config, np.random.default_rng(0)
    if "vocab_size" not in vars(c):
        size = getattr(c, "image_size", 224)
        return {"pixel_values": rng.standard_normal((8, getattr(c, "num_channels", 3), size, size), np.float32)}
    shape = (1, 32) if isinstance(model, Generates) else (8, min(128, c.longest or 128))
    return {"input_ids": rng.integers(0, c.vocab_size, shape)}
