"""A loss as a module is the function with its options, under torch's names and in torch's order."""

import inspect

import numpy as np
import pytest

from minigrad import losses, nn
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
X, Y, P = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), rng.random((3, 4))
LABELS, SIGNS = np.array([2, 0, 3]), np.array([1, -1, 1])
LOG_P = np.log(rng.dirichlet(np.ones(4), (6, 2)))
DEPRECATED = {"size_average", "reduce"}

CASES = [
    ("CrossEntropyLoss", (P[0],), {"label_smoothing": 0.1}, (X, LABELS)),
    ("CrossEntropyLoss", (), {"reduction": "sum"}, (X, P)),
    ("NLLLoss", (), {"weight": P[0], "ignore_index": 2}, (X, LABELS)),
    ("BCELoss", (P[0],), {}, (P, P[::-1].copy())),
    ("BCEWithLogitsLoss", (), {"pos_weight": P[0], "reduction": "sum"}, (X, P)),
    ("MSELoss", (), {}, (X, Y)),
    ("L1Loss", (), {"reduction": "none"}, (X, Y)),
    ("HuberLoss", ("sum", 0.5), {}, (X, Y)),
    ("SmoothL1Loss", (), {"beta": 0.5}, (X, Y)),
    ("KLDivLoss", (), {"reduction": "batchmean", "log_target": True}, (X, Y)),
    ("CosineEmbeddingLoss", (0.5,), {}, (X, Y, SIGNS)),
    ("CTCLoss", (3, "sum", True), {}, (LOG_P, np.array([[0, 1], [2, 2]]), np.array([6, 2]), np.array([2, 2]))),
]


@pytest.mark.parametrize(("name", "given", "named", "inputs"), CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_modules_are_those_of_torch(name, given, named, inputs):
    torch = pytest.importorskip("torch")

    def tensor(x):
        return torch.tensor(x) if isinstance(x, np.ndarray) else x

    ours = getattr(nn, name)(*given, **named)
    theirs = getattr(torch.nn, name)(*map(tensor, given), **{key: tensor(value) for key, value in named.items()})
    np.testing.assert_allclose(ours(*inputs), theirs(*map(tensor, inputs)), rtol=1e-12)
    assert {key: t.shape for key, t in ours.state_dict().items()} == {
        key: t.shape for key, t in theirs.state_dict().items()
    }
    their_options = inspect.signature(getattr(torch.nn, name)).parameters.values()
    assert list(ours.options) == [p.name for p in their_options if p.name not in DEPRECATED]
    assert [p.default for p in list(inspect.signature(ours.function).parameters.values())[-len(ours.options) :]] == [
        p.default for p in their_options if p.name not in DEPRECATED
    ]


def test_a_weight_moves_and_is_saved_with_its_module():
    loss = nn.CrossEntropyLoss([1.0, 2, 3, 4]).to("float64")
    assert loss.state_dict()["weight"].dtype == np.float64 and not loss.parameters()
    assert loss(Tensor(X), LABELS).item() == losses.cross_entropy(X, LABELS, [1, 2, 3, 4]).item()
    assert repr(nn.HuberLoss(delta=2.0)) == "HuberLoss(delta=2.0)"


@pytest.mark.parametrize(
    ("given", "named"), [(("sum", 1.0, 2), {}), ((), {"beta": 1.0}), (("sum",), {"reduction": "sum"})]
)
def test_options_it_does_not_have(given, named):
    with pytest.raises(TypeError, match="HuberLoss takes reduction, delta, each once, but was given "):
        nn.HuberLoss(*given, **named)


@pytest.mark.parametrize("name", [n for n in dir(nn) if n.endswith("Loss")])
def test_an_unknown_reduction_is_refused_when_the_loss_is_made(name):
    for wrong in ("avg", None, True, *(() if name == "KLDivLoss" else ("batchmean",))):
        with pytest.raises(ValueError, match=r"reduction=.* is not known: type one of 'mean', 'sum', 'none'"):
            getattr(nn, name)(reduction=wrong)
    for known in ("mean", "sum", "none", *(("batchmean",) if name == "KLDivLoss" else ())):
        assert getattr(nn, name)(reduction=known).reduction == known
