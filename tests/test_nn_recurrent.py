"""Recurrent layers: padding changes nothing, cells are layers of one step, and bad input is named."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.checking import gradcheck
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
x = rng.standard_normal((4, 2, 3))
KINDS = [nn.RNN, nn.LSTM, nn.GRU]


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_as_if_it_were_not_there(kind):
    layer = kind(3, 5, 2, bidirectional=True, rng=0).to("float64")
    y, state = layer(x, lengths=[4, 2])
    alone, alone_state = layer(x[:2, 1:])
    np.testing.assert_allclose(y.numpy()[:2, 1:], alone.numpy(), atol=1e-15)
    assert (y.numpy()[2:, 1] == 0).all()
    for s, other in zip(state if kind is nn.LSTM else [state], alone_state if kind is nn.LSTM else [alone_state]):
        np.testing.assert_allclose(s.numpy()[:, 1:], other.numpy(), atol=1e-15)


@pytest.mark.parametrize(("kind", "cell"), [(nn.RNN, nn.RNNCell), (nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell)])
def test_a_loop_over_a_cell_is_the_layer(kind, cell):
    layer, one = kind(3, 5, rng=0).to("float64"), cell(3, 5).to("float64")
    one.load_state_dict({name: layer.state_dict()[f"{name}_l0"] for name in one.state_dict()})
    state = None
    for t in range(len(x)):
        state = one(x[t], state)
    h = state[0] if kind is nn.LSTM else state
    np.testing.assert_allclose(layer(x)[0].numpy()[-1], h.numpy(), atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_to_second_order_through_a_layer(kind):
    layer = kind(3, 2, bidirectional=True, rng=0).to("float64")
    gradcheck(lambda x: layer(x, lengths=[3, 2])[0], x[:3], order=2)


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_one_step_without_a_batch(cell):
    one = cell(3, 5, rng=0).to("float64")
    alone, batch = one(x[0, 0]), one(x[0])
    for a, b in zip(alone if cell is nn.LSTMCell else [alone], batch if cell is nn.LSTMCell else [batch], strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy()[0], atol=1e-15)


def test_one_sequence_without_a_batch():
    layer = nn.GRU(3, 5, rng=0)
    y, h = layer(x[:, 0].astype("f4"))
    assert y.shape == (4, 5) and h.shape == (1, 5) and y.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: nn.LSTM(3, 5)(x[..., :2]), r"LSTM of input_size 3 was given \(4, 2, 2\)"),
        (lambda: nn.GRU(3, 5)(x, lengths=[5, 2]), "whole numbers from 0 to 4"),
        (lambda: nn.RNN(3, 5)(x, Tensor(np.zeros((1, 2, 4)))), r"\(1, 2, 5\)"),
        (
            lambda: nn.LSTM(3, 5)(x, Tensor(np.zeros((1, 2, 5)))),
            r"a first state is a pair \(h, c\), two arrays of shape \(1, 2, 5\)",
        ),
        (lambda: nn.LSTMCell(3, 5)(x[0, :, :2]), r"LSTMCell of input_size 3 was given \(2, 2\): it takes one step"),
        (
            lambda: nn.LSTMCell(3, 5)(x[0], np.zeros((2, 5))),
            r"a state of shape \(5,\), \(5,\); .*\(h, c\), each of shape \(2, 5\)",
        ),
        (
            lambda: nn.GRUCell(3, 5)(x[0], np.zeros((2, 4))),
            r"a state of shape \(2, 4\); .* takes one of shape \(2, 5\)",
        ),
        (lambda: nn.GRU(3, 0), "GRU: hidden_size=0 and num_layers=1 must be 1 or more"),
        (lambda: nn.GRU(3, 5, 0), "num_layers=0"),
        (lambda: nn.RNN(3, 5, dropout=1.5), "dropout=1.5 at least 0 and below 1"),
        (lambda: nn.RNN(3, 5, nonlinearity="sin"), "nonlinearity 'sin' is not known"),
    ],
)
def test_what_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_that_is_not_a_number_reaches_no_gradient(kind):
    layer, given = kind(3, 4, num_layers=2, bidirectional=True, rng=0), np.ones((4, 2, 3), np.float32)
    given[2:, 1] = np.nan
    x = Tensor(given, requires_grad=True)
    y, _ = layer(x, lengths=np.array([4, 2]))
    y.sum().backward()
    assert (
        all(np.isfinite(tensor.grad.data).all() for tensor in (x, *layer.parameters())) and not x.grad.data[2:, 1].any()
    )


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.LSTM(3, 5, 2, bidirectional=True), "weight_hh_l1_reverse"),
        (nn.GRU(3, 5), "bias_ih_l0"),
        (nn.RNN(3, 5), "weight_ih_l0"),
        (nn.GRUCell(3, 5), "weight_hh"),
    ],
)
def test_a_weight_that_was_replaced_by_one_that_does_not_fit_is_named(layer, name):
    expected = getattr(layer, name).shape
    setattr(layer, name, nn.Parameter(np.zeros((21, *expected[1:]), np.float32)))
    with pytest.raises(ValueError, match=rf"{name} has shape \(21.*must have shape \({expected[0]}"):
        layer(x[0] if isinstance(layer, nn.GRUCell) else x)


def test_the_projected_state_of_an_lstm_has_a_size_of_its_own():
    layer = nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True, rng=0)
    assert layer.weight_hr_l1_reverse.shape == (2, 4) and layer.weight_ih_l1.shape == (16, 4)
    y, (h, c) = layer(np.zeros((5, 2, 3), np.float32), lengths=[5, 3])
    assert y.shape == (5, 2, 4) and h.shape == (4, 2, 2) and c.shape == (4, 2, 4)
    assert not y.numpy()[3:, 1].any()
    with pytest.raises(ValueError, match="proj_size=4 must be less than hidden_size=4"):
        nn.LSTM(3, 4, proj_size=4)
    with pytest.raises(ValueError, match=r"a first state of shape \(4, 2, 4\) was given, expected \(4, 2, 2\)"):
        layer(np.zeros((5, 2, 3), np.float32), (c, c))
