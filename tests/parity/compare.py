"""What comparing with torch takes: the same numbers on both sides, and a bound that is measured instead of chosen."""
import copy

import numpy as np
import pytest

from minigrad.nn import Module
from minigrad.tensor import Tensor

torch = pytest.importorskip("torch")


def same_layer(ours: Module, theirs: "torch.nn.Module", *inputs: np.ndarray, **options) -> None:
    """Load torch's weights into ours and back; then outputs, buffers and gradients of inputs and weights are equal in float64."""
    theirs = theirs.double()
    theirs.zero_grad()
    ours.to("float64").train(theirs.training).load_state_dict(theirs.state_dict())
    theirs.load_state_dict({name: torch.tensor(t.numpy()) for name, t in ours.state_dict().items()})

    xs = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    their_xs = [torch.tensor(x.copy(), requires_grad=x.dtype.kind == "f") for x in inputs]
    their_options = {name: torch.tensor(x) if isinstance(x, np.ndarray) else x for name, x in options.items()}
    y, their_y = flat(ours(*xs, **options)), flat(theirs(*their_xs, **their_options))
    for out, their_out in zip(y, their_y, strict=True):
        close(out, their_out)
    for name, buffer in theirs.named_buffers():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), buffer.numpy(), 1e-12, err_msg=name)
    if their_y[0].requires_grad:
        gradients = [np.random.default_rng(i).standard_normal(tuple(out.shape)) for i, out in enumerate(their_y)]
        sum((out * g).sum() for out, g in zip(y, gradients)).backward()
        sum((out * torch.tensor(g)).sum() for out, g in zip(their_y, gradients)).backward()
        for x, their_x in zip(xs, their_xs):
            if x.requires_grad:
                close(x.grad, their_x.grad, "an input's gradient")
        for name, p in theirs.named_parameters():
            close(dict(ours.named_parameters())[name].grad, p.grad, f"the gradient of {name}")


def flat(outputs) -> list:
    """What a layer returned, without nesting and what is None."""
    return [y for part in outputs for y in flat(part)] if isinstance(outputs, tuple) else [] if outputs is None else [outputs]


def close(ours: Tensor, theirs: "torch.Tensor", what: str = "the output", noise: float = 1e-12) -> None:
    assert ours.dtype == np.float64
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=noise * np.abs(theirs).max(initial=1.0), err_msg=what)


def reference(model: "torch.nn.Module", run) -> dict[str, tuple[np.ndarray, float]]:
    """{name: (value, bound)} for all that `run(model)` returns: float64 values, and how far float32 may be from them.

    The bound is made of two noises that are measured, torch's own in float32 and that of moving each weight by one ulp; it is
    doubled for gradients.  A sound float32 implementation stays below 0.4 of it, and what is done wrong exceeds it.
    """
    exact, single, nudged = copy.deepcopy(model).double(), model.float(), copy.deepcopy(model).float()
    with torch.no_grad():
        for p in nudged.parameters():
            p.copy_(torch.nextafter(p, p + (torch.randint(0, 2, p.shape) * 2 - 1)))
    values, noisy, moved = run(exact), run(single), run(nudged)

    def bound(name):
        first, second = (np.abs(x[name] - values[name]).max(initial=0) for x in (noisy, moved))
        return max(10 * first, 4 * second, 5e-6 * np.abs(values[name]).max(initial=0)) * (2 if name.startswith("grad") else 1)
    return {name: (value, bound(name)) for name, value in values.items()}


def furthest(found: dict[str, np.ndarray], expected: dict[str, tuple[np.ndarray, float]]) -> tuple[float, str]:
    """The largest distance as a share of its bound, and the name of what is so far away; both sides name the same things."""
    assert found.keys() == expected.keys()
    return max((float(np.abs(found[name] - value).max(initial=0) / bound) if bound else float(np.any(found[name])), name)
               for name, (value, bound) in expected.items())
