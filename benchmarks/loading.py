"""Loading BERT-base, 438 MB of float32 in one safetensors file, which is in the page cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import Row, in_turns, sides

PAGE = 1024  # float32 numbers in a memory page


def minigrad_arrays(directory: str, look: bool) -> Iterator[Any]:
    from minigrad.pretrained.checkpoint.files import read_weights

    return loading(lambda: read_weights(directory), look)


def torch_tensors(directory: str, look: bool) -> Iterator[Any]:
    import torch  # noqa: F401                  so that its memory is part of the baseline
    from safetensors.torch import load_file

    return loading(lambda: load_file(f"{directory}/model.safetensors"), look)


def minigrad_model(directory: str, look: bool) -> Iterator[Any]:
    from minigrad.pretrained import BertModel

    return loading(
        lambda: {name: t.data for name, t in BertModel.from_pretrained(directory).state_dict().items()}, look
    )


def transformers_model(directory: str, look: bool) -> Iterator[Any]:
    from transformers import BertModel, logging

    logging.disable_progress_bar()
    return loading(lambda: BertModel.from_pretrained(directory).state_dict(), look)


def loading(load: Callable[[], dict], look: bool) -> Iterator[Any]:
    """For each `next`, release what was loaded, load it again, and with `look` read a number in every page."""
    yield
    weights = load()
    yield [total(weights[name]) for name in sorted(weights)]
    while True:
        del weights
        weights = load()
        if look:
            sum(map(total, weights.values()))
        yield


def total(weight: Any) -> float:
    """The sum of one number per page of an array or a torch tensor."""
    return float(weight.reshape(-1)[::PAGE].sum())


def run(rounds: int = 21) -> list[Row]:
    from minigrad.pretrained import BertConfig, BertModel

    with TemporaryDirectory() as directory:
        BertModel(BertConfig(), rng=0).save_pretrained(directory)
        size, rows = Path(directory, "model.safetensors").stat().st_size, []
        for ours, theirs, what, beside in (
            (minigrad_arrays, torch_tensors, "a file of 438 MB into a dict", "safetensors + torch"),
            (minigrad_model, transformers_model, "the same into a model", "transformers"),
        ):
            for look in False, True:
                with sides(ours, theirs, given=(directory, look)) as pair:
                    taken = in_turns(*pair, rounds=rounds)
                name = f"{what}, every page looked at" if look else what
                rows.append(Row(name, *taken, goal=None if look or beside == "transformers" else 1, beside=beside))
            rows.append(
                Row(
                    "… its peak memory, beside the file's size",
                    [pair[0].peak - pair[0].before],
                    [size],
                    goal=1.2,
                    beside="the file",
                    unit="B",
                )
            )
            rows.append(Row(f"… with {beside}", [pair[1].peak - pair[1].before], [size], beside="the file", unit="B"))
    return rows
