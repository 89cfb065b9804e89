"""Losses beside torch, over drawn shapes and options; and what they refuse to compare."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import losses
from minigrad.checking import gradcheck
from minigrad.tensor import Tensor, grad

rng = np.random.default_rng(0)


@st.composite
def cross_entropies(draw):
    n, classes, more = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.lists(st.integers(1, 3), max_size=2))
    seeded = np.random.default_rng(draw(st.integers(0, 99)))
    labels = seeded.integers(0, classes, (n, *more))
    ignore = draw(st.sampled_from([-100, 0, -1]))
    labels[seeded.random(labels.shape) < draw(st.sampled_from([0, 0.4, 1]))] = ignore
    options = {"reduction": draw(st.sampled_from(["mean", "sum", "none"])), "ignore_index": ignore,
               "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0]))}
    weight = draw(st.none() | st.just(0.5 + seeded.random(classes)))
    return 3 * seeded.standard_normal((n, classes, *more)), labels, weight, options


@settings(max_examples=150)
@given(cross_entropies())
def test_cross_entropy_is_torchs(case):
    torch = pytest.importorskip("torch")
    logits, labels, weight, options = case
    ours, theirs = Tensor(logits, requires_grad=True), torch.tensor(logits, requires_grad=True)
    with np.errstate(invalid="ignore", divide="ignore"):       # a mean over no labels is nan, in torch too
        loss = losses.cross_entropy(ours, labels, weight, **options)
        expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(labels),
                                                     None if weight is None else torch.tensor(weight), **options)
        np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
        seed = np.asarray(np.cos(np.arange(loss.size)).reshape(loss.shape))
        expected.backward(torch.tensor(seed))
        if np.isfinite(loss.numpy()).all():
            for again in (False, True):
                g = grad(loss, ours, seed, create_graph=again, retain_graph=True)
                np.testing.assert_allclose(g.numpy(), theirs.grad.numpy(), rtol=1e-11, atol=1e-13)


def test_all_labels_ignored():
    logits = Tensor(rng.standard_normal((2, 3)).astype(np.float32), requires_grad=True)
    for reduction, expected in (("sum", 0), ("none", [0, 0])):
        loss = losses.cross_entropy(logits, [-100, -100], reduction=reduction)
        assert loss.tolist() == expected and not grad(mg.sum(loss), logits).numpy().any()
    with np.errstate(invalid="ignore", divide="ignore"):
        assert np.isnan(losses.cross_entropy(logits, [-100, -100]).item())


def test_scores_that_would_overflow():
    logits = Tensor(np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32), requires_grad=True)
    with np.errstate(all="raise", under="ignore"):
        loss = losses.cross_entropy(logits, [0, 0])
        g = grad(loss, logits)
    assert loss.item() == 1e4 and g.tolist() == [[0, 0], [-0.5, 0.5]] and loss.dtype == g.dtype == np.float32


@pytest.mark.parametrize("labels", [[1, 0], Tensor([1, 0]), np.array([1, 0], np.int32), np.array([1, 0], np.uint8)])
def test_labels_of_any_kind(labels):
    assert losses.cross_entropy(np.zeros((2, 4)), labels).item() == pytest.approx(np.log(4))


def test_a_class_weight_of_the_model_may_be_any_list():
    loss = losses.cross_entropy(Tensor(np.zeros((2, 2), np.float32)), [0, 1], weight=[1, 3])
    assert loss.item() == pytest.approx(np.log(2)) and loss.dtype == np.float32


@pytest.mark.parametrize(("labels", "options", "error", "text"), [
    ([0, 1, 2, 5], {}, IndexError, r"cross_entropy: id 5 at position 3 is out of range for 5 classes: 0 to 4 are allowed"),
    ([0, -1, 2, 3], {}, IndexError, "id -1 at position 1 is out of range"),
    ([0, -1, 2, 3], {"ignore_index": 0}, IndexError, "id -1 at position 1"),
    ([0.0, 1.0, 2.0, 3.0], {}, TypeError, r"cross_entropy: ids must be integers, these have dtype float32.*astype\('int64'\)"),
    ([0, 1, 2], {}, ValueError, r"input \(4, 5\) \(N, C, …\) asks for labels of shape \(4,\), these have \(3,\)"),
    ([[0], [1], [2], [3]], {}, ValueError, r"labels of shape \(4,\), these have \(4, 1\)"),
    ([0, 1, 2, 3], {"reduction": "avg"}, ValueError, "reduction='avg' is not known: type one of 'mean', 'sum', 'none'"),
    ([0, 1, 2, 3], {"weight": [1.0, 2.0]}, ValueError, r"class weights have shape \(2,\), but there are 5 classes"),
    ([0, 1, 2, 3], {"label_smoothing": 1.5}, ValueError, "label_smoothing=1.5"),
])
def test_what_cross_entropy_refuses(labels, options, error, text):
    with pytest.raises(error, match=text):
        losses.cross_entropy(Tensor(np.zeros((4, 5))), labels, **options)


def test_the_position_of_a_bad_label_in_a_picture():
    labels = np.zeros((2, 3, 3), int)
    labels[1, 0, 2] = 9
    with pytest.raises(IndexError, match=r"id 9 at position \(1, 0, 2\)"):
        losses.cross_entropy(Tensor(np.zeros((2, 5, 3, 3))), labels)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_is_torchs(reduction):
    torch = pytest.importorskip("torch")
    x, t = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    loss, expected = losses.mse_loss(ours, t, reduction), torch.nn.functional.mse_loss(theirs, torch.tensor(t),
                                                                                       reduction=reduction)
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-14)
    expected.sum().backward()
    np.testing.assert_allclose(grad(mg.sum(loss), ours).numpy(), theirs.grad.numpy(), rtol=1e-14)
    gradcheck(lambda a, b: losses.mse_loss(a, b, reduction), [x, t], order=2)


def test_what_mse_refuses():
    with pytest.raises(ValueError,
                       match=r"input has shape \(4, 1\) and target \(4,\).*every prediction with every target.*reshape"):
        losses.mse_loss(Tensor(np.zeros((4, 1))), np.zeros(4))
    with pytest.raises(ValueError, match="mse_loss: reduction='max'"):
        losses.mse_loss(Tensor(np.zeros(4)), np.zeros(4), "max")
    assert losses.mse_loss(Tensor(np.zeros(2, np.float32)), [1, 2]).dtype == np.float32
