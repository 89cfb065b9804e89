"""Masks on weights: what is chosen, what is computed, what is trained and what is saved."""

import copy

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn.utils import prune


def layer(shape=(6, 8), seed=0):
    return nn.Linear(shape[1], shape[0], rng=seed)


def zeros(module, name="weight"):
    return getattr(module, name).numpy() == 0


def test_the_smallest_go_and_the_others_stay():
    fc = layer()
    before = fc.weight.numpy().copy()
    assert prune.l1_unstructured(fc, "weight", 0.25) is fc
    smallest = np.argsort(np.abs(before).ravel())[:12]
    expected = before.ravel().copy()
    expected[smallest] = 0
    assert np.array_equal(fc.weight.numpy().ravel(), expected) and fc.weight.dtype == np.float32
    prune.l1_unstructured(fc, "weight", 12)  # twelve more
    assert zeros(fc).sum() == 24 and zeros(fc).ravel()[smallest].all()
    prune.l1_unstructured(fc, "weight", 0.5)  # half of those left
    assert zeros(fc).sum() == 36


def test_scores_may_be_given():
    fc = layer()
    scores = np.arange(48.0).reshape(6, 8)
    prune.l1_unstructured(fc, "weight", 3, importance_scores=scores)
    assert np.array_equal(zeros(fc), scores < 3)
    other = layer()
    prune.ln_structured(other, "weight", 2, n=2, dim=0, importance_scores=-scores)
    assert zeros(other).all(1).tolist() == [True, True, False, False, False, False]


def test_whole_slices():
    fc = layer()
    norms = np.linalg.norm(fc.weight.numpy(), 2, 0)
    prune.ln_structured(fc, "weight", 0.5, n=2, dim=1)
    assert np.array_equal(zeros(fc).all(0), norms < np.sort(norms)[4]) and zeros(fc).sum() == 24
    prune.ln_structured(fc, "weight", 0.5, n=2, dim=1)  # half of the columns left
    assert zeros(fc).all(0).sum() == 6
    conv = nn.Conv2d(4, 6, 3, rng=0)
    prune.random_structured(conv, "weight", 2, dim=0, rng=0)
    assert zeros(conv).all((1, 2, 3)).sum() == 2 and zeros(conv).sum() == 2 * 36


def test_at_random():
    fc, same = (prune.random_unstructured(layer(), "weight", 0.5, rng=3) for _ in range(2))
    assert zeros(fc).sum() == 24 and np.array_equal(zeros(fc), zeros(same))


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8)])
def test_n_of_each_m_inputs(n, m):
    fc = layer((5, 16))
    before = np.abs(fc.weight.numpy()).reshape(5, -1, m)
    prune.semi_structured(fc, "weight", n, m)
    kept = ~zeros(fc).reshape(5, -1, m)
    assert (kept.sum(-1) == n).all()
    assert (before.max(-1, where=~kept, initial=0) <= before.min(-1, where=kept, initial=9)).all()
    conv = prune.semi_structured(nn.Conv2d(8, 3, 3, rng=0), "weight", n, m)
    assert ((~zeros(conv)).reshape(3, -1, m, 3, 3).sum(2) == n).all()


def test_several_as_one():
    a, b = layer(seed=0), layer(seed=1)
    b.weight.copy_(b.weight.numpy() * 1e-4)
    prune.global_unstructured([(a, "weight"), (b, "weight"), (a, "bias")], prune.L1Unstructured, amount=48)
    assert zeros(b).all() and not zeros(a).any() and not zeros(a, "bias").any()


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW, optim.RMSprop, optim.LBFGS])
def test_no_optimiser_revives_what_is_pruned(kind):
    """Also one that was made before, and has momentum and decay."""
    fc, x = layer(), mg.randn(9, 8, rng=0)
    options = {"lr": 0.1} | ({"momentum": 0.9, "weight_decay": 0.1} if kind is optim.SGD else {})
    optimizer = kind(fc.parameters(), **options)

    def step():
        def closure():
            optimizer.zero_grad()
            loss = ((fc(x) - 1) ** 2).mean()
            loss.backward()
            return loss

        optimizer.step(closure)

    for _ in range(3):
        step()
    prune.l1_unstructured(fc, "weight", 0.5)
    pruned, kept = zeros(fc), fc.weight.numpy().copy()
    for _ in range(3):
        step()
    assert np.array_equal(zeros(fc), pruned) and not np.allclose(fc.weight.numpy(), kept)


def test_gradients_and_forward_are_those_of_the_masked_weight():
    fc, x = layer(), mg.randn(9, 8, rng=0)
    plain = copy.deepcopy(fc)
    prune.l1_unstructured(fc, "weight", 0.5)
    plain.weight.copy_(fc.weight)
    for module in (fc, plain):
        mg.tanh(module(x)).sum().backward()
    assert np.array_equal(fc(x).numpy(), plain(x).numpy())
    assert np.array_equal(fc.weight_orig.grad.numpy(), np.where(zeros(fc), 0, plain.weight.grad.numpy()))
    assert mg.gradcheck(lambda w: mg.where(mg.Tensor(~zeros(fc)), w, 0) @ x.double().mT, [fc.weight_orig.double()])


def test_names_types_and_states():
    fc = prune.l1_unstructured(layer(), "weight", 0.5)
    prune.l1_unstructured(fc, "bias", 0.5)
    assert isinstance(fc, nn.Linear) and prune.is_pruned(fc) and prune.is_pruned(nn.Sequential(fc))
    assert {*fc.state_dict()} == {"weight_orig", "weight_mask", "bias_orig", "bias_mask"}
    other = prune.identity(prune.identity(layer(seed=5), "weight"), "bias")
    assert not zeros(other).any() and type(other) is type(fc)
    other.load_state_dict(fc.state_dict())
    assert np.array_equal(other.weight.numpy(), fc.weight.numpy())
    twin = copy.deepcopy(fc)
    twin.half()
    assert twin.weight.dtype == np.float16 and fc.weight.dtype == np.float32 and (zeros(twin) == zeros(fc)).all()
    prune.remove(prune.remove(fc, "weight"), "bias")
    assert type(fc) is nn.Linear and {*fc.state_dict()} == {"weight", "bias"} and not prune.is_pruned(fc)
    assert np.array_equal(fc.weight.numpy(), other.weight.numpy()) and fc.weight.is_leaf


def test_infinite_weights_can_be_pruned():
    fc = layer()
    fc.weight.copy_(np.where(np.arange(48).reshape(6, 8) == 7, np.inf, fc.weight.numpy()))
    prune.custom_from_mask(fc, "weight", np.arange(48).reshape(6, 8) != 7)
    assert np.isfinite(fc(mg.ones(8)).numpy()).all()


def test_a_method_of_ones_own():
    class EverySecond(prune.BasePruningMethod):
        def compute_mask(self, t, default_mask):
            return default_mask & (np.arange(t.size).reshape(t.shape) % 2 == 0)

    assert zeros(EverySecond.apply(layer(), "weight")).sum() == 24


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (
            lambda fc: prune.custom_from_mask(fc, "weight", np.ones((8, 6))),
            ValueError,
            r"\(8, 6\), but .*\(6, 8\): give",
        ),
        (
            lambda fc: prune.l1_unstructured(fc, "weight", 1.5),
            ValueError,
            "amount is 1.5; expected a fraction from 0.0",
        ),
        (lambda fc: prune.l1_unstructured(fc, "weight", -1), ValueError, "amount is -1; expected"),
        (lambda fc: prune.l1_unstructured(fc, "weight", 49), ValueError, "amount is 49, but only 48 are left to prune"),
        (lambda fc: prune.l1_unstructured(fc, "weight", "half"), TypeError, "amount is 'half'; expected"),
        (
            lambda fc: prune.l1_unstructured(fc, "wieght", 0.5),
            ValueError,
            "no parameter 'wieght' to prune: it has weight",
        ),
        (lambda fc: prune.l1_unstructured(fc, "weight", 1, np.ones(3)), ValueError, r"have shape \(3,\); expected"),
        (lambda fc: prune.ln_structured(fc, "bias", 1, 2, 0), ValueError, r"shape \(6,\) has no slices along dim 0"),
        (lambda fc: prune.ln_structured(fc, "weight", 1, 2, 2), ValueError, "has no slices along dim 2"),
        (lambda fc: prune.semi_structured(fc, "weight", 2, 5), ValueError, "must be a multiple of 5"),
        (lambda fc: prune.semi_structured(fc, "weight", 5, 4), ValueError, "0 < n <= m"),
        (lambda fc: prune.remove(fc, "weight"), ValueError, "'weight' has no mask to remove"),
        (
            lambda fc: prune.global_unstructured([], prune.L1Unstructured, amount=1),
            ValueError,
            "no parameters to prune",
        ),
    ],
)
def test_bad_input(call, error, told):
    fc = layer()
    with pytest.raises(error, match=told):
        call(fc)
    assert type(fc) is nn.Linear and {*fc.state_dict()} == {"weight", "bias"}


def test_a_pruned_weight_cannot_be_set():
    fc = prune.l1_unstructured(layer(), "weight", 0.5)
    with pytest.raises(TypeError, match=r"weight is pruned, .* type nn.utils.prune.remove\(module, 'weight'\)"):
        fc.weight = nn.Parameter(np.ones((6, 8), np.float32))
