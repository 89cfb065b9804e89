"""What comparing with torch takes: the same numbers on both sides, and a bound that is measured instead of chosen."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minigrad import optim
from minigrad.nn import Module
from minigrad.tensor import Tensor

torch = pytest.importorskip("torch")


def same_layer(ours: Module, theirs: "torch.nn.Module", *inputs: np.ndarray, **options) -> None:
    """Load torch's weights into ours and back; then outputs, buffers and gradients of inputs and weights are equal in
    float64.
    """
    theirs = theirs.double()
    theirs.zero_grad()
    for p in ours.parameters():
        p.grad = None
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
    return (
        [y for part in outputs for y in flat(part)]
        if isinstance(outputs, tuple)
        else []
        if outputs is None
        else [outputs]
    )


def close(ours: Tensor, theirs: "torch.Tensor", what: str = "the output", noise: float = 1e-12) -> None:
    assert ours.dtype == np.float64
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=noise * np.abs(theirs).max(initial=1.0), err_msg=what)


def reference(model: "torch.nn.Module", run) -> dict[str, tuple[np.ndarray, float]]:
    """{name: (value, bound)} for all that `run(model)` returns: float64 values, and how far float32 may be from them.

    The bound is made of two noises that are measured, torch's own in float32 and that of moving each weight by one ulp;
    it is doubled for gradients.  A sound float32 implementation stays below 0.4 of it, and what is done wrong exceeds
    it.
    """
    exact, single, nudged = copy.deepcopy(model).double(), model.float(), copy.deepcopy(model).float()
    with torch.no_grad():
        for p in nudged.parameters():
            p.copy_(torch.nextafter(p, p + (torch.randint(0, 2, p.shape) * 2 - 1)))
    values, noisy, moved = run(exact), run(single), run(nudged)

    def bound(name):
        first, second = (np.abs(x[name] - values[name]).max(initial=0) for x in (noisy, moved))
        return max(10 * first, 4 * second, 5e-6 * np.abs(values[name]).max(initial=0)) * (
            2 if name.startswith("grad") else 1
        )

    return {name: (value, bound(name)) for name, value in values.items()}


def furthest(found: dict[str, np.ndarray], expected: dict[str, tuple[np.ndarray, float]]) -> tuple[float, str]:
    """The largest distance as a share of its bound, and the name of what is so far away; both sides name the same
    things.
    """
    assert found.keys() == expected.keys()
    return max(
        (float(np.abs(found[name] - value).max(initial=0) / bound) if bound else float(np.any(found[name])), name)
        for name, (value, bound) in expected.items()
    )


OUTPUTS = (
    "loss",
    "logits",
    "start_logits",
    "end_logits",
    "last_hidden_state",
    "pooler_output",
    "encoder_last_hidden_state",
)
KEY_BIASES = ("key.bias", "k_lin.bias", "k_proj.bias")  # their gradient is rounding alone, which Adam makes steps of


def compare_pretrained(
    ours: type,
    theirs: "torch.nn.Module",
    batch: dict,
    directory: Path,
    *,
    steps: int = 0,
    named: Callable[[str], str] = lambda name: name,
) -> Module:
    """Hold a class of ours (or an Auto class) to a model of transformers, whose weights are scrambled first.

    Ours loads what transformers saved, and transformers what ours saved again, where every weight and the outputs must
    come back unchanged.  Then outputs, loss, every gradient and, after that many AdamW steps, weights agree within
    measured noise.

    Args:
        batch: {argument: array or plain value}, passed to both; with labels the loss is compared, and its gradients.
        named: their parameter's name to ours, where the two libraries differ.

    Returns:
        The model of ours, as loaded.
    """
    scramble(theirs.eval())
    theirs.save_pretrained(directory / "theirs")
    model = ours.from_pretrained(directory / "theirs")
    assert model.load_report.verdict.startswith("all ") and not model.load_report.unused, str(model.load_report)
    model.save_pretrained(directory / "ours")
    again, info = type(theirs).from_pretrained(directory / "ours", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "mismatched_keys", "unexpected_keys")), info
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    with torch.no_grad():
        before, after = (outputs_of(m(**torch_batch(m, batch))) for m in (theirs, again.eval()))
    assert all(torch.equal(before[name], after[name]) for name in before)
    agrees(model, theirs, batch, steps, named)
    return ours.from_pretrained(directory / "theirs") if steps else model


def scramble(model: "torch.nn.Module") -> "torch.nn.Module":
    """Move every weight far from its first value, so that none goes untested."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) * 0.05
    return model


def agrees(
    ours: Module,
    theirs: "torch.nn.Module",
    batch: dict,
    steps: int = 0,
    named: Callable[[str], str] = lambda name: name,
) -> None:
    """Outputs, loss, gradients and weights after AdamW steps of the two models are equal within measured noise."""
    expected = {
        name: (value.T if ours.layout.transposed(name.partition(" ")[2]) else value, bound)
        for name, (value, bound) in reference(theirs, lambda model: run(model, batch, steps, named)).items()
    }
    distance, name = furthest(run(ours, batch, steps), expected)
    assert distance < 1, f"{name} is {distance:.1f} times its bound away"


def run(model, batch: dict, steps: int = 0, named: Callable[[str], str] = lambda name: name) -> dict[str, np.ndarray]:
    """Outputs, gradients and, after that many AdamW steps, weights: the same code for either library, as float64
    arrays.
    """
    theirs = isinstance(model, torch.nn.Module)
    if theirs:
        batch = torch_batch(model, batch)
    model.zero_grad()
    adam = (torch.optim.AdamW if theirs else optim.AdamW)(model.parameters(), lr=1e-3, weight_decay=0.1)
    for _ in range(steps):
        model(**batch).loss.backward()
        adam.step()
        adam.zero_grad()
    found = outputs_of(model(**batch))
    loss = found.get("loss")
    if loss is None:  # no labels: a fixed random mixture of all it found
        draw = np.random.default_rng(1)
        weights = [draw.standard_normal(tuple(value.shape)) for value in found.values()]
        loss = sum(
            (value * (torch.tensor(w).to(value.dtype) if theirs else Tensor(w.astype(value.dtype)))).sum()
            for value, w in zip(found.values(), weights)
        )
    loss.backward()
    for name, p in model.named_parameters():
        name = named(name) if theirs else name
        if not name.endswith(KEY_BIASES):
            found["grad " + name] = p.detach() * 0 if p.grad is None else p.grad
            if steps:
                found["weight " + name] = p
    return {name: value.detach().numpy().astype(np.float64) for name, value in found.items()}


def torch_batch(model: "torch.nn.Module", batch: dict) -> dict:
    """The batch as torch tensors, floats in the model's dtype."""
    return {
        name: torch.tensor(x, dtype=model.dtype if x.dtype.kind == "f" else None) if isinstance(x, np.ndarray) else x
        for name, x in batch.items()
    }


def outputs_of(out) -> dict:
    """What a model returned, by name, in one order."""
    return {name: getattr(out, name) for name in OUTPUTS if getattr(out, name, None) is not None}
