"""Batch, group and root-mean-square normalisation against torch.nn: outputs, gradients and running statistics, in float64."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from compare import close, same_layer  # noqa: E402

from minigrad import nn  # noqa: E402

few = settings(max_examples=25)
sizes, flags = st.integers(1, 4), st.booleans()


@few
@given(st.data(), st.sampled_from([1, 2]), sizes, flags, flags, flags, st.sampled_from([0.1, 0.7, None]),
       st.sampled_from([1e-5, 1e-3]))
def test_batch_norm(data, dimensions, channels, affine, track, training, momentum, eps):
    places = data.draw(st.tuples(*[sizes] * (dimensions if dimensions == 2 else data.draw(st.integers(0, 1)))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ours, theirs = (getattr(n, f"BatchNorm{dimensions}d")(channels, eps, momentum, affine, track) for n in (nn, torch.nn))
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    ours.train(training), theirs.train(training)
    for _ in range(3):                          # each batch moves the running statistics
        theirs.zero_grad()                      # ours forgets its gradients when it is moved to float64
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
