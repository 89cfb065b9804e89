"""Random Tensors: their shapes, dtypes and distributions, and that a seed means the same numbers."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor


def test_shapes_as_sizes_or_as_one_tuple():
    for draw in (mg.rand, mg.randn):
        assert draw(2, 3).shape == draw((2, 3)).shape == draw([2, 3]).shape == (2, 3)
        assert draw().shape == () and draw(4, dtype="float64", requires_grad=True).requires_grad
        assert draw(2).dtype == np.float32 and draw(2, dtype="float16").dtype == np.float16
        with pytest.raises(TypeError, match="shape"):
            draw(2.5)
    assert mg.randint(5, size=(2, 3)).shape == mg.randint(0, 5, (2, 3)).shape == mg.randint(5, (2, 3)).shape == (2, 3)
    x = mg.ones((2, 3), dtype="float64")
    assert mg.rand_like(x).dtype == mg.randn_like(x).dtype == np.float64


def test_a_seed_means_the_same_numbers_and_a_generator_goes_on():
    for draw in (
        lambda rng: mg.rand(3, rng=rng),
        lambda rng: mg.randn(3, rng=rng),
        lambda rng: mg.randint(99, size=3, rng=rng),
        lambda rng: mg.randperm(50, rng=rng),
        lambda rng: mg.multinomial(mg.ones(50), 9, rng=rng),
        lambda rng: mg.bernoulli(mg.rand(50, rng=1), rng=rng),
    ):
        assert draw(7).tolist() == draw(7).tolist() != draw(8).tolist()
        rng = np.random.default_rng(7)
        assert draw(rng).tolist() == draw(7).tolist() != draw(rng).tolist()
        mg.seed(3)
        first = draw(None).tolist()
        mg.seed(3)
        assert draw(None).tolist() == first


def test_distributions():
    x = mg.rand(20000, rng=0).numpy()
    assert 0 <= x.min() and x.max() < 1 and abs(x.mean() - 0.5) < 0.01
    assert abs(mg.randn(20000, rng=0).numpy().std() - 1) < 0.02
    assert set(mg.randint(-1, 2, 500, rng=0).tolist()) == {-1, 0, 1}
    assert sorted(mg.randperm(9, rng=0).tolist()) == list(range(9))
    assert abs(mg.bernoulli(mg.full(20000, 0.3), rng=0).numpy().mean() - 0.3) < 0.01
    found = mg.multinomial(Tensor([0.0, 1, 3]), 20000, replacement=True, rng=0).numpy()
    assert abs((found == 2).mean() - 0.75) < 0.01 and not (found == 0).any()
    assert sorted(mg.multinomial(Tensor([[1.0, 1, 0, 1]]), 3, rng=0).tolist()[0]) == [0, 1, 3]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mg.randint(3, 3, 2), "no whole number from 3 to below 3"),
        (lambda: mg.randint(2.5), "randint: low and high are whole numbers"),
        (lambda: mg.bernoulli(Tensor([1.5])), "bernoulli: probabilities"),
        (lambda: mg.multinomial(Tensor([1.0, 0.0]), 2), "multinomial: 2 different indices"),
        (lambda: mg.multinomial(Tensor([-1.0, 2.0]), 1), "multinomial: p is"),
    ],
)
def test_refusals(call, text):
    with pytest.raises((TypeError, ValueError), match=text):
        call()


def test_lines():
    np.testing.assert_allclose(mg.linspace(0, 1, 5).numpy(), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(mg.logspace(0, 2, 3).numpy(), [1, 10, 100])
    assert mg.linspace(0, 1, 0).shape == (0,) and mg.linspace(1, 5, 3, dtype="int64").tolist() == [1, 3, 5]
    with pytest.raises(ValueError, match="linspace: num is a whole number"):
        mg.linspace(0, 1, -1)


def test_lines_of_whole_numbers():
    """A step of 2/3 ends exactly at whole numbers; an end that is none, or is beyond the dtype, is refused."""
    assert mg.linspace(3, -1, 7, dtype="int32").tolist() == [3, 2, 1, 1, 0, 0, -1]
    assert mg.logspace(0, 3, 4, dtype="int64").tolist() == [1, 10, 100, 1000]
    assert mg.logspace(-1, 7, 3, base=2, dtype="uint8").tolist() == [0, 8, 128]
    assert mg.linspace(4.0, 6.0, 3, dtype="int64").tolist() == [4, 5, 6]
    for line in (mg.linspace, mg.logspace):
        with pytest.raises(ValueError, match=r"space: 1\.5 and 4 are not whole, but int64 is"):
            line(1.5, 4, 4, dtype="int64")
    for call in (
        lambda: mg.linspace(-3, 50, 5, dtype="uint8"),
        lambda: mg.linspace(0, 2**63, 5, dtype="int64"),
        lambda: mg.logspace(0, 19, 5, dtype="int64"),
        lambda: mg.logspace(0, 10, 5, dtype="int32"),
        lambda: mg.logspace(0, 3, 5, base=float("nan"), dtype="int32"),
    ):
        with pytest.raises(ValueError, match="which goes from"):
            call()
    with pytest.raises(TypeError, match="logspace: base is a number, not 'ten'"):
        mg.logspace(0, 2, 3, base="ten")
