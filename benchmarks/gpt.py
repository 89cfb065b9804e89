"""A training step of a small GPT (pre-norm, GELU, causal attention, an untied head), without dropout."""

from __future__ import annotations

from typing import Any

from .pairing import Row
from .training import Library, Product, attention, linear, main, measured

TITLE = "GPT of depth {layers} and width {width}, {batch} × {tokens} tokens"
SIZES, STEPS = {"batch": 4, "tokens": 256, "width": 384, "heads": 6, "layers": 6, "vocabulary": 8192}, 1


def build(
    lib: Library, rng: Any, batch: int, tokens: int, width: int, heads: int, layers: int, vocabulary: int
) -> tuple[Any, Any]:
    nn, F = lib.nn, lib.F

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.norm2, self.up, self.down = (
                nn.LayerNorm(width),
                nn.Linear(width, 4 * width),
                nn.Linear(4 * width, width),
            )

        def forward(self, x):
            parts = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, heads, width // heads)
            q, k, v = (parts[:, :, i].swapaxes(1, 2) for i in range(3))
            found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(found.swapaxes(1, 2).reshape(batch, tokens, width))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, ids, places):
            return self.head(self.norm(self.blocks(self.words(ids) + self.places(places))))

    text = rng.integers(0, vocabulary, (batch, tokens + 1))
    ids, labels, places = (
        lib.tensor(a) for a in (text[:, :-1].copy(), text[:, 1:].reshape(-1), rng.permutation(tokens))
    )
    model = GPT()
    return model, lambda: F.cross_entropy(model(ids, places).reshape(-1, vocabulary), labels)


def products(batch: int, tokens: int, width: int, heads: int, layers: int, vocabulary: int) -> list[Product]:
    rows = batch * tokens
    layer = [
        *linear(rows, width, 3 * width),
        *attention(batch, heads, tokens, width // heads, is_causal=True),
        *linear(rows, width, width),
        *linear(rows, width, 4 * width),
        *linear(rows, 4 * width, width),
    ]
    return layer * layers + linear(rows, width, vocabulary)


def run(rounds: int = 11, **sizes: int) -> list[Row]:
    return [measured("gpt", SIZES | sizes, rounds, products_goal=1.25)]


if __name__ == "__main__":
    main("gpt")
