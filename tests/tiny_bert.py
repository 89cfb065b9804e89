"""A BERT of 5,000 random parameters with its tokenizer, and texts that it can learn to tell apart in a second."""

import csv
from pathlib import Path

from minigrad.data import Example
from minigrad.pretrained import BertConfig, BertModel

WORDS = {"cooking": "oven flour soup salt", "music": "violin chord tune drum", "sailing": "mast wind harbour rope"}
OTHERS = "the a and is with of old new"


def save_model(directory: Path, layers: int = 1) -> Path:
    """A model directory without a head."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *" ".join([*WORDS.values(), OTHERS]).split()]
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    BertModel(config, rng=0).save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return directory


def examples(n: int = 48) -> list[Example]:
    """At most 48 different texts, the classes in turn; two words of three are the class's own."""
    made = []
    for i in range(n):
        label, others = list(WORDS)[i % 3], OTHERS.split()
        own, k = WORDS[label].split(), i // 3
        words = [f"{others[(k + j) % 8]} {own[k % 4]} {own[(k + j + 1) % 4]}" for j in range(1 + k // 4)]
        made.append(Example(" ".join(words), label))
    return made


def save_csv(path: Path, rows: list[Example]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path
