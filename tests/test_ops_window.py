"""Convolution: that it equals its definition, works in pieces, never copies a 1 × 1, and says what does not fit.

The primitives themselves are asked here, without the kernels that the CPU has for them.
"""

from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad import no_grad
from minigrad.backend import host
from minigrad.checking import gradcheck
from minigrad.checking.catalogue import window_rows as slow
from minigrad.ops import window
from minigrad.ops.window import Window
from minigrad.tensor import Tensor, grad

rng = np.random.default_rng(0)
conv, conv_input_grad, conv_weight_grad = (
    partial(primitive.op.function, np) for primitive in (window.conv, window.conv_input_grad, window.conv_weight_grad)
)


def R(*shape):
    return rng.standard_normal(shape)


@st.composite
def problems(draw):
    """(x, weight, window, groups) in one or two dimensions; batches of 0 and 1, odd strides and paddings among them."""
    many, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    numbers = st.lists(st.integers(1, 3), min_size=many, max_size=many).map(tuple)
    kernel, stride, dilation = draw(numbers), draw(numbers), draw(numbers)
    padding = tuple(draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in range(many))
    w = Window(kernel, stride, padding, dilation)
    size = [draw(st.integers(max(1, span - sum(p)), span + 3)) for span, p in zip(w.spans(), padding)]
    inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return R(draw(st.integers(0, 3)), inputs * groups, *size), R(outputs * groups, inputs, *kernel), w, groups


@settings(max_examples=60)
@given(problems(), st.sampled_from([1, 20, 1000]))
def test_the_three_primitives_are_their_definitions_whatever_the_pieces(problem, piece):
    x, weight, w, groups = problem
    y = slow.conv(x, weight, None, w, groups)
    g, usual = rng.standard_normal(y.shape), host.max_unfolded
    host.max_unfolded = piece
    try:
        np.testing.assert_allclose(conv(x, weight, None, w, groups), y, atol=1e-13)
        np.testing.assert_allclose(
            conv_input_grad(g, weight, x.shape[2:], w, groups),
            slow.conv_input_grad(g, weight, x.shape[2:], w, groups),
            atol=1e-13,
        )
        np.testing.assert_allclose(
            conv_weight_grad(x, g, w, groups), slow.conv_weight_grad(x, g, w, groups), atol=1e-13
        )
    finally:
        host.max_unfolded = usual


@settings(max_examples=15)
@given(problems())
def test_gradients_to_third_order(problem):
    x, weight, w, groups = problem
    gradcheck(lambda x, weight: window.conv(x, weight, None, w, groups), [x, weight], order=3)
    g = slow.conv(x, weight, None, w, groups)
    gradcheck(lambda g, weight: window.conv_input_grad(g, weight, x.shape[2:], w, groups), [g, weight], order=2)
    gradcheck(lambda x, g: window.conv_weight_grad(x, g, w, groups), [x, g], order=2)


def test_same_keeps_the_size_and_valid_adds_nothing():
    for kernel, dilation in product(range(1, 5), range(1, 4)):
        same, valid = (
            F.conv1d(R(1, 1, 12), R(1, 1, kernel), None, 1, padding, dilation) for padding in ("same", "valid")
        )
        assert same.shape == (1, 1, 12) and valid.shape == (1, 1, 12 - dilation * (kernel - 1))


def test_one_sample_needs_no_batch_axis():
    x, weight, bias = R(3, 5, 6), R(4, 3, 2, 2), R(4)
    np.testing.assert_array_equal(F.conv2d(x, weight, bias), F.conv2d(x[None], weight, bias)[0])
    weight = R(3, 4, 2, 2)
    np.testing.assert_array_equal(F.conv_transpose2d(x, weight, bias), F.conv_transpose2d(x[None], weight, bias)[0])


def test_a_convolution_and_its_way_back_are_adjoint():
    """<conv(x), y> = <x, conv_transpose(y)>, where output_padding chooses among the sizes that a stride maps to one."""
    for size in (7, 8):
        x, weight = R(2, 3, size), R(4, 3, 3)
        y = R(*F.conv1d(x, weight, None, 2, 1).shape)
        back = F.conv_transpose1d(y, weight, None, 2, 1, output_padding=(size - 1) % 2)
        np.testing.assert_allclose((F.conv1d(x, weight, None, 2, 1) * y).sum(), (x * back).sum())


def test_float32_stays_float32_through_two_derivatives():
    x, weight, bias = (Tensor(R(*shape).astype("f4"), True) for shape in ((2, 2, 5, 5), (2, 2, 3, 3), (2,)))
    first = grad((F.conv2d(x, weight, bias, 2, 1) ** 2).sum(), [x, weight, bias], create_graph=True)
    second = grad(sum((g * g).sum() for g in first), [x, weight])
    assert {t.dtype for t in (*first, *second)} == {np.dtype("f4")}


def test_a_kernel_of_one_is_not_copied(monkeypatch):
    x, weight, shared = R(2, 3, 4, 5), R(4, 3, 1, 1), []
    multiply = np.matmul
    monkeypatch.setattr(
        np, "matmul", lambda a, b, **out: shared.append(np.shares_memory(b, x)) or multiply(a, b, **out)
    )
    conv(x, weight, None, POINT, 1)
    conv(x, weight, None, POINT._replace(padding=((1, 1), (1, 1))), 1)
    assert shared == [True, False]


def test_what_is_laid_down_at_a_time_stays_small(monkeypatch):
    """However many samples there are, no array larger than one piece, the padded input or the output is made."""
    tracemalloc = pytest.importorskip("tracemalloc")
    x, weight = np.zeros((64, 8, 32, 32), "f4"), np.zeros((8, 8, 3, 3), "f4")
    monkeypatch.setattr(host, "max_unfolded", 1 << 16)
    for run in (
        lambda: conv(x, weight, None, TIGHT, 1),
        lambda: conv_weight_grad(x, x, TIGHT, 1),
        lambda: conv_input_grad(x, weight, (32, 32), TIGHT, 1),
    ):
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2.3 * x.nbytes + 4 * 4 * 2**16


TIGHT = Window((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
POINT = Window((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))


def test_the_same_call_gives_the_same_bits():
    g, weight = R(8, 4, 20, 20).astype("f4"), R(4, 4, 3, 3).astype("f4")
    np.testing.assert_array_equal(F.conv_transpose2d(g, weight), F.conv_transpose2d(g, weight))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: F.conv2d(R(2, 8, 8, 3), R(4, 3, 3, 3)), r"x\.transpose\(0, 3, 1, 2\)"),
        (lambda: F.conv2d(R(9, 8, 8), R(4, 1, 3, 3)), r"x\[:, None\]"),
        (
            lambda: F.conv2d(R(8, 8), R(4, 1, 3, 3)),
            r"conv2d takes \(N, C, H, W\) or \(C, H, W\), but x has shape \(8, 8\)",
        ),
        (lambda: F.conv2d(R(2, 3, 8, 8), R(4, 3, 3)), r"\(out, in / groups, kernel height, kernel width\)"),
        (lambda: F.conv2d(R(2, 4, 8, 8), R(6, 1, 3, 3), groups=4), "groups=4 does not divide axis 0, of size 6"),
        (lambda: F.conv2d(R(2, 3, 2, 8), R(4, 3, 3, 3)), r"spans \(3, 3\), more than \(2, 3, 2, 8\).*smaller kernel"),
        (lambda: F.conv1d(R(2, 3, 8), R(4, 3, 3), padding="same", stride=2), "only at stride 1"),
        (lambda: F.conv1d(R(2, 3, 8), R(4, 3, 3), padding="full"), "padding='full' is not understood"),
        (lambda: F.conv1d(R(2, 3, 8), R(4, 3, 3), stride=0), "stride=0 is not understood"),
        (lambda: F.conv1d(R(2, 3, 8), R(4, 3, 3), R(3)), r"the bias has shape \(3,\).*4 outputs"),
        (lambda: F.conv_transpose1d(R(2, 3, 8), R(4, 3, 3)), "3 channels.*in, out / groups.*takes 4"),
        (lambda: F.conv_transpose1d(R(2, 3, 8), R(3, 4, 3), output_padding=1), "less than the stride"),
        (lambda: F.conv_transpose1d(R(2, 3, 1), R(3, 4, 1), padding=1), "would become"),
    ],
)
def test_bad_input_is_refused_with_the_fix(call, told):
    with pytest.raises(ValueError, match=told), no_grad():
        call()


@pytest.mark.parametrize(
    ("stride", "dilation", "more"), [(1, 3, 2), (2, 1, 1), (1, 2, 1), (2, 4, 3), (3, 2, 2), (1, 1, 0)]
)
def test_output_padding_up_to_the_dilation(stride, dilation, more):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in ((2, 4, 5, 6), (4, 3, 3, 2), (6,))]
    ours, theirs = (
        [Tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    y = F.conv_transpose2d(*ours, stride, 1, more, 2, dilation)
    expected = torch.nn.functional.conv_transpose2d(*theirs, stride, 1, more, 2, dilation)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    seed = rng.standard_normal(y.shape)
    for again in (False, True):
        for g, e in zip(
            grad(y, ours, seed, create_graph=again, retain_graph=True),
            torch.autograd.grad(expected, theirs, torch.tensor(seed), retain_graph=True),
            strict=True,
        ):
            np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="output_padding .* must be less than the stride .* or than the dilation"):
        F.conv_transpose2d(*ours, stride, 1, max(stride, dilation), 2, dilation)
