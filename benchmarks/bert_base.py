"""A forward pass of BERT-base, with random weights, over eight texts of 128 tokens."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import Row, sides
from .training import attention, linear, main, multiplying, paired

SIZES = {"batch": 8, "tokens": 128}


def with_minigrad(directory: str, batch: int, tokens: int) -> Iterator[Any]:
    from minigrad import no_grad
    from minigrad.pretrained import BertModel

    with no_grad():
        yield from work(BertModel.from_pretrained(directory), lambda array: array, batch, tokens)


def with_torch(directory: str, batch: int, tokens: int) -> Iterator[Any]:
    import torch
    from transformers import BertModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with torch.no_grad():
        yield from work(BertModel.from_pretrained(directory).eval(), torch.from_numpy, batch, tokens)


def work(model: Any, tensor: Any, batch: int, tokens: int) -> Iterator[Any]:
    import numpy as np

    ids = tensor(np.random.default_rng(0).integers(0, model.config.vocab_size, (batch, tokens)))
    yield
    yield model(ids).last_hidden_state.numpy()[:, 0].ravel().tolist()
    while True:
        model(ids)
        yield


def products_alone(directory: str, batch: int, tokens: int) -> Iterator[None]:
    from minigrad.pretrained import BertConfig
    from minigrad.pretrained.checkpoint.files import read_config

    c, rows = BertConfig.from_dict(read_config(directory)), batch * tokens
    D, inner = c.hidden_size, c.intermediate_size
    layer = [
        *linear(rows, D, D)[:1] * 4,
        *attention(batch, c.num_attention_heads, tokens, D // c.num_attention_heads)[1:3],
        *linear(rows, D, inner)[:1],
        *linear(rows, inner, D)[:1],
    ]
    return multiplying(layer * c.num_hidden_layers)


def run(rounds: int = 11, **sizes: int) -> list[Row]:
    from minigrad.pretrained import BertConfig, BertModel

    batch, tokens = (SIZES | sizes).values()
    with TemporaryDirectory() as directory:
        BertModel(BertConfig(), rng=0).save_pretrained(directory)
        with sides(
            with_minigrad, with_torch, products_alone, given=(directory, batch, tokens), tolerance=1e-3
        ) as works:
            return [paired(f"BERT-base forward, {batch} × {tokens} tokens", works, rounds, products_goal=1.25)]


if __name__ == "__main__":
    main("bert_base")
