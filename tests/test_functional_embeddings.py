"""One-hot vectors and bags of rows beside torch, over drawn bags; and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad import nn
from minigrad.tensor import Tensor


def test_one_hot():
    assert F.one_hot(Tensor([[0, 2], [1, 1]])).tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]]
    assert F.one_hot([1, 0], 4).dtype == np.int64 and F.one_hot(np.array([1]), 3).tolist() == [[0, 1, 0]]
    assert F.one_hot(np.zeros((0, 2), int), 3).shape == (0, 2, 3)
    with pytest.raises(IndexError, match="one_hot: id 4 at position 0"):
        F.one_hot([4], 3)
    with pytest.raises(TypeError, match="one_hot: ids must be integers"):
        F.one_hot([0.5])
    with pytest.raises(ValueError, match="give num_classes"):
        F.one_hot(np.zeros(0, int))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bags_are_torchs(data):
    torch = pytest.importorskip("torch")
    seeded = np.random.default_rng(data.draw(st.integers(0, 99)))
    mode = data.draw(st.sampled_from(["sum", "mean", "max"]))
    weight = seeded.standard_normal((5, 3))
    options = {"mode": mode, "padding_idx": data.draw(st.sampled_from([None, 1]))}
    if data.draw(st.booleans()):
        ids = seeded.integers(0, 5, (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))))
        offsets = None
    else:
        sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
        ids, ends = seeded.integers(0, 5, sum(sizes)), np.cumsum([0, *sizes])
        options["include_last_offset"] = data.draw(st.booleans())
        offsets = ends if options["include_last_offset"] else ends[:-1]
    per = seeded.standard_normal(ids.shape) if mode == "sum" and data.draw(st.booleans()) else None
    ours, theirs = Tensor(weight, requires_grad=True), torch.tensor(weight, requires_grad=True)
    mine = None if per is None else Tensor(per, requires_grad=True)
    other = None if per is None else torch.tensor(per, requires_grad=True)
    y = F.embedding_bag(ids, ours, offsets, per_sample_weights=mine, **options)
    at = None if offsets is None else torch.tensor(offsets)
    expected = torch.nn.functional.embedding_bag(torch.tensor(ids), theirs, at, per_sample_weights=other, **options)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    weights = np.cos(np.arange(y.size)).reshape(y.shape)
    (y * weights).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(0 if ours.grad is None else ours.grad.numpy(), theirs.grad.numpy(), atol=1e-12)
    if per is not None and options["padding_idx"] is None:
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda w: F.embedding_bag([[0, 1]], w, [0]), "embedding_bag: ids"),
        (lambda w: F.embedding_bag([0, 1], w), "embedding_bag: ids"),
        (lambda w: F.embedding_bag([0, 1], w, [1]), "offsets are where the bags begin"),
        (lambda w: F.embedding_bag([0, 1], w, [0, 2, 1]), "offsets are where the bags begin"),
        (lambda w: F.embedding_bag([[0, 9]], w), "id 9"),
        (lambda w: F.embedding_bag([[0]], w, mode="median"), "mode='median' is not known"),
        (lambda w: F.embedding_bag([[0]], w, per_sample_weights=np.ones((1, 1))), 'are for mode="sum"'),
        (lambda w: F.embedding_bag([[0]], w, mode="sum", per_sample_weights=np.ones(2)), "have shape"),
        (lambda w: F.embedding_bag([[0]], w, padding_idx=3), "embedding_bag: padding_idx=3 is none of the 3 rows"),
        (lambda w: F.embedding([0], w, 3), "embedding: padding_idx=3 is none of the 3 rows: give -3 to 2"),
        (lambda w: nn.Embedding(3, 2, padding_idx=-4), "Embedding: padding_idx=-4 is none"),
        (lambda w: nn.EmbeddingBag(3, 2, padding_idx=3), "EmbeddingBag: padding_idx=3 is none"),
    ],
)
def test_what_is_refused(call, told):
    with pytest.raises((ValueError, IndexError), match=told):
        call(Tensor(np.ones((3, 2))))


def test_lists_as_offsets_and_weights():
    y = F.embedding_bag([0, 2, 1], Tensor(np.eye(3)), [0, 2], mode="sum", per_sample_weights=[1.0, 2.0, 3.0])
    assert y.tolist() == [[1, 0, 2], [0, 3, 0]]


def test_tables_that_are_given():
    table = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    layer = nn.Embedding.from_pretrained(table, padding_idx=0)
    assert layer([[2, 0]]).tolist() == [[[4, 5], [0, 1]]] and not layer.weight.requires_grad
    assert nn.Embedding.from_pretrained(Tensor(table), freeze=False).weight.requires_grad
    assert nn.EmbeddingBag.from_pretrained(table, mode="sum")([[1, 2]]).tolist() == [[6, 8]]
    with pytest.raises(ValueError, match=r"the embeddings are \(num_embeddings, embedding_dim\)"):
        nn.Embedding.from_pretrained(np.ones(3))
