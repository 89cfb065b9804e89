"""Weights in 8 and in 4 bits, which are read faster and take less memory: GPT-2 small writes, BERT-base reads.

GPT-2 is held to transformers in float32, BERT to minigrad in float32; all have random weights of the published sizes.
What is measured is the time of the processor, which other programs disturb less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import bert_base, generation
from .pairing import Row, Side, in_turns, sides

HEADING = "Quantised weights (processor time)"
FASTER = {"int8": 2.2, "int4": 3.0}  # tokens a second, times those of transformers in float32
FLOATS = "float32"
BERT_SPEED = 0.95  # of a forward pass in int8, times that in float32


def by_processor(work: Callable, *given: Any) -> Iterator[Any]:
    """The same work, that says after each unit how many seconds the processor spent on it."""
    units = work(*given)
    yield next(units)
    yield next(units)
    while True:
        start = time.process_time()
        next(units)
        yield time.process_time() - start


def writing(given: generation.Writing, kind: str) -> Iterator[Any]:
    from minigrad.pretrained import GPT2LMHeadModel

    model, ids = GPT2LMHeadModel.from_pretrained(Path(given.directory, kind)), given.ids()
    units = generation.writing(lambda: model.generate(ids, max_new_tokens=given.new, eos_token_id=[]))
    yield next(units)
    next(units)  # its tokens are those of rounded weights
    yield None
    yield from units


def reading(directory: str, batch: int, tokens: int, kind: str) -> Iterator[Any]:
    from minigrad import no_grad
    from minigrad.pretrained import BertModel

    with no_grad():
        units = bert_base.work(BertModel.from_pretrained(Path(directory, kind)), lambda array: array, batch, tokens)
        yield next(units)
        numbers = next(units)
        yield numbers if kind == FLOATS else None
        yield from units


def seconds(side: Side) -> float:
    side()
    found: Any = side.result
    return found


def run(rounds: int = 5, bert: tuple[int, int] = (8, 128), **sizes: int) -> list[Row]:
    from minigrad.pretrained import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

    with TemporaryDirectory() as directory:
        GPT2LMHeadModel(GPT2Config(), rng=0).save_pretrained(directory)
        for kind in FASTER:
            GPT2LMHeadModel.from_pretrained(directory, quantize=kind).save_pretrained(Path(directory, kind))
        given = generation.Writing(directory, **sizes)
        works = [generation.with_torch, *(partial(writing, kind=kind) for kind in FASTER)]
        with sides(*(partial(by_processor, work) for work in works), given=(given,)) as started:
            taken = in_turns(*(partial(seconds, side) for side in started), rounds=rounds)
            peaks = [side.peak for side in started]
    theirs, *ours = ([one / given.new for one in side] for side in taken)
    rows = [
        Row(
            f"GPT-2 small in {kind}, a token",
            mine,
            theirs,
            round(1 / faster, 3),
            "transformers",
            memory=(peak, peaks[0]),
        )
        for (kind, faster), mine, peak in zip(FASTER.items(), ours, peaks[1:])
    ]
    with TemporaryDirectory() as directory:
        BertModel(BertConfig(), rng=0).save_pretrained(Path(directory, FLOATS))
        few = BertModel.from_pretrained(Path(directory, FLOATS), quantize="int8")
        few.save_pretrained(Path(directory, "int8"))
        works = [partial(reading, kind=kind) for kind in (FLOATS, "int8")]
        with sides(*(partial(by_processor, work) for work in works), given=(directory, *bert)) as started:
            taken = in_turns(*(partial(seconds, side) for side in started), rounds=rounds)
            whole, quarter = (side.peak for side in started)
    name = f"BERT-base forward in int8, {bert[0]} × {bert[1]} tokens"
    return [*rows, Row(name, taken[1], taken[0], round(1 / BERT_SPEED, 3), FLOATS, memory=(quarter, whole))]
