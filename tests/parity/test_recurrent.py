"""RNN, LSTM and GRU against torch.nn: every option, padded sequences included, in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from compare import close  # noqa: E402

from minigrad import nn  # noqa: E402
from minigrad.tensor import Tensor  # noqa: E402

flags = st.booleans()


def packed(layer, x, state, lengths):
    """torch's way with padding: pack, run, unpack."""
    rnn = torch.nn.utils.rnn
    y, last = layer(rnn.pack_padded_sequence(x, torch.tensor(lengths), layer.batch_first, enforce_sorted=False), state)
    return rnn.pad_packed_sequence(y, layer.batch_first, total_length=x.shape[1 if layer.batch_first else 0])[0], last


@settings(max_examples=60)
@given(
    st.sampled_from(["LSTM", "GRU", "RNN", "RNN relu"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 2),
    flags,
    flags,
    flags,
    flags,
    st.data(),
)
def test_a_layer(kind, inputs, hidden, T, B, layers, bias, batch_first, both_ways, given_state, data):
    kind, *relu = kind.split()
    options = {"num_layers": layers, "bias": bias, "batch_first": batch_first, "bidirectional": both_ways}
    options |= {"nonlinearity": "relu"} if relu else {}
    ours, theirs = (getattr(n, kind)(inputs, hidden, **options) for n in (nn, torch.nn))
    theirs = theirs.double()
    ours.to("float64").load_state_dict(theirs.state_dict())
    assert set(ours.state_dict()) == set(theirs.state_dict())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    lengths = data.draw(st.none() | st.lists(st.integers(1, T), min_size=B, max_size=B))

    arrays = [rng.standard_normal((B, T, inputs) if batch_first else (T, B, inputs))]
    if given_state:
        arrays += [rng.standard_normal((layers * (1 + both_ways), B, hidden)) for _ in range(ours.states)]
    xs, their_xs = (
        [Tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    state, their_state = (None if not s else tuple(s) if kind == "LSTM" else s[0] for s in (xs[1:], their_xs[1:]))
    y, last = ours(xs[0], state, lengths)
    their_y, their_last = (
        theirs(their_xs[0], their_state) if lengths is None else packed(theirs, their_xs[0], their_state, lengths)
    )
    outs, their_outs = ((a, *b) if kind == "LSTM" else (a, b) for a, b in ((y, last), (their_y, their_last)))

    for out, their_out in zip(outs, their_outs, strict=True):
        close(out, their_out)
    gradients = [rng.standard_normal(out.shape) for out in outs]
    sum((out * g).sum() for out, g in zip(outs, gradients)).backward()
    sum((out * torch.tensor(g)).sum() for out, g in zip(their_outs, gradients)).backward()
    for x, their_x in zip(xs, their_xs):
        close(x.grad, their_x.grad, "an input's gradient")
    for name, p in theirs.named_parameters():
        close(dict(ours.named_parameters())[name].grad, p.grad, f"the gradient of {name}")


@settings(max_examples=15)
@given(st.sampled_from(["LSTM", "GRU", "RNN"]), st.integers(1, 3), st.integers(1, 3), flags, st.integers(0, 99))
def test_a_cell(kind, inputs, hidden, bias, seed):
    ours, theirs = (getattr(n, f"{kind}Cell")(inputs, hidden, bias) for n in (nn, torch.nn))
    theirs = theirs.double()
    ours.to("float64").load_state_dict(theirs.state_dict())
    x, rng = np.random.default_rng(seed).standard_normal((2, inputs)), np.random.default_rng(seed)
    state = tuple(rng.standard_normal((2, hidden)) for _ in range(2))
    if kind == "LSTM":
        mine, other = ours(x, tuple(map(Tensor, state))), theirs(torch.tensor(x), tuple(map(torch.tensor, state)))
    else:
        mine, other = (ours(x, Tensor(state[0])),), (theirs(torch.tensor(x), torch.tensor(state[0])),)
    for a, b in zip(mine, other, strict=True):
        close(a, b)
