"""A small GPT learns the prose of Python's documentation, and is then quantised: what that saves, and what it costs.

    python examples/quantized_gpt.py

Texts are the manual's topics and the docstrings of the standard library; every tenth is held out, and is what the
perplexities are of.  What it prints are the tables of `minigrad quantize --layers` for 8 and for 4 bits.
"""

import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

from minigrad.compress.command import command
from minigrad.data.docstrings import read_docstrings
from minigrad.pretrained import GPT2Config, GPT2LMHeadModel
from minigrad.pretrained.text.training import train_tokenizer
from minigrad.train import finetune


def texts() -> Iterator[str]:
    """The topics, and then the docstrings of the standard library, in a fixed order."""
    yield from dict(sorted(topics.items())).values()
    for _, some in sorted(read_docstrings(Path(sysconfig.get_path("stdlib"))).items()):
        yield from some


def main(
    width: int = 192, layers: int = 3, words: int = 3000, epochs: int = 2, count: int | None = None, length: int = 128
) -> dict[str, float]:
    """Train and quantise; returns the perplexities by the kind of weights."""
    every = list(islice(texts(), count))
    Path("outputs").mkdir(exist_ok=True)
    for name, some in (("train", [t for i, t in enumerate(every) if i % 10]), ("test", every[::10])):
        Path("outputs", f"{name}.txt").write_text("\n".join(some) + "\n", encoding="utf-8")
    tokenizer = train_tokenizer(every, "outputs/untrained", "bpe", vocab_size=words)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=width,
        n_layer=layers,
        n_head=max(1, width // 48),
        n_positions=length,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    GPT2LMHeadModel(config, rng=0).save_pretrained("outputs/untrained")
    finetune(
        "outputs/untrained",
        "outputs/train.txt",
        "outputs/test.txt",
        output="outputs/floats",
        task="text-generation",
        num_train_epochs=epochs,
        per_device_train_batch_size=16,
        learning_rate=1e-3,
        max_length=length,
        overwrite=True,
    )
    found = {}
    for kind in ("int8", "int4"):
        report = command("outputs/floats", f"outputs/{kind}", kind, eval="outputs/test.txt", layers=True)
        found |= {row.name: row.score for row in report.rows}
    return found


if __name__ == "__main__":
    main()
