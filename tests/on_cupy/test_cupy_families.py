"""A small model of every pretrained family, with its dropout: the same loss and gradients on CuPy as on NumPy."""

import numpy as np
import pytest

from minigrad import pretrained
from minigrad.parity.families import FAMILIES, example
from minigrad.tensor import Tensor


def run(kind, head, model, device):
    """The loss and the gradient of each weight after one batch."""
    # normalising over three pictures would enlarge rounding to something one can see
    model.to(device).train(kind != "image")
    inputs = example(kind, head, model.config).items()
    loss = model(**{name: Tensor(x, device=device) if x.dtype.kind == "f" else x for name, x in inputs}).loss
    loss.backward()
    return loss.item(), {name: t.grad.numpy() for name, t in model.state_dict().items() if t.grad is not None}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name):
    family = FAMILIES[name]
    head = family.heads[-1]
    made = getattr(pretrained, family.prefix + head)
    (ours, gradients), (numpys, numpys_gradients) = (
        run(family.kind, head, made(made.config_class.from_dict(family.size), rng=0), device)
        for device in ("cuda", "cpu")
    )
    assert ours == pytest.approx(numpys, rel=1e-4) and gradients.keys() == numpys_gradients.keys()
    for weight, g in numpys_gradients.items():
        np.testing.assert_allclose(gradients[weight], g, rtol=1e-3, atol=1e-3 * abs(g).max() + 1e-6, err_msg=weight)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_lies_on_the_device_stays_there(name, downloads):
    """Ids, masks and labels: nothing waits for them, forward or backward, and the loss is that of the same from the
    host.
    """
    family = FAMILIES[name]
    for head in family.heads:
        made = getattr(pretrained, family.prefix + head)
        model = made(made.config_class.from_dict(family.size), rng=0).to("cuda").eval()
        host = example(family.kind, head, model.config)
        there = {name: Tensor(x, device="cuda") for name, x in host.items()}
        downloads()
        out = model(**there)
        loss = getattr(out, "loss", None)
        if loss is not None:
            loss.backward()
        assert downloads() == 0
        if loss is not None and family.kind != "image":
            assert loss.item() == pytest.approx(model(**host).loss.item(), rel=1e-6)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.heads[-1] == "ForCausalLM"])
def test_generation(name):
    made = getattr(pretrained, f"{FAMILIES[name].prefix}ForCausalLM")
    ours, numpys = (
        made(made.config_class.from_dict(FAMILIES[name].size), rng=0)
        .to(device)
        .eval()
        .generate(np.array([[5, 6, 7]]), max_new_tokens=4, do_sample=False)
        for device in ("cuda", "cpu")
    )
    np.testing.assert_array_equal(ours, numpys)
