"""Reading entries and adding them back: every index NumPy knows, repeated or not, and none that is out of range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices

import minigrad as mg
from minigrad import functional as F
from minigrad import ops
from minigrad.checking import gradcheck
from minigrad.tensor import Tensor, grad

X = np.arange(60.0).reshape(3, 4, 5)
T = Tensor(X)


def assert_indexes_like_numpy(x, index):
    """The value is NumPy's; each entry's gradient is the sum over the places it was read to."""
    t = Tensor(x, requires_grad=True)
    y = t[index]
    np.testing.assert_array_equal(y.numpy(), x[index])
    assert y.shape == np.shape(x[index])
    seed = np.cos(np.arange(y.size)).reshape(y.shape)
    read = np.arange(x.size).reshape(x.shape)[index]
    expected = np.bincount(np.ravel(read), np.ravel(seed), x.size).reshape(x.shape)
    np.testing.assert_allclose(grad(y, t, seed).numpy(), expected, rtol=1e-13, atol=1e-14)


def numbered(shape):
    return np.arange(np.prod(shape), dtype=float).reshape(shape)


@given(array_shapes(min_dims=1, max_dims=4, max_side=4), st.data())
def test_slices_and_numbers(shape, data):
    assert_indexes_like_numpy(numbered(shape), data.draw(basic_indices(shape, allow_newaxis=True)))


@given(array_shapes(min_dims=1, max_dims=3, max_side=3), st.data())
def test_integer_arrays_where_repeated_entries_add_up(shape, data):
    assert_indexes_like_numpy(
        numbered(shape), data.draw(integer_array_indices(shape, result_shape=array_shapes(max_dims=2, max_side=4)))
    )


@given(st.data())
def test_integer_arrays_among_slices_numbers_and_new_axes(data):
    part = st.sampled_from([slice(None), slice(1, 3), np.array([2, 0, 2]), np.array([[1], [-3]]), np.array(1), 1, -1])
    index = data.draw(st.lists(part, min_size=1, max_size=3))
    index[(where := data.draw(st.integers(0, len(index)))) : where] = data.draw(
        st.sampled_from([[], [None], [Ellipsis]])
    )
    assert_indexes_like_numpy(X, tuple(index))


@pytest.mark.parametrize(
    "index",
    [
        X[:, :, 0] > 20,
        X > 20,
        (0, X[0] > 5),
        (slice(None), np.array([True, False, True, True])),
        (..., np.zeros(5, bool)),
        (np.array([True, False, True]), np.array([0, 2])),
        np.array([], int),
        (np.array([[0], [2]]), np.array([[1, 3]])),
        (slice(None), None, np.array([1, 1])),
        np.array([2, 2, 2], np.int32),
        np.array([1, 0], np.uint8),
    ],
)
def test_masks_and_mixtures(index):
    assert_indexes_like_numpy(X, index)


def test_lists_and_tensors_as_indices():
    for index in (
        [2, 0, 2],
        Tensor([2, 0, 2]),
        (slice(None), [1, 1]),
        (Tensor([0, 1]), [1, 1]),
        [[0], [1]],
        Tensor(X[:, 0, 0] > 5),
    ):
        parts = [
            p.numpy() if isinstance(p, Tensor) else np.array(p) if isinstance(p, list) else p
            for p in (index if isinstance(index, tuple) else (index,))
        ]
        np.testing.assert_array_equal(T[index].numpy(), X[tuple(parts)])
    assert T[True].shape == (1, 3, 4, 5) and T[np.int64(1)].shape == (4, 5) and T[Tensor(1)].shape == (4, 5)


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (3, "index 3 is out of bounds for axis 0 with size 3"),
        ((0, -5), "index -5 is out of bounds for axis 1"),
        (
            [0, 3],
            r"index: id 3 at position 1 is out of range for axis 0 of a Tensor of shape \(3, 4, 5\): "
            r"-3 to 2 are allowed",
        ),
        (np.array([[0, 1], [-4, 1]]), r"id -4 at position \(1, 0\) is out of range for axis 0"),
        ((slice(None), [4]), "id 4 at position 0 is out of range for axis 1"),
        ((..., Tensor([5])), "id 5 at position 0 is out of range for axis 2"),
        ((None, X[:, :, 0] > 0, [9]), "id 9 at position 0 is out of range for axis 2"),
        (np.array([0, 1], np.float32), "float32"),
        ((0, 0, 0, 0), "too many indices"),
        (np.zeros((2, 4), bool), "boolean index did not match"),
    ],
)
def test_what_is_out_of_range_is_refused(index, text):
    with pytest.raises((IndexError, TypeError), match=text):
        T[index]


def test_a_repeated_index_to_the_second_order():
    gradcheck(lambda x: x[[0, 0, 2]] * x[[0, 2, 2]], np.array([1.0, 2, 3]), order=3)


# Embeddings


def test_embedding_is_torchs_with_repeated_ids_and_padding():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    weight, ids = rng.standard_normal((6, 3)), rng.integers(0, 6, (4, 5))
    for padding in (None, 2, 0):
        w, t = Tensor(weight, requires_grad=True), torch.tensor(weight, requires_grad=True)
        y, expected = F.embedding(ids, w, padding), torch.nn.functional.embedding(torch.tensor(ids), t, padding)
        np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
        (mg.sum(mg.sin(y))).backward()
        expected.sin().sum().backward()
        np.testing.assert_allclose(w.grad.numpy(), t.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "ids", [[[1, 0]], Tensor([[1, 0]]), np.array([[1, 0]], np.int32), np.array([[1, 0]], np.uint8)]
)
def test_ids_of_any_kind(ids):
    assert F.embedding(ids, np.eye(3)).tolist() == [[[0, 1, 0], [1, 0, 0]]]
    assert F.embedding(Tensor(1), Tensor(np.eye(3))).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("ids", "error", "text"),
    [
        (
            [[0, 1], [2, 6]],
            IndexError,
            r"embedding: id 6 at position \(1, 1\) is out of range for an embedding of 6 rows: 0 to 5 are allowed",
        ),
        ([0, -1], IndexError, r"embedding: id -1 at position 1 is out of range"),
        ([0.0, 1.0], TypeError, r"embedding: ids must be integers, these have dtype float32: use .astype\('int64'\)"),
        ([True], TypeError, "ids must be integers, these have dtype bool"),
    ],
)
def test_bad_ids(ids, error, text):
    with pytest.raises(error, match=text):
        F.embedding(ids, Tensor(np.zeros((6, 2))))


# gather


@given(array_shapes(min_dims=1, max_dims=3, max_side=3), st.data())
def test_gather_along_any_axis(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    wanted = tuple(4 if i == axis % len(shape) else size for i, size in enumerate(shape))
    ids = np.random.default_rng(data.draw(st.integers(0, 9))).integers(-n, n, wanted)
    x = numbered(shape)
    y = ops.gather(Tensor(x, requires_grad=True), axis, ids)
    np.testing.assert_array_equal(y.numpy(), np.take_along_axis(x, ids, axis))
    gradcheck(lambda t: ops.gather(t, axis, ids), x)


def test_gather_refuses_what_is_out_of_range():
    with pytest.raises(
        IndexError, match=r"gather.*id 4 at position \(0, 1\) is out of range for axis 1 of shape \(1, 4\)"
    ):
        ops.gather(Tensor(np.zeros((1, 4))), 1, np.array([[0, 4]]))


def test_nothing_can_be_taken():
    assert Tensor(np.ones((3, 2)))[[]].shape == (0, 2)


def test_take_is_numpys():
    """Flat entries, or slices along an axis; x[index] is what reads rows."""
    values = np.arange(12.0).reshape(3, 4)
    x = Tensor(values, requires_grad=True)
    for indices, axis in (([0, 1], None), ([[5, -1], [0, 5]], None), (7, None), ([2, 0, 2], 0), ([[1, 3]], -1), (1, 1)):
        y = mg.take(x, indices, axis)
        np.testing.assert_array_equal(y.numpy(), values.take(indices, axis))
        np.testing.assert_array_equal(mg.take(values, np.array(indices), axis), values.take(indices, axis))
        np.testing.assert_array_equal(
            mg.take(x, Tensor(indices), dim=axis).numpy() if axis is not None else y.numpy(), values.take(indices, axis)
        )
        expected = np.zeros(12)
        np.add.at(expected, np.arange(12).reshape(3, 4).take(indices, axis), 1)
        np.testing.assert_array_equal(grad(y.sum(), x).numpy(), expected.reshape(3, 4))
    for wrong, error in ((12, IndexError), ([-13], IndexError), ([0.5], TypeError), ("a", TypeError)):
        with pytest.raises(error, match="take"):
            mg.take(x, wrong)
    assert x[[0, 1]].shape == (2, 4)


SCATTERED = {
    "the last of two": (0, [0, 0], [1.0, 5.0], [5.0, -2.0, -3.0]),
    "one place from both ends": (0, [2, -1, 0], [1.0, 5.0, 7.0], [7.0, -2.0, 5.0]),
    "rows": (0, [[0, 1], [0, 1], [0, 0]], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[5.0, 6.0], [-3.0, 4.0]]),
    "columns": (1, [[1, 1], [0, 0]], [[1.0, 2.0], [3.0, 4.0]], [[-1.0, 2.0], [4.0, -4.0]]),
    "no number stays": (0, [1, 1], [np.nan, 5.0], [-1.0, 5.0, -3.0]),
}


@pytest.mark.parametrize(("axis", "ids", "src", "right"), SCATTERED.values(), ids=SCATTERED)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64"])
def test_the_last_entry_scattered_to_a_place_wins(axis, ids, src, right, dtype):
    """The values and gradients are those of torch 2.13 on a CPU."""
    src, right = np.array(src), np.array(right)
    x = -np.arange(1.0, 1 + right.size).reshape(right.shape)
    y = mg.scatter(Tensor(x).astype(dtype), axis, ids, Tensor(np.nan_to_num(src)).astype(dtype))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), right.astype(dtype))
    if dtype == "int64":
        return
    t, s = (Tensor(array.astype(dtype), requires_grad=True) for array in (x, src))
    (mg.scatter(t, axis, ids, s) * np.arange(1.0, 1 + right.size).reshape(right.shape).astype(dtype)).sum().backward()
    assert s.grad is not None and t.grad is not None
    kept = right == x
    np.testing.assert_array_equal(t.grad.numpy(), np.where(kept, -x, 0))
    won = [(np.flatnonzero(right == value)[0] + 1 if value in right else 0) for value in src.ravel()]
    np.testing.assert_array_equal(s.grad.numpy(), np.array(won).reshape(src.shape))


def test_scattering_a_number_and_nothing():
    assert mg.scatter(mg.zeros(3), 0, [0, 0, 1], 5.0).tolist() == [5, 5, 0]
    assert mg.scatter(Tensor([True, True]), 0, [0, 0], False).tolist() == [False, True]
    assert mg.scatter(mg.ones(2), 0, np.zeros(0, int), 5.0).tolist() == [1, 1]
    assert mg.zeros(3).scatter(0, [2, 2], Tensor([1.0, 4.0, 9.0])).tolist() == [0, 0, 4]
    ids = np.random.default_rng(0).integers(0, 7, 5000)
    expected = np.zeros(7)
    expected[ids] = np.arange(5000.0)  # NumPy's assignment, in which the last one wins too
    np.testing.assert_array_equal(mg.scatter(np.zeros(7), 0, ids, np.arange(5000.0)), expected)


def test_scatter_to_one_place_twice_is_differentiable():
    ids = np.array([[0, 2], [1, 1]])
    gradcheck(lambda x, src: mg.scatter(x, 1, ids, src), (numbered((2, 3)), numbered((2, 2))), order=2)


def test_the_last_slice_copied_to_a_place_wins():
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    src = Tensor([[1.0, 2.0, 4.0], [3.0, 4.0, 5.0]], requires_grad=True)
    y = mg.index_copy(x, 1, [0, -3, 2], src)
    assert y.tolist() == [[2, 0, 4], [4, 0, 5]]
    y.sum().backward()
    assert x.grad.tolist() == [[0, 1, 0]] * 2 and src.grad.tolist() == [[0, 1, 1]] * 2
    y = mg.index_copy(numbered((3, 2)), 0, [2, 0, 2], -numbered((3, 2)))
    np.testing.assert_array_equal(y, [[-2, -3], [2, 3], [-4, -5]])
