"""Losses with a margin beside torch, over drawn shapes and options; and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import losses
from minigrad.tensor import Tensor

torch = pytest.importorskip("torch")
F = torch.nn.functional


@st.composite
def cases(draw):
    seeded = np.random.default_rng(draw(st.integers(0, 99)))
    n, classes = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    name = draw(st.sampled_from(["multi_margin_loss", "multilabel_margin_loss", "triplet_margin_loss"]))
    x, single = 2 * seeded.standard_normal((n, classes)), draw(st.booleans())
    options = {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    if name == "multi_margin_loss":
        rest = [seeded.integers(0, classes, n)]
        options |= {"p": draw(st.sampled_from([1, 2])), "margin": draw(st.sampled_from([0.5, 1.0]))}
        options |= {"weight": draw(st.sampled_from([None, 0.5 + seeded.random(classes)]))}
    elif name == "multilabel_margin_loss":
        rest = [np.stack([seeded.permutation(classes) for _ in range(n)])]
        rest[0][seeded.random((n, classes)) < 0.4] = -1
    else:
        rest = [seeded.standard_normal((n, classes)) for _ in range(2)]
        options |= {"p": draw(st.sampled_from([1.0, 2.0, 3.5])), "swap": draw(st.booleans())}
        options |= {"margin": draw(st.sampled_from([0.5, 3.0]))}
    return name, *([x[0], *(a[0] for a in rest)] if single else [x, *rest]), options


@settings(max_examples=60, deadline=None)
@given(cases())
def test_they_are_torchs(case):
    name, x, *rest, options = case
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    loss = getattr(losses, name)(ours, *map(np.asarray, rest), **options)
    changed = {key: torch.tensor(v) if isinstance(v, np.ndarray) else v for key, v in options.items()}
    expected = getattr(F, name)(theirs, *(torch.tensor(a) for a in rest), **changed)
    np.testing.assert_allclose(loss.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    loss.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: losses.margin_ranking_loss(x, x, np.ones(3)), "margin_ranking_loss: input has shape"),
        (lambda x: losses.margin_ranking_loss(x, x, x, "1"), "margin is a number"),
        (lambda x: losses.hinge_embedding_loss(x, x * 0), "hinge_embedding_loss: a target is 1 or -1"),
        (lambda x: losses.multi_margin_loss(x, [0, 9]), "multi_margin_loss: id 9 at position 1"),
        (lambda x: losses.multi_margin_loss(x, [0, 1], 3), "p=3 is not known"),
        (lambda x: losses.multi_margin_loss(x, [0, 1], weight=[1.0]), r"class weights have shape \(1,\)"),
        (lambda x: losses.multilabel_margin_loss(x, [0, 1]), "labels of that shape"),
        (lambda x: losses.triplet_margin_loss(x, x, x, margin=0), "margin=0 must be above 0"),
        (lambda x: losses.triplet_margin_loss(x, x, x, swap="no"), "swap is True or False"),
        (lambda x: losses.gaussian_nll_loss(x, x, -x), "a variance is not negative"),
        (lambda x: losses.gaussian_nll_loss(x, x, np.ones((2, 2))), "does not broadcast"),
        (lambda x: losses.sigmoid_focal_loss(x, x * 3), "targets are from 0 to 1, but go from 3.0 to 3.0"),
        (lambda x: losses.sigmoid_focal_loss(x, x, gamma="2"), "sigmoid_focal_loss: gamma is a number"),
        (lambda x: losses.cosine_embedding_loss(x, x, np.ones(2), "0"), "cosine_embedding_loss: margin is a number"),
        (lambda x: losses.contrastive_loss(x, x, np.ones(2), "1"), "contrastive_loss: margin is a number"),
        (lambda x: losses.poisson_nll_loss(x, x, eps="0"), "poisson_nll_loss: eps is a number"),
        (lambda x: losses.info_nce(x, x, reduction="max"), "info_nce: reduction='max' is not known"),
        (lambda x: losses.info_nce(x, x, 0), "info_nce: temperature=0 divides the cosines"),
        (lambda x: losses.multilabel_soft_margin_loss(x, x, np.ones(4)), r"weight of shape \(4,\) does not broadcast"),
    ],
)
def test_what_they_refuse(call, told):
    with pytest.raises((ValueError, TypeError, IndexError), match=told):
        call(Tensor(np.ones((2, 3))))


def test_the_focal_loss_is_binary_cross_entropy_where_nothing_is_easy():
    x, t = np.random.default_rng(0).standard_normal((2, 4, 3))
    t = (t > 0).astype(float)
    plain = losses.sigmoid_focal_loss(Tensor(x), t, alpha=-1, gamma=0, reduction="mean")
    expected = losses.binary_cross_entropy_with_logits(Tensor(x), t)
    assert plain.item() == pytest.approx(expected.item())
    p = torch.sigmoid(torch.tensor(x))
    right = torch.where(torch.tensor(t) == 1, p, 1 - p)
    focal = -torch.where(torch.tensor(t) == 1, 0.25, 0.75) * (1 - right) ** 2 * torch.log(right)
    np.testing.assert_allclose(losses.sigmoid_focal_loss(Tensor(x), t).numpy(), focal.numpy(), rtol=1e-10)
