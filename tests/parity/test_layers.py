"""Plain layers, containers and attention against torch.nn: weights that load both ways, outputs, all gradients, in
float64.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from compare import same_layer  # noqa: E402

from minigrad import nn  # noqa: E402

few = settings(max_examples=30)
sizes = st.integers(1, 5)
leading = st.lists(st.integers(0, 3), max_size=3).map(tuple)  # axes of size 0 and 1 among them
flags = st.booleans()


@st.composite
def arrays(draw, *shape):
    """float64 normal numbers, sometimes as a view that is not contiguous."""
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal((*shape, 2))
    layout = draw(st.sampled_from(["dense", "strided", "reversed", "transposed"]))
    if layout == "strided":
        return values[..., 0]
    x = np.ascontiguousarray(values[..., 0])
    return {"dense": x, "reversed": x[::-1] if x.ndim else x, "transposed": np.ascontiguousarray(x.T).T}[layout]


@few
@given(st.data(), leading, sizes, sizes, flags)
def test_linear(data, batch, inputs, outputs, bias):
    same_layer(
        nn.Linear(inputs, outputs, bias), torch.nn.Linear(inputs, outputs, bias), data.draw(arrays(*batch, inputs))
    )


@few
@given(leading, sizes, sizes, st.none() | st.integers(-5, 4), st.integers(0, 99))
def test_embedding(shape, rows, width, padding_idx, seed):
    padding_idx = padding_idx if padding_idx is None else padding_idx % rows - rows * (padding_idx < 0)
    ids = np.random.default_rng(seed).integers(0, rows, shape)
    same_layer(nn.Embedding(rows, width, padding_idx), torch.nn.Embedding(rows, width, padding_idx), ids)


@few
@given(st.data(), leading, st.lists(sizes, min_size=1, max_size=3), flags, flags, st.sampled_from([1e-5, 0.1]))
def test_layer_norm(data, batch, shape, affine, bias, eps):
    theirs = torch.nn.LayerNorm(shape, eps, affine, bias)
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    same_layer(nn.LayerNorm(shape, eps, affine, bias), theirs, data.draw(arrays(*batch, *shape)))


@few
@given(
    st.data(),
    leading,
    st.sampled_from(
        [
            ("ReLU",),
            ("ReLU6",),
            ("LeakyReLU",),
            ("LeakyReLU", 0.2),
            ("SiLU",),
            ("Sigmoid",),
            ("Tanh",),
            ("GELU", "none"),
            ("GELU", "tanh"),
            ("Softplus",),
            ("Softplus", 2.0, 5.0),
        ]
    ),
)
def test_activations(data, shape, which):
    kind, *options = which
    x = data.draw(arrays(*shape)) * data.draw(st.sampled_from([1, 10]))
    same_layer(getattr(nn, kind)(*options), getattr(torch.nn, kind)(*options), np.asarray(x))


@few
@given(st.data(), leading, sizes, st.integers(-1, 0))
def test_softmax(data, batch, size, dim):
    for kind in ("Softmax", "LogSoftmax"):
        same_layer(getattr(nn, kind)(dim), getattr(torch.nn, kind)(dim), data.draw(arrays(*batch, size)))


@few
@given(st.data(), leading, st.integers(0, 1))
def test_flatten(data, shape, start):
    same_layer(nn.Flatten(start), torch.nn.Flatten(start), data.draw(arrays(2, 3, *shape)))


@few
@given(st.data(), leading)
def test_sequential(data, batch):
    ours, theirs = (
        n.Sequential(n.Linear(3, 4), n.Tanh(), n.Sequential(n.LayerNorm(4), n.Linear(4, 2))) for n in (nn, torch.nn)
    )
    same_layer(ours, theirs, data.draw(arrays(*batch, 3)))


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), sizes, flags, flags, flags)
def test_multihead_attention(data, B, T, S, width, bias, batch_first, cross):
    heads = data.draw(st.integers(1, 3))
    D, S = heads * width, S if cross else T
    theirs = torch.nn.MultiheadAttention(D, heads, bias=bias, batch_first=batch_first)
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.5)
    x, y = (data.draw(arrays(*((B, n, D) if batch_first else (n, B, D)))) for n in (T, S))
    rng, options = np.random.default_rng(data.draw(st.integers(0, 99))), {}
    masks = data.draw(st.sampled_from(["none", "padding", "2-d", "3-d", "float", "both", "floats", "causal"]))
    if masks in ("padding", "both"):  # a query that may attend to nothing is NaN in torch: key 0 stays
        options["key_padding_mask"] = (rng.random((B, S)) < 0.5) & (np.arange(S) > 0)
    if masks == "floats":
        options["key_padding_mask"] = rng.standard_normal((B, S))
    if masks in ("2-d", "both"):
        options["attn_mask"] = (rng.random((T, S)) < 0.5) & (np.arange(S) > 0)
    if masks == "3-d":
        options["attn_mask"] = (rng.random((B * heads, T, S)) < 0.5) & (np.arange(S) > 0)
    if masks in ("float", "floats"):
        options["attn_mask"] = np.where(
            (rng.random((T, S)) < 0.3) & (np.arange(S) > 0), -np.inf, rng.standard_normal((T, S))
        )
    if masks == "causal":
        options |= {"is_causal": True, "attn_mask": ~np.tri(T, S, dtype=bool)}
    options |= {"need_weights": data.draw(flags), "average_attn_weights": data.draw(flags)}
    ours = nn.MultiheadAttention(D, heads, bias=bias, batch_first=batch_first)
    same_layer(ours, theirs, x, *((y, np.array(y)) if cross else (x, x)), **options)
