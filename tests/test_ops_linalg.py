"""Products of matrices and einsum: NumPy's answers for every shape that NumPy takes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import functional as F
from minigrad.checking import gradcheck
from minigrad.tensor import Tensor, grad


def draw_array(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((4, 2, 3), (3,)),
        ((3,), (4, 3, 2)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
        ((5, 1, 2, 3), (4, 3, 2)),
        ((1, 2, 3), (5, 3, 1)),
        ((0, 2, 3), (3, 4)),
        ((2, 0), (0, 3)),
        ((2, 3), (3, 0)),
    ],
)
def test_matmul_of_any_shapes(a, b):
    a, b = draw_array(a), draw_array(b, 1)
    y = mg.matmul(Tensor(a), Tensor(b))
    np.testing.assert_allclose(y.numpy(), a @ b, rtol=1e-12, atol=1e-13)
    assert y.shape == (a @ b).shape
    gradcheck(mg.matmul, [a, b], order=2)


@st.composite
def einsums(draw):
    """Subscripts with operands that fit: shared, summed, repeated and size-1 letters, `...`, with and without `->`."""
    sizes = {letter: draw(st.integers(1, 3)) for letter in "ijkl"}
    dots, terms, shapes = draw(st.sampled_from([(), (2,), (2, 3)])), [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.lists(st.sampled_from("ijkl"), max_size=3))
        lengths = {c: 1 if letters.count(c) == 1 and draw(st.integers(0, 5)) == 0 else sizes[c] for c in letters}
        shape = [lengths[letter] for letter in letters]
        where = draw(st.none() | st.integers(0, len(letters))) if dots else None
        if where is not None:
            kept = dots[draw(st.integers(0, len(dots))) :]
            letters.insert(where, "...")
            shape[where:where] = kept
        terms.append("".join(letters))
        shapes.append(tuple(shape))
    used = sorted(set("".join(terms)) - {"."})
    subscripts = ",".join(terms)
    if any("..." in term for term in terms) or draw(st.booleans()):
        out = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
        if any("..." in term for term in terms):
            out.insert(draw(st.integers(0, len(out))), "...")
        subscripts += "->" + "".join(out)
    return subscripts, [draw_array(shape, i) for i, shape in enumerate(shapes)]


@settings(max_examples=60)
@given(einsums())
def test_einsum_is_numpys(given):
    subscripts, xs = given
    expected = np.einsum(subscripts, *xs)
    y = mg.einsum(subscripts, *map(Tensor, xs))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)
    gradcheck(lambda *ts: mg.einsum(subscripts, *ts), xs)


@pytest.mark.parametrize(
    "subscripts",
    [
        "ij,jk->ik",
        "bij,bjk->bik",
        "bhtd,bhsd->bhts",
        "i,i->",
        "i,j->ij",
        "ij->ji",
        "ij->",
        "ij,ij->ij",
        "ij,jk,kl->il",
        "ii->i",
        "iji,kk->jk",
    ],
)
def test_einsum_to_second_order(subscripts):
    xs = [
        draw_array(["bhtdsijkl".index(c) % 2 + 2 for c in term], i)
        for i, term in enumerate(subscripts.split("->")[0].split(","))
    ]
    gradcheck(lambda *ts: mg.einsum(subscripts, *ts), xs, order=2)
    assert mg.einsum(subscripts, *[x.astype("f4") for x in xs]).dtype == np.float32


@pytest.mark.parametrize(
    ("subscripts", "shapes", "text"),
    [
        ("ij,jk->ik", [(2, 3)], r"einsum 'ij,jk->ik' describes 2 operands, but 1 were given"),
        ("ij->i", [(2, 3, 4)], "operand 0 has 3 axes, but its term names 2"),
        ("ii->i", [(2, 3)], r"axis 'i' of one operand is \[2, 3\] long"),
        ("ij->ik", [(2, 3)], "the result may name each letter of the operands once"),
        ("ij->ii", [(2, 3)], "the result may name each letter of the operands once"),
        ("ij,jk->ik", [(2, 3), (4, 5)], "einsum 'ij,jk->ik': .*'j' is 3 .* 4"),
    ],
)
def test_what_einsum_refuses(subscripts, shapes, text):
    with pytest.raises(ValueError, match=text):
        mg.einsum(subscripts, *[Tensor(np.ones(shape)) for shape in shapes])


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_torchs(lead, bias):
    torch = pytest.importorskip("torch")
    arrays = [draw_array((*lead, 3)), draw_array((5, 3), 1), draw_array(5, 2)][: 3 if bias else 2]
    ours, theirs = (
        [Tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )
    y, expected = F.linear(*ours, *[None] * (not bias)), torch.nn.functional.linear(*theirs)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    seed = np.cos(np.arange(y.size)).reshape(y.shape)
    expected.backward(torch.tensor(seed))
    for x, g in zip(theirs, grad(y, ours, seed), strict=True):
        np.testing.assert_allclose(g.numpy(), x.grad.numpy(), rtol=1e-12, atol=1e-13)


def test_einsum_with_lists_of_numbers_for_letters():
    a, b = draw_array((2, 3), 0), draw_array((3, 4), 1)
    np.testing.assert_allclose(mg.einsum(a, [0, 1], b, [1, 2], [2, 0]), np.einsum(a, [0, 1], b, [1, 2], [2, 0]))
    np.testing.assert_allclose(mg.einsum(a, [..., 1], b, [1, 2]), np.einsum(a, [..., 1], b, [1, 2]))
    with pytest.raises(ValueError, match="axes are named by whole numbers"):
        mg.einsum(a, [0, "j"], b, [1, 2])
