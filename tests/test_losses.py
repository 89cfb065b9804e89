"""Losses beside torch, over drawn shapes and options; and what they refuse to compare."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import losses, nn
from minigrad.checking import gradcheck
from minigrad.tensor import Tensor, grad

rng = np.random.default_rng(0)
X = np.zeros((2, 4))


@st.composite
def cross_entropies(draw):
    n, classes, more = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.lists(st.integers(1, 3), max_size=2))
    seeded = np.random.default_rng(draw(st.integers(0, 99)))
    labels = seeded.integers(0, classes, (n, *more))
    ignore = draw(st.sampled_from([-100, 0, -1]))
    labels[seeded.random(labels.shape) < draw(st.sampled_from([0, 0.4, 1]))] = ignore
    options = {
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
        "ignore_index": ignore,
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
    }
    weight = draw(st.none() | st.just(0.5 + seeded.random(classes)))
    return 3 * seeded.standard_normal((n, classes, *more)), labels, weight, options


@settings(max_examples=150)
@given(cross_entropies())
def test_cross_entropy_is_torchs(case):
    torch = pytest.importorskip("torch")
    logits, labels, weight, options = case
    ours, theirs = Tensor(logits, requires_grad=True), torch.tensor(logits, requires_grad=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # a mean over no labels is nan, in torch too
        loss = losses.cross_entropy(ours, labels, weight, **options)
        expected = torch.nn.functional.cross_entropy(
            theirs, torch.tensor(labels), None if weight is None else torch.tensor(weight), **options
        )
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
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch says nan without a word
        for loss in (losses.cross_entropy, losses.nll_loss):
            mean = loss(logits, [-100, -100])
            assert np.isnan(mean.item()) and grad(mean, logits).shape == (2, 3)


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


@pytest.mark.parametrize(
    ("labels", "options", "error", "text"),
    [
        (
            [0, 1, 2, 5],
            {},
            IndexError,
            r"cross_entropy: id 5 at position 3 is out of range for 5 classes: 0 to 4 are allowed",
        ),
        ([0, -1, 2, 3], {}, IndexError, "id -1 at position 1 is out of range"),
        ([0, -1, 2, 3], {"ignore_index": 0}, IndexError, "id -1 at position 1"),
        (
            [0.0, 1.0, 2.0, 3.0],
            {},
            TypeError,
            r"cross_entropy: ids must be integers, these have dtype float32.*astype\('int64'\)",
        ),
        ([0, 1, 2], {}, ValueError, r"input \(4, 5\) \(N, C, …\) asks for labels of shape \(4,\), these have \(3,\)"),
        ([[0], [1], [2], [3]], {}, ValueError, r"labels of shape \(4,\), these have \(4, 1\)"),
        (
            [0, 1, 2, 3],
            {"reduction": "avg"},
            ValueError,
            "reduction='avg' is not known: type one of 'mean', 'sum', 'none'",
        ),
        ([0, 1, 2, 3], {"weight": [1.0, 2.0]}, ValueError, r"class weights have shape \(2,\), but there are 5 classes"),
        ([0, 1, 2, 3], {"label_smoothing": 1.5}, ValueError, "label_smoothing=1.5"),
    ],
)
def test_what_cross_entropy_refuses(labels, options, error, text):
    with pytest.raises(error, match=text):
        losses.cross_entropy(Tensor(np.zeros((4, 5))), labels, **options)


def test_an_index_to_ignore_is_refused_beside_probabilities():
    with pytest.raises(
        ValueError, match="ignore_index=1 is for labels, but the target is the probability of every class"
    ):
        losses.cross_entropy(Tensor(np.zeros((2, 3))), np.full((2, 3), 1 / 3), ignore_index=1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, t, width: losses.huber_loss(x, t, delta=width),
        lambda x, t, width: losses.smooth_l1_loss(x, t, beta=width),
    ],
)
@pytest.mark.parametrize("width", [1j, "1", -1.0, float("nan"), None])
def test_a_width_is_a_number_not_below_zero(loss, width):
    with pytest.raises(ValueError, match=f"={re.escape(str(width))} must be"):
        loss(Tensor(np.zeros(2)), np.zeros(2), width)


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
    loss, expected = (
        losses.mse_loss(ours, t, reduction=reduction),
        torch.nn.functional.mse_loss(theirs, torch.tensor(t), reduction=reduction),
    )
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-14)
    expected.sum().backward()
    np.testing.assert_allclose(grad(mg.sum(loss), ours).numpy(), theirs.grad.numpy(), rtol=1e-14)
    gradcheck(lambda a, b: losses.mse_loss(a, b, reduction=reduction), [x, t], order=2)


def test_what_mse_refuses():
    with pytest.raises(
        ValueError, match=r"input has shape \(4, 1\) and target \(4,\).*every prediction with every target.*reshape"
    ):
        losses.mse_loss(Tensor(np.zeros((4, 1))), np.zeros(4))
    with pytest.raises(ValueError, match="mse_loss: reduction='max'"):
        losses.mse_loss(Tensor(np.zeros(4)), np.zeros(4), reduction="max")
    assert losses.mse_loss(Tensor(np.zeros(2, np.float32)), [1, 2]).dtype == np.float32


# Losses of two arrays of one shape.


def uniform(shape, seed):
    return np.asarray(np.random.default_rng(seed).random(shape))


def normal(shape, seed):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def labels(shape, seed):
    return np.round(uniform(shape, seed))


ELEMENTWISE = [
    ("mse_loss", normal, normal, {}),
    ("l1_loss", normal, normal, {}),
    ("l1_loss", labels, labels, {}),  # many errors are exactly 0
    ("huber_loss", normal, normal, {"delta": [0.3, 1.0, 5.0]}),
    ("smooth_l1_loss", normal, normal, {"beta": [0.0, 0.3, 1.0]}),
    ("smooth_l1_loss", labels, labels, {"beta": [0.0, 1.0]}),
    ("binary_cross_entropy", uniform, uniform, {}),
    ("binary_cross_entropy_with_logits", normal, uniform, {}),
    ("binary_cross_entropy_with_logits", lambda *args: 300 * normal(*args), labels, {}),
    ("kl_div", normal, uniform, {"log_target": [False]}),
    ("kl_div", normal, normal, {"log_target": [True]}),
]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # torch recommends "batchmean"
@pytest.mark.parametrize(("name", "inputs", "targets", "options"), ELEMENTWISE, ids=[case[0] for case in ELEMENTWISE])
@settings(max_examples=25)
@given(data=st.data(), shape=st.lists(st.integers(0, 4), max_size=3).map(tuple), seed=st.integers(0, 99))
def test_elementwise_losses_are_torchs(name, inputs, targets, options, data, shape, seed):
    torch = pytest.importorskip("torch")
    options = {option: data.draw(st.sampled_from(values)) for option, values in options.items()}
    reductions = ["mean", "sum", "none", *["batchmean"] * (name == "kl_div" and len(shape) > 0)]
    options["reduction"] = data.draw(st.sampled_from(reductions))
    if name.startswith("binary"):
        for key in ["weight", *["pos_weight"] * ("logits" in name)]:
            fitting = tuple(data.draw(st.sampled_from([1, n])) for n in shape)[data.draw(st.integers(0, len(shape))) :]
            options |= {key: np.asarray(0.5 + uniform(fitting, 7))} if data.draw(st.booleans()) else {}
    arrays = [inputs(shape, seed), targets(shape, seed + 1)]
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    with np.errstate(invalid="ignore", divide="ignore"):  # the mean of nothing is nan, in torch too
        loss = getattr(losses, name)(*ours, **options)
    expected = getattr(torch.nn.functional, name)(
        *theirs,
        **{key: torch.tensor(value) if isinstance(value, np.ndarray) else value for key, value in options.items()},
    )
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    if np.isfinite(loss.numpy()).all():
        gradients = torch.autograd.grad(expected.sum(), theirs)
        for again in (False, True):
            for g, their_g in zip(
                grad(mg.sum(loss), ours, create_graph=again, retain_graph=True), gradients, strict=True
            ):
                np.testing.assert_allclose(g.numpy(), their_g.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", dict.fromkeys(case[0] for case in ELEMENTWISE))
@pytest.mark.parametrize(
    ("shape", "other"), [((4,), (4, 1)), ((4, 1), (4,)), ((4, 3), (3,)), ((4, 3), (4, 1)), ((1,), ())]
)
def test_nothing_is_broadcast(name, shape, other):
    shapes = rf"input has shape {re.escape(str(shape))} and target {re.escape(str(other))}"
    text = rf"{name}: {shapes}; broadcasting .* use .reshape"
    with pytest.raises(ValueError, match=text):
        getattr(losses, name)(Tensor(uniform(shape, 0)), uniform(other, 1))
    with pytest.raises(ValueError, match=f"{name}: reduction='max' is not known"):
        getattr(losses, name)(Tensor(uniform(shape, 0)), uniform(shape, 1), reduction="max")


def test_a_target_of_any_kind_widens_nothing():
    x = Tensor(np.array([0.25, 0.5], np.float32))
    for name in dict.fromkeys(case[0] for case in ELEMENTWISE):
        for target in ([1, 0], [1.0, 0.0], np.array([1, 0]), np.array([1.0, 0.0]), Tensor([1, 0])):
            assert getattr(losses, name)(x, target).dtype == np.float32, name
    logits, wide = Tensor(np.zeros((1, 2), np.float32)), np.array([[0.5, 0.5]])
    assert (
        losses.cross_entropy(logits, wide, wide[0]).dtype
        == losses.cross_entropy(logits, [1], wide[0]).dtype
        == np.float32
    )
    half = losses.binary_cross_entropy_with_logits(
        x, Tensor([1, 0]), np.array([2.0]), reduction="none", pos_weight=Tensor(np.array(0.5))
    )
    np.testing.assert_allclose(half.numpy(), [np.log1p(np.exp(-0.25)), 2 * np.log1p(np.exp(0.5))], rtol=1e-6)
    assert half.dtype == np.float32


def test_probabilities_of_zero_and_one_are_held_finite_as_in_torch():
    torch = pytest.importorskip("torch")
    p, t = np.array([0.0, 0, 1, 1], np.float32), np.array([0.0, 1, 0, 1], np.float32)
    ours, theirs = Tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    with np.errstate(all="raise"):
        loss = losses.binary_cross_entropy(ours, t, reduction="none")
        loss.backward(np.ones(4, np.float32))
    torch.nn.functional.binary_cross_entropy(theirs, torch.tensor(t), reduction="sum").backward()
    assert loss.tolist() == [0, 100, 100, 0] and ours.grad.tolist() == theirs.grad.tolist()


def test_logits_that_say_nothing_and_everything():
    """At 0, where a head of zeros begins, the gradient is not lost; far out, nothing overflows or is rounded away."""
    x = Tensor(np.array([0, 1e4, -1e4, 50], np.float32), requires_grad=True)
    with np.errstate(all="raise", under="ignore"):
        loss = losses.binary_cross_entropy_with_logits(x, np.array([1, 0, 1, 1], np.float32), reduction="none")
        loss.backward(np.ones(4, np.float32))
    np.testing.assert_allclose(loss.numpy(), [np.log(2), 1e4, 1e4, np.exp(-50)], rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), [-0.5, 1, -1, -np.exp(-50)], rtol=1e-6, atol=1e-12)
    gradcheck(lambda x: losses.binary_cross_entropy_with_logits(x, [1.0, 0.0]), np.zeros(2), order=2)


def test_a_probability_of_zero_costs_nothing_in_kl():
    assert losses.kl_div(np.log([[0.5, 0.5]]), np.array([[0.0, 1.0]]), reduction="sum").item() == pytest.approx(
        np.log(2)
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: losses.binary_cross_entropy(np.array([0.5, 1.5]), [1, 0]),
            "must be probabilities, but goes from 0.5 to 1.5: give",
        ),
        (lambda: losses.binary_cross_entropy(np.array([np.nan]), [1]), "goes from nan to nan"),
        (
            lambda: losses.binary_cross_entropy(X[:, :1], X[:, :1], np.ones(2)),
            r"weight of shape \(2,\) does not .* \(2, 1\)",
        ),
        (
            lambda: losses.binary_cross_entropy_with_logits(X, X, pos_weight=np.ones(3)),
            r"pos_weight of shape \(3,\) .* \(2, 4\)",
        ),
        (lambda: losses.huber_loss(X, X, delta=0), "delta=0 must be above 0"),
        (lambda: losses.smooth_l1_loss(X, X, beta=-1), "beta=-1 must be 0 or more"),
    ],
)
def test_what_elementwise_losses_refuse(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# Losses of classes, when the labels are probabilities or the scores are log-probabilities.


@settings(max_examples=30)
@given(cross_entropies())
def test_nll_is_torchs(case):
    torch = pytest.importorskip("torch")
    log_p, labels, weight, options = case
    options.pop("label_smoothing")
    ours, theirs = Tensor(log_p, requires_grad=True), torch.tensor(log_p, requires_grad=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = losses.nll_loss(ours, labels, weight, **options)
    their_weight = None if weight is None else torch.tensor(weight)
    expected = torch.nn.functional.nll_loss(theirs, torch.tensor(labels), their_weight, **options)
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    if np.isfinite(loss.numpy()).all():
        expected.sum().backward()
        np.testing.assert_allclose(grad(mg.sum(loss), ours).numpy(), theirs.grad.numpy(), rtol=1e-12, atol=1e-14)


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 4)),
    more=st.lists(st.integers(0, 3), max_size=2),
    seed=st.integers(0, 99),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.booleans(),
)
def test_cross_entropy_with_probabilities_is_torchs(shape, more, seed, smoothing, reduction, weighted):
    torch = pytest.importorskip("torch")
    arrays = [normal((*shape, *more), seed), uniform((*shape, *more), seed)]
    weight = uniform(shape[1:], seed) if weighted else None
    ours, theirs = (
        [Tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    options = {"reduction": reduction, "label_smoothing": smoothing}
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = losses.cross_entropy(*ours, weight, **options)
    expected = torch.nn.functional.cross_entropy(*theirs, None if weight is None else torch.tensor(weight), **options)
    if min(arrays[0].shape) or reduction != "mean":  # over nothing torch says 0 here, and nan everywhere else
        np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
        for g, their_g in zip(grad(mg.sum(loss), ours), torch.autograd.grad(expected.sum(), theirs), strict=True):
            np.testing.assert_allclose(g.numpy(), their_g.numpy(), rtol=1e-11, atol=1e-13)


def test_probabilities_that_are_certain_are_labels():
    logits = normal((3, 4), 0)
    soft, hard = (
        losses.cross_entropy(logits, t, [1, 2, 3, 4], reduction="none") for t in (np.eye(4)[[2, 0, 3]], [2, 0, 3])
    )
    np.testing.assert_allclose(soft, hard, rtol=1e-14)
    with pytest.raises(ValueError, match=r"class weights have shape \(3,\), but there are 4 classes"):
        losses.cross_entropy(logits, np.eye(4)[[2, 0, 3]], [1, 2, 3])


@pytest.mark.parametrize("minus_infinity", [[0], [0, 1]])
def test_a_class_that_is_impossible(minus_infinity):
    logits = np.zeros((2, 3))
    logits[0, minus_infinity] = -np.inf  # masked out
    x = Tensor(logits, requires_grad=True)
    loss = losses.cross_entropy(x, [2, -100])
    loss.backward()
    assert loss.item() == pytest.approx(np.log(3 - len(minus_infinity))) and np.isfinite(x.grad.numpy()).all()


# Losses of pairs of vectors.


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 4)),
    batched=st.booleans(),
    margin=st.sampled_from([-0.5, 0.0, 0.5]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    seed=st.integers(0, 99),
)
def test_cosine_embedding_is_torchs(shape, batched, margin, reduction, seed):
    torch = pytest.importorskip("torch")
    shape = shape if batched else shape[1:]
    arrays, signs = [normal(shape, seed), normal(shape, seed + 1)], 2 * labels(shape[:-1], seed) - 1
    ours, theirs = (
        [Tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = losses.cosine_embedding_loss(*ours, signs, margin, reduction=reduction)
    expected = torch.nn.functional.cosine_embedding_loss(*theirs, torch.tensor(signs), margin, reduction=reduction)
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    if np.isfinite(loss.numpy()).all():
        for g, their_g in zip(grad(mg.sum(loss), ours), torch.autograd.grad(expected.sum(), theirs), strict=True):
            np.testing.assert_allclose(g.numpy(), their_g.numpy(), rtol=1e-9, atol=1e-9)


def test_vectors_that_are_zero_or_equal_have_a_finite_gradient():
    a, b = (Tensor(x, requires_grad=True) for x in (np.array([[0.0, 0], [1, 2]]), np.array([[1.0, 1], [1, 2]])))
    for name in ("cosine_embedding_loss", "contrastive_loss"):
        for sign in ([1, 1], [-1, -1]):
            assert all(np.isfinite(g.numpy()).all() for g in grad(getattr(losses, name)(a, b, sign), [a, b]))


def test_contrastive_by_hand():
    a, b = np.zeros((3, 2)), np.array([[3.0, 4], [3, 4], [0.3, 0.4]])
    np.testing.assert_allclose(losses.contrastive_loss(a, b, [1, -1, -1], reduction="none"), [12.5, 0, 0.125])
    assert losses.contrastive_loss(a, b, [1, -1, -1], margin=2.0).item() == pytest.approx((12.5 + 0 + 1.125) / 3)


@settings(max_examples=20)
@given(
    n=st.integers(1, 4), more=st.integers(0, 3), size=st.integers(1, 5), temperature=st.sampled_from([0.05, 0.07, 1.0])
)
def test_info_nce_is_cross_entropy_of_the_cosines(n, more, size, temperature):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    arrays = [normal((n, size), n), normal((n + more, size), size)]
    ours, theirs = (
        [Tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    loss = losses.info_nce(*ours, temperature)
    expected = F.cross_entropy(
        F.cosine_similarity(theirs[0][:, None], theirs[1], dim=-1) / temperature, torch.arange(n)
    )
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-8, atol=1e-10)
    for g, their_g in zip(grad(loss, ours), torch.autograd.grad(expected, theirs), strict=True):
        np.testing.assert_allclose(g.numpy(), their_g.numpy(), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: losses.cosine_embedding_loss(X, X, [1, 0]),
            "belong together and -1 where they do not; .* give 2 \\* labels - 1",
        ),
        (
            lambda: losses.contrastive_loss(X, X, [[1], [1]]),
            r"target \(N,\) are needed, these have \(2, 4\), \(2, 4\) and \(2, 1\)",
        ),
        (
            lambda: losses.cosine_embedding_loss(X, X[:1], [1, 1]),
            r"two inputs of one shape .* \(2, 4\), \(1, 4\) and \(2,\)",
        ),
        (lambda: losses.contrastive_loss(X, X, [1, 1], reduction="avg"), "contrastive_loss: reduction='avg'"),
        (lambda: losses.info_nce(X, X[:1]), r"M >= N are needed, these have \(2, 4\) and \(1, 4\)"),
        (lambda: losses.info_nce(X, X[:, :3]), r"these have \(2, 4\) and \(2, 3\)"),
    ],
)
def test_what_losses_of_pairs_refuse(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# CTC.


@st.composite
def sequences(draw):
    """Log-probabilities (T, N, C), labels (N, S), lengths and the blank: some targets are empty, some too long to be
    spelled.
    """
    T, N, C, S = draw(st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(2, 5), st.integers(0, 4)))
    rng, blank = np.random.default_rng(draw(st.integers(0, 999))), draw(st.integers(0, C - 1))
    labels = (blank + rng.integers(1, C, (N, S))) % C
    return rng.standard_normal((T, N, C)), labels, rng.integers(0, T + 1, N), rng.integers(0, S + 1, N), blank


@settings(max_examples=60)
@given(sequences(), st.sampled_from(["mean", "sum", "none"]), st.booleans(), st.booleans())
def test_ctc_is_torchs(case, reduction, zero_infinity, concatenated):
    torch = pytest.importorskip("torch")
    x, labels, input_lengths, target_lengths, blank = case
    targets = np.concatenate([row[:n] for row, n in zip(labels, target_lengths)]) if concatenated else labels
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    more = input_lengths, target_lengths
    loss = losses.ctc_loss(mg.log_softmax(ours, -1), targets, *more, blank, reduction, zero_infinity)
    expected = torch.nn.functional.ctc_loss(
        theirs.log_softmax(-1), torch.tensor(targets), *map(torch.tensor, more), blank, reduction, zero_infinity
    )
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    expected.sum().backward()
    for again in (False, True):
        g = grad(mg.sum(loss), ours, create_graph=again, retain_graph=True).numpy()
        possible = np.isfinite(theirs.grad.numpy())  # torch's gradient of an infinite loss is nan, ours 0
        np.testing.assert_allclose(g[possible], theirs.grad.numpy()[possible], rtol=1e-9, atol=1e-12)
        assert (g[~possible] == 0).all()


def test_one_sequence_alone():
    torch = pytest.importorskip("torch")
    x = np.log(rng.dirichlet(np.ones(4), 6))
    for reduction in ("none", "mean", "sum"):
        loss = losses.ctc_loss(x, [1, 1, 3], 6, 3, reduction=reduction)
        expected = torch.nn.functional.ctc_loss(*map(torch.tensor, (x, [1, 1, 3], 6, 3)), reduction=reduction)
        assert np.shape(loss) == () and loss == pytest.approx(expected.item())


def test_ctc_over_a_thousand_steps_of_impossible_classes():
    """In float32, with classes masked out by -inf: nothing overflows, what is impossible has gradient 0."""
    x = np.log(np.random.default_rng(0).dirichlet(np.ones(5), (1000, 2))).astype(np.float32)
    x[:, 0, 4] = x[7, 1, :] = -np.inf  # the first may not say 4; the second has a step where nothing is possible
    x = Tensor(x, requires_grad=True)
    with np.errstate(all="raise", under="ignore"):
        loss = losses.ctc_loss(x, [[1, 2, 3], [1, 2, 3]], [1000, 1000], [3, 3], reduction="none")
        mg.sum(mg.where(np.isfinite(loss.numpy()), loss, 0)).backward()
    assert np.isfinite(loss.numpy()[0]) and loss.numpy()[1] == np.inf
    g = x.grad.numpy()
    np.testing.assert_allclose(g[:, 0].sum(-1), -1, atol=3e-3)  # at each step some class is the one
    assert (g[:, 0, 4] == 0).all() and (g[:, 1] == 0).all()


def test_ctc_to_the_third_order_and_without_examples():
    x = np.log(rng.dirichlet(np.ones(3), (4, 2)))
    gradcheck(lambda x: losses.ctc_loss(x, [1, 1, 2], [4, 3], [2, 1], reduction="none"), x, order=3)
    lengths = np.zeros(0, int)
    assert losses.ctc_loss(np.zeros((4, 0, 3)), np.zeros((0, 2), int), lengths, lengths, reduction="none").shape == (0,)


@pytest.mark.parametrize(
    ("targets", "lengths", "blank", "error", "text"),
    [
        (
            [[1, 2], [1, 3]],
            ([4, 5], [2, 2]),
            0,
            ValueError,
            r"input_lengths must be 2 whole .* from 0 to 4, but is \[4, 5\]",
        ),
        ([[1, 2], [1, 3]], ([4], [2, 2]), 0, ValueError, r"input_lengths must be 2 whole numbers, .* but is \[4\]"),
        (
            [[1, 2], [1, 3]],
            ([4.0, 4.0], [2, 2]),
            0,
            ValueError,
            r"input_lengths must be 2 whole numbers, .* \[4.0, 4.0\]",
        ),
        (
            [[1, 2], [1, 3]],
            ([4, 4], [2, 3]),
            0,
            ValueError,
            r"target_lengths must be 2 whole .* from 0 to 2, but is \[2, 3\]",
        ),
        (
            [1, 2, 1],
            ([4, 4], [2, 2]),
            0,
            ValueError,
            r"\(N, S\) = \(2, S\) or \(Σ target_lengths,\) = \(4,\), but have shape \(3,\)",
        ),
        ([[1, 2]], ([4, 4], [2, 2]), 0, ValueError, r"but have shape \(1, 2\)"),
        (
            [1, 2, 1, 4],
            ([4, 4], [2, 2]),
            0,
            IndexError,
            "ctc_loss: id 4 at position 3 is out of range for 4 classes: 0 to 3",
        ),
        ([[1, 2], [0, 3]], ([4, 4], [2, 2]), 0, ValueError, r"label 2 is the blank \(0\), which no target may contain"),
        ([[1, 2], [1, 3]], ([4, 4], [2, 2]), 4, ValueError, "blank=4 is not one of the 4 classes, 0 to 3"),
    ],
)
def test_what_ctc_refuses(targets, lengths, blank, error, text):
    with pytest.raises(error, match=text):
        losses.ctc_loss(Tensor(np.zeros((4, 2, 4))), targets, *lengths, blank)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1}, {"weight": [1.0, 2, 3]}, {"weight": [1.0, 2, 3], "label_smoothing": 0.1}]
)
@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.nll_loss])
def test_where_all_labels_are_ignored_the_mean_is_nan_and_nothing_moves(loss, options, dtype):
    """By the kernel and by the definition, to second order: a nan would ruin every weight of the step."""
    if loss is losses.nll_loss and "label_smoothing" in options:
        return
    for shape in ((2, 3), (2, 3, 4), (400, 3)):
        labels = np.full((shape[0], *shape[2:]), -100)
        for again in (False, True):
            x = Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)
            weight = Tensor(np.ones((3, 3), dtype), requires_grad=True)
            with np.errstate(all="raise", under="ignore"):
                value = loss(mg.einsum("nc...,cd->nd...", x, weight), labels, **options)
                g = grad(value, [x, weight], create_graph=again)
            assert np.isnan(value.item()) and not any(a.numpy().any() for a in g)
            if again and g[1].requires_grad:
                assert not grad(sum(a.sum() for a in g), weight).numpy().any()


@pytest.mark.parametrize("again", [False, True])
def test_some_labels_ignored_and_a_class_of_weight_0(again):
    torch = pytest.importorskip("torch")
    values, labels, weight = rng.standard_normal((4, 3)), np.array([0, -100, 1, 1]), np.array([0.0, 2, 1])
    x, t = Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    loss = losses.cross_entropy(x, labels, weight)
    expected = torch.nn.functional.cross_entropy(t, torch.tensor(labels), torch.tensor(weight))
    expected.backward()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-12)
    np.testing.assert_allclose(grad(loss, x, create_graph=again).numpy(), t.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("offset", [1e5, -1e5, 1e6])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_offset_of_all_scores_changes_nothing(offset, smoothing):
    """Not even in float32: the largest score is subtracted before the logarithm is added."""
    values, labels = np.round(4 * rng.standard_normal((50, 30))).astype(np.float32), rng.integers(0, 30, 50)
    found = []
    for more in (0, offset):
        x = Tensor(values + np.float32(more), requires_grad=True)
        loss = losses.cross_entropy(x, labels, label_smoothing=smoothing)
        found.append([loss.numpy(), grad(loss, x).numpy()])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize(
    "f",
    [
        losses.mse_loss,
        losses.l1_loss,
        losses.huber_loss,
        losses.smooth_l1_loss,
        losses.kl_div,
        losses.binary_cross_entropy,
        losses.binary_cross_entropy_with_logits,
    ],
)
def test_losses_of_lists_and_of_numbers(f):
    expected = f(np.array([0.25, 0.5], "f4"), np.array([0.5, 0.75], "f4"))
    np.testing.assert_array_equal(f([0.25, 0.5], [0.5, 0.75]), expected)
    np.testing.assert_array_equal(f(input=[0.25, 0.5], target=Tensor([0.5, 0.75])).numpy(), expected)
    np.testing.assert_allclose(float(f(0.25, 0.5)), f(np.array([0.25]), np.array([0.5])), rtol=1e-6)
    for wrong in ("a", None, ["a"]):
        with pytest.raises(TypeError, match=f"^{f.__name__}"):
            f(wrong, [1.0])


def test_losses_of_pairs_of_lists():
    a, b = [[1.0, 2], [3, 5]], [[2.0, 1], [0, 1]]
    arrays = np.array(a, "f4"), np.array(b, "f4")
    for f, more in (
        (losses.cosine_embedding_loss, ([1, -1],)),
        (losses.contrastive_loss, ([1, -1],)),
        (losses.info_nce, ()),
    ):
        np.testing.assert_array_equal(f(a, b, *more), f(*arrays, *more))
    for f in (losses.cross_entropy, losses.nll_loss):
        np.testing.assert_array_equal(f(a, [0, 1]), f(arrays[0], [0, 1]))


@pytest.mark.parametrize(
    "call",
    [
        lambda w, p: losses.cross_entropy(Tensor([[1.0, 2]]), [0], weight=w),
        lambda w, p: losses.cross_entropy(Tensor([[1.0, 2]]), Tensor([[0.5, 0.5]]), weight=w),
        lambda w, p: losses.nll_loss(Tensor([[1.0, 2]]), [0], w),
        lambda w, p: losses.binary_cross_entropy(Tensor([[0.5, 0.5]]), [[0.0, 1]], w),
        lambda w, p: losses.binary_cross_entropy_with_logits(Tensor([[0.5, 0.5]]), [[0.0, 1]], w),
        lambda w, p: losses.binary_cross_entropy_with_logits(Tensor([[0.5, 0.5]]), [[0.0, 1]], pos_weight=w),
        lambda w, p: nn.CrossEntropyLoss(w),
        lambda w, p: nn.BCEWithLogitsLoss(pos_weight=w),
        lambda w, p: nn.NLLLoss(weight=w),
    ],
)
def test_a_weight_that_requires_a_gradient_is_refused(call):
    """It is a constant, and its gradient would be lost without a word."""
    weight = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match="weight is a constant, but this one requires a gradient"):
        call(weight, None)
    call(weight.detach(), None)
    with mg.no_grad():
        call(weight, None)
