"""A seed means the same bits on every device: dropout masks and first weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import backend, nn, ops
from minigrad import functional as F
from minigrad.backend.cuda import random
from minigrad.tensor import Tensor

xp = backend.get("cuda").xp
GENERATORS = [np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64, np.random.MT19937]


@given(shape=st.lists(st.integers(0, 40), max_size=3), p=st.floats(0.001, 0.999), before=st.integers(0, 3))
def test_masks(shape, p, before):
    """The same mask, and the same generator afterwards, whatever was drawn from it before."""
    generators = [np.random.default_rng(7), np.random.default_rng(7)]
    for generator in generators:
        generator.integers(0, 9, before, np.uint32)  # an odd number leaves half a word behind
    numpys, ours = (
        ops.keep_mask(like, tuple(shape), p, generator)
        for like, generator in zip((np.zeros(1), xp.zeros(1)), generators)
    )
    np.testing.assert_array_equal(ours.get(), numpys)
    assert generators[0].bit_generator.state == generators[1].bit_generator.state


def test_what_a_seed_promises():
    """mg.seed: the same weights and the same masks on both backends, and the stream in the same place after them."""
    found = []
    try:
        for device in ("cpu", "cuda"):
            mg.seed(11)
            layer = nn.Linear(3, 4).to(device)
            y = F.dropout(layer(Tensor(np.ones((5, 3), "float32"), device=device)), 0.5)
            found.append([layer.weight.numpy(), y.numpy() != 0, ops.generator(None).random()])
    finally:
        mg.seed(None)
    for cpu, cuda in zip(*found, strict=True):
        np.testing.assert_array_equal(cpu, cuda)


@pytest.mark.parametrize("bits", GENERATORS)
def test_masks_of_any_generator(bits, downloads):
    numpys, ours = (
        ops.keep_mask(like, (300, 7), 0.3, np.random.Generator(bits(0))) for like in (np.zeros(1), xp.zeros(1))
    )
    assert downloads() == 0
    np.testing.assert_array_equal(ours.get(), numpys)


def test_a_mask_of_many_blocks():
    shape = (random.BLOCK * random.WORDS_PER_THREAD * 4 * 3 + 5,)
    np.testing.assert_array_equal(
        ops.keep_mask(xp.zeros(1), shape, 0.5, 1).get(), ops.keep_mask(np.zeros(1), shape, 0.5, 1)
    )


def test_dropout_and_attention():
    x = np.random.default_rng(0).standard_normal((2, 4, 6), "f4")
    for op in (
        lambda x: F.dropout(x, 0.3, rng=5),
        lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.3, rng=5),
    ):
        ours, numpys = (op(Tensor(x, device=device)).numpy() for device in ("cuda", "cpu"))
        np.testing.assert_allclose(ours, numpys, rtol=1e-5, atol=1e-6)


def test_first_weights():
    ours, numpys = nn.Linear(30, 20, rng=0).to("cuda"), nn.Linear(30, 20, rng=0)
    np.testing.assert_array_equal(ours.weight.numpy(), numpys.weight.numpy())
    ours, numpys = (
        nn.init.trunc_normal_(Tensor(np.empty((30, 20), "f4"), device=device), rng=3) for device in ("cuda", "cpu")
    )
    np.testing.assert_array_equal(ours.numpy(), numpys.numpy())
