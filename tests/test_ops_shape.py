"""The same numbers in other shapes, as NumPy gives them; the gradients find their way back."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minigrad as mg
from minigrad import functional as F
from minigrad.tensor import Tensor, grad

X = np.arange(24.0).reshape(2, 3, 4)
T = Tensor(X, requires_grad=True)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: mg.reshape(x, -1), X.reshape(-1)),
        (lambda x: mg.reshape(x, (4, -1)), X.reshape(4, -1)),
        (lambda x: mg.swapaxes(x, -1, 0), X.swapaxes(-1, 0)),
        (lambda x: mg.transpose(x, (-1, 0, 1)), X.transpose(-1, 0, 1)),
        (lambda x: mg.expand_dims(x, 0), X[None]),
        (lambda x: mg.expand_dims(x, -2), X[:, :, None]),
        (lambda x: mg.squeeze(mg.reshape(x, (1, 2, 1, 12))), X.reshape(2, 12)),
        (lambda x: mg.squeeze(mg.reshape(x, (1, 2, 1, 12)), -2), X.reshape(1, 2, 12)),
        (lambda x: mg.flatten(x), X.reshape(-1)),
        (lambda x: mg.flatten(x, 1), X.reshape(2, 12)),
        (lambda x: mg.concatenate([x, x], -1), np.concatenate([X, X], -1)),
        (lambda x: mg.concatenate([x, 2 * X[:, :1]], 1), np.concatenate([X, 2 * X[:, :1]], 1)),
        (lambda x: mg.stack([x, x, x], -1), np.stack([X, X, X], -1)),
        (lambda x: mg.stack([x, x], 1), np.stack([X, X], 1)),
        (lambda x: mg.split(x, 3, 2)[1], X[:, :, 3:]),
        (lambda x: mg.split(x, [1, 2], -2)[1], X[:, 1:]),
        (lambda x: mg.broadcast_to(x, (2, 2, 3, 4)), np.broadcast_to(X, (2, 2, 3, 4))),
    ],
)
def test_value_and_gradient(f, expected):
    y = f(T)
    np.testing.assert_array_equal(y.numpy(), expected)
    seed = np.cos(np.arange(y.size)).reshape(y.shape)
    g, step = grad(y, T, seed).numpy(), 1e-3
    direction = np.sin(np.arange(24.0)).reshape(X.shape)
    numeric = np.sum(seed * (f(Tensor(X + step * direction)).numpy() - f(Tensor(X - step * direction)).numpy())) / (
        2 * step
    )
    assert numeric == pytest.approx(np.sum(g * direction), rel=1e-9)


@given(array_shapes(min_dims=1, max_dims=4, max_side=3), st.data())
def test_transposing_back_is_doing_nothing(shape, data):
    axes = data.draw(st.permutations(range(len(shape))))
    x = Tensor(np.arange(np.prod(shape), dtype=float).reshape(shape), requires_grad=True)
    y = mg.transpose(x, tuple(axes))
    np.testing.assert_array_equal(y.numpy(), x.numpy().transpose(axes))
    np.testing.assert_array_equal(grad(y, x, y.numpy()).numpy(), x.numpy())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.booleans())
def test_splitting_undoes_concatenating(sizes, last):
    axis = -1 if last else 0
    xs = [Tensor(np.full((n, 2) if not last else (2, n), i, float), requires_grad=True) for i, n in enumerate(sizes)]
    joined = mg.concatenate(xs, axis)
    for x, piece, g in zip(xs, mg.split(joined, sizes, axis), grad(mg.sum(joined * joined), xs), strict=True):
        np.testing.assert_array_equal(piece.numpy(), x.numpy())
        np.testing.assert_array_equal(g.numpy(), 2 * x.numpy())


def test_concatenating_promotes():
    y = mg.concatenate([Tensor(np.ones(1, "f2")), Tensor(np.ones(1, "f4"))])
    assert y.dtype == np.float32 and mg.concatenate([Tensor([1]), Tensor([2])]).dtype == np.int64


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (lambda: mg.concatenate([]), "an empty list was given"),
        (lambda: mg.concatenate([T, X[:, :2]], 0), r"concatenate\(\(2, 3, 4\), \(2, 2, 4\), axis=0"),
        (lambda: mg.squeeze(T, 1), r"axis 1 of shape \(2, 3, 4\) has size 3, only size 1 can be dropped"),
        (lambda: mg.split(T, [1, 1], 1), r"sizes \[1, 1\] add up to 2, but axis 1 is 3 long"),
        (lambda: mg.reshape(T, (5, -1)), r"reshape\(\(2, 3, 4\), shape=\(5, -1\)\)"),
        (lambda: mg.broadcast_to(T, (2, 3)), r"broadcast_to\(\(2, 3, 4\), shape=\(2, 3\)\)"),
        (
            lambda: mg.transpose(T, (0, 1)),
            r"transpose\(\(2, 3, 4\), axes=\(0, 1\)\): give all 3 axes .* mg.transpose\(x, 0, 1\)",
        ),
        (lambda: mg.stack([T, X[0]]), r"stack: all are to have one shape, these have \(2, 3, 4\), \(3, 4\)"),
        (lambda: mg.split(T, 0), "split: pieces of 0 entries were asked for"),
        (lambda: mg.flatten(T, 3), r"flatten: axis 3 of shape \(2, 3, 4\): give -3 to 2"),
        (lambda: mg.triu(T[0, 0]), r"last two axes, but x has shape \(4,\)"),
    ],
)
def test_refusals(action, text):
    with pytest.raises(ValueError, match=text):
        action()


@pytest.mark.parametrize(
    "f",
    [
        lambda: mg.concatenate([T, T], 3),
        lambda: mg.squeeze(T, 5),
        lambda: mg.split(T, 2, 4),
        lambda: mg.expand_dims(T, 5),
        lambda: mg.stack([T], 7),
        lambda: mg.swapaxes(T, 0, 3),
    ],
)
def test_an_axis_that_is_not_there_is_refused(f):
    with pytest.raises((ValueError, IndexError), match="axis|out of"):
        f()


@pytest.mark.parametrize(
    "f",
    [
        mg.squeeze,
        mg.flip,
        mg.prod,
        mg.expand_dims,
        lambda x, axis: mg.topk(x, 1, axis),
        lambda x, axis: mg.gather(x, axis, [[0]]),
        lambda x, axis: mg.concatenate([x], axis),
        lambda x, axis: mg.split(x, 1, axis),
    ],
)
@pytest.mark.parametrize("axis", [3, -4])
def test_an_axis_that_is_not_there(f, axis):
    with pytest.raises(ValueError, match=rf"axis {axis} of shape \(2, 1\): give -"):
        f(np.ones((2, 1)), axis)


def test_a_triangle_of_infinities_and_of_booleans():
    assert mg.triu(mg.full((2, 2), -np.inf), 1).tolist() == [[0, -np.inf], [0, 0]]
    assert mg.prod(mg.zeros((2, 0)), 1).tolist() == [1, 1]


def test_a_thousand_tensors_are_stacked_and_each_gets_its_gradient():
    xs = [Tensor([float(i)], requires_grad=True) for i in range(1000)]
    (mg.stack(xs)[:, 0] * np.arange(1000.0)).sum().backward()
    assert [x.grad.item() for x in xs] == list(range(1000))


@pytest.mark.parametrize(
    "call",
    [
        lambda x, no: mg.sort(x, descending=no),
        lambda x, no: mg.argsort(x, descending=no),
        lambda x, no: mg.topk(x, 1, largest=no),
        lambda x, no: mg.prod(x, 0, keepdims=no),
        lambda x, no: mg.argmax(x, 0, keepdims=no),
        lambda x, no: mg.logsumexp(x, 0, keepdims=no),
        lambda x, no: mg.sum(x, 0, keepdims=no),
        lambda x, no: mg.max(x, 0, keepdim=no),
        lambda x, no: F.dropout(x, 0.5, no),
        lambda x, no: F.batch_norm(x[:, 0], x[0, 0], x[0, 0], training=no),
        lambda x, no: F.scaled_dot_product_attention(x, x, x, is_causal=no),
        lambda x, no: F.kl_div(x, x, log_target=no),
        lambda x, no: F.scaled_dot_product_attention(x, x, x, enable_gqa=no),
        lambda x, no: F.max_pool2d(x, 2, ceil_mode=no),
        lambda x, no: F.avg_pool2d(x, 2, ceil_mode=no),
        lambda x, no: F.avg_pool1d(x[0], 2, count_include_pad=no),
        lambda x, no: F.ctc_loss(x[0], [[1], [1], [1]], [2] * 3, [1] * 3, zero_infinity=no),
    ],
)
@pytest.mark.parametrize("no", ["False", "", None, 2.5])
def test_an_option_of_yes_or_no_is_no_text(call, no):
    x = mg.Tensor(np.log(np.full((2, 2, 3, 4), 0.25, np.float32)))
    with pytest.raises(TypeError, match=f"{re.escape(repr(no))}|an integer"):
        call(x, no)


def test_two_axes_of_a_tensor_change_places_as_in_torch():
    for axes, expected in (
        ((0, 1), X.swapaxes(0, 1)),
        ((0, 2), X.swapaxes(0, 2)),
        ((-1, 1), X.swapaxes(1, 2)),
        ((1, 0), X.swapaxes(0, 1)),
        ((0, 2, 1), X.transpose(0, 2, 1)),
        (((2, 0, 1),), X.transpose(2, 0, 1)),
        ((), X.T),
        ((None,), X.T),
    ):
        y = T.transpose(*axes)
        np.testing.assert_array_equal(y.numpy(), expected)
        assert grad(y, T, y.numpy()).tolist() == X.tolist()
    matrix = Tensor(X[0])
    assert matrix.transpose(0, 1).tolist() == matrix.transpose(1, 0).tolist() == X[0].T.tolist()
    with pytest.raises(TypeError, match="transpose.*axes are a tuple of all 3"):
        T.transpose(0)


def test_reshape_without_a_shape_is_that_of_a_number():
    assert Tensor([2.0]).reshape().shape == () and Tensor([2.0]).reshape(np.int64(1)).shape == (1,)
    with pytest.raises(ValueError, match=r"reshape\(\(2, 3, 4\), shape=\(\)\)"):
        T.reshape()


def test_sizes_that_are_numpys_and_lists():
    for found, expected in zip(mg.split(T, np.int64(2), 2), (X[:, :, :2], X[:, :, 2:]), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal(mg.tile(T, np.int64(2)).numpy(), np.tile(X, 2))
    np.testing.assert_array_equal(mg.stack([[1.0, 2], [3, 4]]), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(mg.concatenate([[1.0], Tensor([3.0])]).numpy(), [1, 3])
    for xs in ([T, 3], [3, T], [3, 4], [T, X[0]]):
        with pytest.raises(ValueError, match="concatenate: all are to have the same axes"):
            mg.concatenate(xs)
    for f in (mg.stack, mg.concatenate):
        for wrong in (3, None, Tensor(2.0)):
            with pytest.raises(TypeError, match=f"{f.__name__}: a list of Tensors is needed"):
                f(wrong)


@pytest.mark.parametrize(
    ("shape", "repeats"), [((2,), (1,)), ((1,), (3,)), ((1, 2), (3, 1)), ((), (2,)), ((2,), (2, 1))]
)
def test_tile_gives_memory_of_its_own(shape, repeats):
    x = mg.zeros(shape)
    y = mg.tile(x, repeats)
    y += 1
    np.testing.assert_array_equal(y.numpy(), np.tile(np.zeros(shape), repeats) + 1)
    assert not x.numpy().any()


def test_two_axes_change_places_as_in_torch():
    x = Tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    for y in (mg.transpose(x, 0, 2), x.transpose(0, 2), mg.transpose(x, -1, 0)):
        np.testing.assert_array_equal(y.detach().numpy(), x.detach().numpy().swapaxes(0, 2))
    np.testing.assert_array_equal(mg.transpose(x, (1, 2, 0)).detach().numpy(), x.detach().numpy().transpose(1, 2, 0))
    assert mg.transpose(x).shape == (4, 3, 2)
    assert mg.grad(mg.transpose(x, 0, 2)[0, 0, 1], x).numpy()[1, 0, 0] == 1
    with pytest.raises(TypeError, match=r"two axes change places: mg.transpose\(x, 0, 1\)"):
        mg.transpose(x, 1)
