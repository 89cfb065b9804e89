"""Greedy generation of one text by GPT-2 small, of the published size with random weights, with a cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import Row, in_turns, sides


@dataclass
class Writing:
    """The work of both sides."""

    directory: str
    prompt: int = 32  # tokens
    new: int = 64

    def ids(self) -> Any:
        import numpy as np

        return np.random.default_rng(0).integers(0, self.config()["vocab_size"], (1, self.prompt))

    def config(self) -> dict[str, Any]:
        import json

        return json.loads(Path(self.directory, "config.json").read_text())


def with_minigrad(given: Writing) -> Iterator[Any]:
    from minigrad.pretrained import GPT2LMHeadModel

    model, ids = GPT2LMHeadModel.from_pretrained(given.directory), given.ids()
    return writing(lambda: model.generate(ids, max_new_tokens=given.new, eos_token_id=[]))


def with_torch(given: Writing) -> Iterator[Any]:
    import torch
    from transformers import GPT2LMHeadModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, ids = (
        GPT2LMHeadModel.from_pretrained(given.directory, dtype=torch.float32).eval(),
        torch.from_numpy(given.ids()),
    )
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
    return writing(
        lambda: model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=given.new, do_sample=False)
    )


def writing(generate: Any) -> Iterator[Any]:
    """Generate the tokens, and again for each `next`."""
    yield
    yield [float(token) for token in generate()[0]]
    while True:
        generate()
        yield


def products_alone(given: Writing) -> Iterator[None]:
    """Every weight of the model times one vector for each token, a lower bound for generation in float32."""
    import numpy as np

    config, rng = given.config(), np.random.default_rng(0)
    D, inner = config["n_embd"], config.get("n_inner") or 4 * config["n_embd"]
    shapes = [(3 * D, D), (D, D), (inner, D), (D, inner)] * config["n_layer"] + [(config["vocab_size"], D)]
    weights = [rng.random(shape, np.float32) for shape in shapes]
    vectors = {size: rng.random((1, size), np.float32) for size in (D, inner)}
    yield
    yield None  # no tokens to compare
    while True:
        for _ in range(given.new):
            for weight in weights:
                vectors[weight.shape[1]].dot(weight.T)
        yield


def run(rounds: int = 7) -> list[Row]:
    from minigrad.pretrained import GPT2Config, GPT2LMHeadModel

    with TemporaryDirectory() as directory:
        GPT2LMHeadModel(GPT2Config(), rng=0).save_pretrained(directory)
        given = Writing(directory)
        with sides(with_minigrad, with_torch, products_alone, given=(given,), tolerance=0) as works:
            mine, torchs, floor = (
                [seconds / given.new for seconds in side] for side in in_turns(*works, rounds=rounds)
            )
            ours, theirs, _ = works
    return [
        Row(
            f"GPT-2 small, a token of {given.new} after {given.prompt}",
            mine,
            torchs,
            goal=0.66,
            products=floor,
            memory=(ours.peak, theirs.peak),
        )
    ]
