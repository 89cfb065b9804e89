"""Batch, group and root-mean-square normalisation against torch.nn: outputs, gradients and running statistics, in
float64.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from compare import close, same_layer  # noqa: E402

import minigrad as mg  # noqa: E402
from minigrad import nn  # noqa: E402

few = settings(max_examples=25)
sizes, flags = st.integers(1, 4), st.booleans()


@few
@given(
    st.data(),
    st.sampled_from([1, 2]),
    sizes,
    flags,
    flags,
    flags,
    st.sampled_from([0.1, 0.7, None]),
    st.sampled_from([1e-5, 1e-3]),
)
def test_batch_norm(data, dimensions, channels, affine, track, training, momentum, eps):
    places = data.draw(st.tuples(*[sizes] * (dimensions if dimensions == 2 else data.draw(st.integers(0, 1)))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ours, theirs = (
        getattr(n, f"BatchNorm{dimensions}d")(channels, eps, momentum, affine, track) for n in (nn, torch.nn)
    )
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    ours.train(training), theirs.train(training)
    for _ in range(3):  # each batch moves the running statistics
        same_layer(ours, theirs, rng.standard_normal((data.draw(st.integers(2, 4)), channels, *places)) * 3 + 1)
        for name, t in theirs.state_dict().items():
            if t.dtype == torch.float64:
                close(ours.state_dict()[name], t, name)
            else:
                assert ours.state_dict()[name].item() == t.item()


@few
@given(st.data(), sizes, sizes, flags, st.lists(sizes, max_size=2))
def test_group_norm(data, groups, width, affine, places):
    theirs = torch.nn.GroupNorm(groups, groups * width, affine=affine)
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.standard_normal((data.draw(st.integers(1, 3)), groups * width, *places, 2))
    same_layer(nn.GroupNorm(groups, groups * width, affine=affine), theirs, x)


@few
@given(st.lists(st.integers(0, 3), max_size=2), sizes, flags, st.sampled_from([None, 1e-6, 0.1]), st.integers(0, 99))
def test_rms_norm(batch, size, affine, eps, seed):
    x = np.random.default_rng(seed).standard_normal((*batch, size))
    same_layer(nn.RMSNorm(size, eps, affine), torch.nn.RMSNorm(size, eps, affine), x)


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (1000, 1), (-1e4, 1), (1000, 0)])
@pytest.mark.parametrize("shape", [(4, 6, 5), (8, 16, 12, 12)])
@pytest.mark.parametrize(
    "name", ["layer_norm", "group_norm", "batch_norm", "batch_norm of what was remembered", "rms_norm"]
)
def test_large_means_cost_no_more_digits_than_torch_s(name, shape, mean, deviation):
    """In float32, against torch in float64: values, and the gradients of x, weight and bias."""
    draw = np.random.default_rng(0)
    x, g = draw.standard_normal((2, *shape)).astype("f4")
    x = x * np.float32(deviation) + np.float32(mean)
    C, n = shape[1], shape[-1]
    scale, shift = draw.standard_normal((2, n if name in ("layer_norm", "rms_norm") else C)).astype("f4")
    middle, variance = np.full((2, C), [[mean], [deviation]], "f4")

    def run(F, tensor):
        xs = [tensor(a) for a in (x, scale, shift)]
        remembered = tensor(middle).detach(), tensor(variance).detach()
        forms = {
            "layer_norm": lambda x, w, b: F.layer_norm(x, (n,), w, b),
            "group_norm": lambda x, w, b: F.group_norm(x, 2, w, b),
            "batch_norm": lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
            "batch_norm of what was remembered": lambda x, w, b: F.batch_norm(x, *remembered, w, b),
            "rms_norm": lambda x, w, b: F.rms_norm(x, (n,), w) + b,
        }
        y = forms[name](*xs)
        y.backward(tensor(g).detach())
        return [np.asarray(a.detach().numpy(), np.float64) for a in (y, *(a.grad for a in xs))]

    ours = run(mg.functional, lambda a: mg.Tensor(a, requires_grad=True))
    exact = run(torch.nn.functional, lambda a: torch.tensor(a, dtype=torch.float64, requires_grad=True))
    theirs = run(torch.nn.functional, lambda a: torch.tensor(a, requires_grad=True))
    for found, other, right in zip(ours, theirs, exact, strict=True):
        np.testing.assert_array_less(
            abs(found - right).max(), abs(other - right).max() + 2e-6 * abs(right).max() + 1e-6
        )


@pytest.mark.parametrize("name", ["var", "std"])
def test_the_spread_of_large_numbers(name):
    x = (np.random.default_rng(0).standard_normal((64, 500)) + 1e4).astype("f4")
    found = getattr(mg, name)(mg.Tensor(x), 1).numpy()
    np.testing.assert_allclose(found, getattr(np, name)(x.astype("f8"), 1), rtol=3e-7)
