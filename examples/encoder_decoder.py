"""An encoder-decoder Transformer, trained from scratch, rewrites dates letter by letter: "March 3, 2021" to 2021-03-03.

python examples/encoder_decoder.py
"""

import argparse
import datetime

import numpy as np

from minigrad import losses, nn, no_grad, optim

START, END, PAD = "\2", "\3", "\0"
ALPHABET = sorted({START, END, PAD, *"0123456789-, ADFJMNOSabceghilmnoprstuvy"})
CODE = {letter: i for i, letter in enumerate(ALPHABET)}


def dates(rng, many):
    """`many` random days as sources and targets, both integers (many, letters)."""
    days = [datetime.date.fromordinal(int(n)) for n in rng.integers(693_596, 767_009, many)]  # 1900 to 2100
    forms = "{0:%B} {0.day}, {0:%Y}", "{0.day} {0:%b} {0:%Y}", "{0:%Y}, {0:%B} {0.day}"
    read = [forms[form].format(day) + END for form, day in zip(rng.integers(0, len(forms), many), days, strict=True)]
    return encoded(read), encoded([START + day.isoformat() + END for day in days])


def encoded(texts):
    longest = max(map(len, texts))
    return np.array([[CODE[letter] for letter in text.ljust(longest, PAD)] for text in texts])


class Translator(nn.Module):
    """Sources (B, S) and targets (B, T), both integers, to logits (B, T, alphabet) of the next letters."""

    def __init__(self, d_model, rng):
        self.embedding = nn.Embedding(len(ALPHABET), d_model, rng=rng)
        self.positions = nn.LearnedPositions(32, d_model, rng=rng)
        self.transformer = nn.Transformer(
            d_model, 4, 2, 2, 4 * d_model, 0.0, batch_first=True, norm_first=True, rng=rng
        )
        self.head = nn.Linear(d_model, len(ALPHABET), rng=rng)

    def forward(self, source, target):
        padding = source == CODE[PAD]  # True: not attended to
        y = self.transformer(
            self.positions(self.embedding(source)),
            self.positions(self.embedding(target)),
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return self.head(y)

    def write(self, source, length=11):
        """Greedy decoding of up to `length` letters."""
        target = np.full((len(source), 1), CODE[START])
        with no_grad():
            for _ in range(length):
                following = self(source, target).numpy()[:, -1].argmax(-1)
                target = np.concatenate([target, following[:, None]], 1)
        return target


def main(steps=400, batch=64, d_model=64) -> float:
    rng = np.random.default_rng(0)
    model = Translator(d_model, rng)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    for step in range(1, steps + 1):
        source, target = dates(rng, batch)
        scores = model(source, target[:, :-1])
        loss = losses.cross_entropy(
            scores.reshape(-1, len(ALPHABET)), target[:, 1:].reshape(-1), ignore_index=CODE[PAD]
        )
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)

    source, target = dates(np.random.default_rng(1), 200)
    written = model.eval().write(source)
    right = (written == target).all(1)
    for row in range(3):
        print(" -> ".join("".join(ALPHABET[i] for i in ids[row]).strip(START + END + PAD) for ids in (source, written)))
    print(f"{right.mean():.1%} of {len(right)} dates exactly right")
    return float(right.mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    main(**vars(parser.parse_args()))
