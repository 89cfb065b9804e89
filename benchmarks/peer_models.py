"""The models of `peers`, written once for JAX, autograd and tinygrad, and the functions they need from each.

A model is a function of the library's functions `F`, of the weights `w` by their names in minigrad, of the data and of
the sizes; it returns the loss.  Functions that a library lacks are missing: autograd has no convolution, and tinygrad
only an unrolled loop over time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Weights = dict[str, Any]


def linear(w: Weights, name: str, x: Any) -> Any:
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def mlp(F: Any, w: Weights, x: Any, labels: Any, **_: Any) -> Any:
    for layer in "0", "2":
        x = F.relu(linear(w, layer, x))
    return F.cross_entropy(linear(w, "4", x), labels)


def cnn(F: Any, w: Weights, x: Any, labels: Any, **_: Any) -> Any:
    for layer in "0", "3":
        x = F.max_pool(F.relu(F.conv(x, w[f"{layer}.weight"], w[f"{layer}.bias"])))
    x = F.relu(linear(w, "7", x.reshape(x.shape[0], -1)))
    return F.cross_entropy(linear(w, "9", x), labels)


def gpt(F: Any, w: Weights, ids: Any, labels: Any, places: Any, heads: int, layers: int, **_: Any) -> Any:
    def norm(name: str, x: Any) -> Any:
        return F.layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = w["words.weight"][ids] + w["places.weight"][places]  # (batch, tokens, width)
    batch, tokens, width = x.shape
    for name in (f"blocks.{i}" for i in range(layers)):
        parts = linear(w, f"{name}.qkv", norm(f"{name}.norm1", x)).reshape(batch, tokens, 3, heads, width // heads)
        found = F.attention(*(parts[:, :, i] for i in range(3)))
        x = x + linear(w, f"{name}.out", found.reshape(batch, tokens, width))
        x = x + linear(w, f"{name}.down", F.gelu(linear(w, f"{name}.up", norm(f"{name}.norm2", x))))
    logits = linear(w, "head", norm("norm", x))
    return F.cross_entropy(logits.reshape(batch * tokens, -1), labels)


def lstm(F: Any, w: Weights, x: Any, labels: Any, **_: Any) -> Any:
    np = F.np

    def cell(state: tuple, gates: Any) -> tuple:
        h, c = state
        i, f, g, o = np.split(gates + h @ w["layer.weight_hh_l0"].T, 4, -1)
        c = F.sigmoid(f) * c + F.sigmoid(i) * np.tanh(g)
        h = F.sigmoid(o) * np.tanh(c)
        return (h, c), h

    gates = x @ w["layer.weight_ih_l0"].T + w["layer.bias_ih_l0"] + w["layer.bias_hh_l0"]
    start = np.zeros(x.shape[1:], x.dtype)
    read = F.scan(cell, (start, start), gates)  # (steps, batch, width)
    logits = linear(w, "head", read)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels)


class Words:
    """The functions in terms of NumPy's, or of a library `np` with NumPy's interface, such as autograd."""

    def __init__(self, np: Any, erf: Callable[[Any], Any]):
        self.np, self.erf = np, erf

    def relu(self, x):
        return self.np.maximum(x, 0)

    def sigmoid(self, x):
        return (self.np.tanh(x / 2) + 1) / 2

    def gelu(self, x):
        return x * (1 + self.erf(x / 2**0.5)) / 2

    def layer_norm(self, x, weight, bias):
        centred = x - x.mean(-1, keepdims=True)
        return centred / self.np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * weight + bias

    def attention(self, q, k, v):  # (batch, tokens, heads, width of a head), as is the result
        np = self.np
        q, k, v = (np.swapaxes(x, 1, 2) for x in (q, k, v))
        scores = q @ np.swapaxes(k, 2, 3) / q.shape[-1] ** 0.5
        scores = np.where(np.tri(q.shape[2], dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return np.swapaxes(weights / weights.sum(-1, keepdims=True) @ v, 1, 2)

    def scan(self, cell, state, inputs):
        outputs = []
        for x in inputs:
            state, y = cell(state, x)
            outputs.append(y)
        return self.np.stack(outputs)

    def cross_entropy(self, logits, labels):
        np = self.np
        logits = logits - logits.max(-1, keepdims=True)
        return (np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]).mean()


class JaxWords(Words):
    """JAX's own functions, where it has them."""

    def __init__(self, jax: Any):
        super().__init__(jax.numpy, jax.lax.erf)
        self.jax, self.sigmoid = jax, jax.nn.sigmoid

    def attention(self, q, k, v):
        return self.jax.nn.dot_product_attention(q, k, v, is_causal=True)

    def conv(self, x, weight, bias):
        return self.jax.lax.conv(x, weight, (1, 1), "SAME") + bias[:, None, None]

    def max_pool(self, x):  # faster here than lax.reduce_window
        batch, channels, height, width = x.shape
        return x.reshape(batch, channels, height // 2, 2, width // 2, 2).max((3, 5))

    def scan(self, cell, state, inputs):
        return self.jax.lax.scan(cell, state, inputs)[1]


class TinyWords:
    """tinygrad's, mostly methods of its Tensors."""

    def relu(self, x):
        return x.relu()

    def gelu(self, x):
        return x.gelu(approximate="none")

    def layer_norm(self, x, weight, bias):
        return x.layernorm(eps=1e-5) * weight + bias

    def attention(self, q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return q.scaled_dot_product_attention(k, v, is_causal=True).transpose(1, 2)

    def conv(self, x, weight, bias):
        return x.conv2d(weight, bias, padding=1)

    def max_pool(self, x):
        return x.max_pool2d()

    def cross_entropy(self, logits, labels):
        return logits.sparse_categorical_crossentropy(labels)


MODELS = {model.__name__: model for model in (mlp, cnn, gpt, lstm)}
