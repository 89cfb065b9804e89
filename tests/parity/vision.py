"""What comparing models of pictures takes beyond `compare`: running statistics, and names that differ between the two
layouts.
"""

import numpy as np
import torch
from compare import close, scramble

PICTURES = np.random.default_rng(0).standard_normal((3, 3, 40, 33)).astype(np.float32)


def scramble_statistics(model):
    """Running means and variances far from 0 and 1, so that evaluation depends on them."""
    for name, buffer in model.named_buffers():
        if buffer.dtype.is_floating_point:
            buffer += torch.rand_like(buffer) * 0.5 if name.endswith("var") else torch.randn_like(buffer) * 0.2
    return model.eval()


def renamed(ours):
    """The name of a weight in the Hugging Face layout -> ours."""
    return lambda name: next(iter(ours.layout.translate([name], ())))


def compare_training(ours, theirs, batch, directory):
    """Two forward and backward passes in training, in float64: outputs, gradients, and then running statistics are the
    same.
    """
    scramble(theirs).save_pretrained(directory)
    model, named = ours.from_pretrained(directory).to("float64").train(), renamed(ours)
    theirs = theirs.double().train()
    for _ in range(2):
        theirs.zero_grad()
        model.zero_grad()
        out = model(batch["pixel_values"].astype(np.float64), labels=batch["labels"])
        expected = theirs(
            torch.tensor(batch["pixel_values"], dtype=torch.float64), labels=torch.tensor(batch["labels"])
        )
        out.loss.backward()
        expected.loss.backward()
        close(out.logits, expected.logits, "the logits", 1e-9)
        for name, p in theirs.named_parameters():
            close(dict(model.named_parameters())[named(name)].grad, p.grad, f"the gradient of {name}", 1e-8)
    for name, buffer in theirs.named_buffers():
        np.testing.assert_allclose(model.state_dict()[named(name)].numpy(), buffer.numpy(), 1e-9, err_msg=name)
