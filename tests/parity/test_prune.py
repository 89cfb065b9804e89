"""Pruning as torch.nn.utils.prune does it: the same masks for the same calls, the same names, the same gradients."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.nn.utils import prune

torch = pytest.importorskip("torch")
import torch.nn.utils.prune as torch_prune  # noqa: E402


def both(shape=(6, 8), seed=0):
    ours, theirs = nn.Linear(shape[1], shape[0], rng=seed), torch.nn.Linear(shape[1], shape[0])
    theirs.load_state_dict({name: torch.tensor(t.numpy()) for name, t in ours.state_dict().items()})
    return ours, theirs


def same(ours, theirs):
    state, expected = ours.state_dict(), theirs.state_dict()
    assert {*state} == {*expected}
    for name, t in state.items():
        assert np.array_equal(t.numpy(), expected[name].numpy()), name
    assert np.array_equal(ours.weight.detach().numpy(), theirs.weight.detach().numpy())


CALLS = {
    "l1": [("l1_unstructured", {"amount": 0.3})],
    "l1 of a number": [("l1_unstructured", {"amount": 7})],
    "l1 twice": [("l1_unstructured", {"amount": 0.5})] * 2,
    "ln": [("ln_structured", {"amount": 0.5, "n": 2, "dim": 0})],
    "ln twice, both ways": [
        ("ln_structured", {"amount": 0.5, "n": 1, "dim": 0}),
        ("ln_structured", {"amount": 3, "n": 2, "dim": -1}),
    ],
    "l1, then ln": [("l1_unstructured", {"amount": 0.3}), ("ln_structured", {"amount": 2, "n": 2, "dim": 1})],
    "identity": [("identity", {})],
}


@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS)
def test_masks_and_gradients(calls):
    ours, theirs = both()
    for name, options in calls:
        getattr(prune, name)(ours, "weight", **options)
        getattr(torch_prune, name)(theirs, "weight", **options)
    same(ours, theirs)
    x = np.random.default_rng(0).standard_normal((5, 8), np.float32)
    (ours(x) ** 2).sum().backward()
    (theirs(torch.tensor(x)) ** 2).sum().backward()
    np.testing.assert_allclose(ours.weight_orig.grad.numpy(), theirs.weight_orig.grad.numpy(), rtol=1e-5, atol=1e-6)
    prune.remove(ours, "weight")
    torch_prune.remove(theirs, "weight")
    same(ours, theirs)


def test_several_as_one():
    pairs = [both(seed=0), both((3, 8), seed=1)]
    prune.global_unstructured([(fc, "weight") for fc, _ in pairs], prune.L1Unstructured, amount=0.4)
    torch_prune.global_unstructured([(fc, "weight") for _, fc in pairs], torch_prune.L1Unstructured, amount=0.4)
    for pair in pairs:
        same(*pair)


def test_a_mask_of_ones_own():
    mask = np.random.default_rng(0).random((6, 8)) > 0.5
    ours, theirs = both()
    prune.custom_from_mask(ours, "weight", mask)
    torch_prune.custom_from_mask(theirs, "weight", torch.tensor(mask))
    same(ours, theirs)
