"""The demo, and the demo with its fine-tuning done by torch and transformers: accuracy on the test texts, and time.

Both run `tutorials/demo.py`, so the texts, the splits and the recipe are the same.  Each runs once, one after the
other, which takes many minutes.
"""

from __future__ import annotations

import math
import runpy
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import Points, Row, in_turns, sides

DEMO = Path(__file__).parents[1] / "tutorials" / "demo.py"


def with_minigrad() -> Iterator[Any]:
    from minigrad.train import finetune

    return demo(finetune)


def with_torch() -> Iterator[Any]:
    return demo(finetune_with_torch)


def demo(finetune: Callable) -> Iterator[Any]:
    """The demo's accuracy and the seconds of its fine-tuning; no numbers are compared before."""
    import minigrad.train

    seconds = 0.0

    def timed(*given: Any, **options: Any) -> None:
        nonlocal seconds
        start = time.perf_counter()
        finetune(*given, **options)
        seconds = time.perf_counter() - start

    yield
    yield None
    minigrad.train.finetune = timed  # this process does nothing else
    with TemporaryDirectory() as folder, chdir(folder), redirect_stdout(StringIO()):
        found = runpy.run_path(str(DEMO))
    yield sum(a == b for a, b in zip(found["true"], found["predicted"], strict=True)) / len(found["true"]), seconds


def finetune_with_torch(
    model_dir: Any,
    train: list,
    *,
    output: str,
    overwrite: bool,
    eval_fraction: float,
    max_length: int,
    **arguments: Any,
) -> None:
    """Fine-tune as `minigrad.train.finetune` does: the same batches, groups, schedule, clipping and best epoch."""
    import torch
    from transformers import BertForSequenceClassification, get_linear_schedule_with_warmup, logging

    from minigrad import data, metrics
    from minigrad.pretrained import AutoTokenizer
    from minigrad.train import TrainingArguments
    from minigrad.train.finetune import DEFAULTS

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    args = TrainingArguments(output, overwrite, **DEFAULTS | arguments)
    train, held_out = data.split(train, eval_fraction, args.seed)
    names, tokenizer = data.label_names(train), AutoTokenizer.from_pretrained(model_dir)
    collate = data.DataCollatorWithPadding(tokenizer.pad_token_id)

    def batches(examples: list, size: int, shuffle: bool) -> data.DataLoader:
        encodings = tokenizer([example.text for example in examples], padding=False, max_length=max_length)
        dataset = data.TextDataset(encodings, data.label_ids(examples, names))
        return data.DataLoader(
            dataset,
            size,
            shuffle,
            args.seed,
            lengths=dataset.lengths,
            collate=lambda items: {name: torch.from_numpy(array) for name, array in collate(items).items()},
        )

    torch.manual_seed(args.seed)
    model = BertForSequenceClassification.from_pretrained(
        model_dir,
        id2label=dict(enumerate(names)),
        dtype=torch.float32,
        label2id={name: i for i, name in enumerate(names)},
    )
    model.config.text_max_length = max_length
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) == many] for many in (True, False))
    groups = [{"params": matrices, "weight_decay": args.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate)
    loader = batches(train, args.per_device_train_batch_size, shuffle=True)
    watched = batches(held_out, args.per_device_eval_batch_size, shuffle=False)
    steps = len(loader) * args.num_train_epochs
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(args.warmup_ratio * steps), steps)
    best = -1.0
    for _ in range(args.num_train_epochs):
        model.train()
        for batch in loader:
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        model.eval()
        with torch.no_grad():
            answers = [(batch["labels"], model(**batch).logits.argmax(-1)) for batch in watched]
        score = metrics.f1(*(torch.cat(part).numpy() for part in zip(*answers)), num_classes=len(names))
        if score > best:
            best = score
            model.save_pretrained(output)
            tokenizer.save_pretrained(output)


def run(rounds: int = 1) -> list[Row]:
    """Run both once; `rounds` is ignored."""
    with sides(with_minigrad, with_torch) as (ours, theirs):
        in_turns(ours, theirs, rounds=1, warm_up=0)
    (right, seconds), (torch_right, torch_seconds) = ours.result, theirs.result
    return [
        Points("demo, test accuracy", [100 * right], [100 * torch_right], goal=1, unit="%"),
        Row("demo, time of the fine-tuning", [seconds], [torch_seconds]),
    ]
