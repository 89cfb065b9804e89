"""VGG against the same model in torch, under torchvision's names: outputs, loss, every gradient, and training with
batch norm.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from compare import agrees, close, scramble  # noqa: E402
from torch import nn  # noqa: E402
from vision import PICTURES, scramble_statistics  # noqa: E402

from minigrad.pretrained import VGGConfig, VGGForImageClassification  # noqa: E402

SIZES = {
    "hidden_sizes": [8, 12, 16],
    "depths": [1, 2, 2],
    "pooled_size": 3,
    "intermediate_size": 20,
    "num_labels": 5,
    "classifier_dropout": 0.0,
}
LABELLED = {"pixel_values": PICTURES, "labels": np.array([3, 0, 4])}


class Output:
    def __init__(self, logits, labels):
        self.logits, self.loss = logits, nn.functional.cross_entropy(logits, labels)


class TorchVGG(nn.Module):
    def __init__(self, batch_norm):
        super().__init__()
        layers, inputs = [], 3
        for channels in (8, "pool", 12, 12, "pool", 16, 16, "pool"):
            if channels == "pool":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [
                    nn.Conv2d(inputs, channels, 3, padding=1),
                    *[nn.BatchNorm2d(channels)] * batch_norm,
                    nn.ReLU(True),
                ]
                inputs = channels
        self.features, self.avgpool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(
            nn.Linear(16 * 9, 20),
            nn.ReLU(True),
            nn.Dropout(0.0),
            nn.Linear(20, 20),
            nn.ReLU(True),
            nn.Dropout(0.0),
            nn.Linear(20, 5),
        )

    @property
    def dtype(self):
        return self.classifier[0].weight.dtype

    def forward(self, pixel_values, labels):
        return Output(self.classifier(torch.flatten(self.avgpool(self.features(pixel_values)), 1)), labels)


@pytest.mark.parametrize("size", [(40, 33), (16, 8)])  # to 3 × 3 of 5 × 4, and of 2 × 1: made larger
@pytest.mark.parametrize("batch_norm", [False, True])
def test_outputs_loss_and_every_gradient(batch_norm, size):
    torch.manual_seed(0)
    theirs = scramble_statistics(scramble(TorchVGG(batch_norm)))
    ours = VGGForImageClassification(VGGConfig(**SIZES, batch_norm=batch_norm), rng=0).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    agrees(ours, theirs, LABELLED | {"pixel_values": PICTURES[..., : size[0], : size[1]]})


def test_training_with_batch_norm():
    torch.manual_seed(0)
    theirs = scramble(TorchVGG(True)).double().train()
    ours = VGGForImageClassification(VGGConfig(**SIZES, batch_norm=True), rng=0).to("float64").train()
    ours.load_state_dict(theirs.state_dict())
    pictures = PICTURES.astype(np.float64)
    out, expected = ours(pictures, LABELLED["labels"]), theirs(torch.tensor(pictures), torch.tensor(LABELLED["labels"]))
    out.loss.backward()
    expected.loss.backward()
    close(out.logits, expected.logits)
    for name, p in theirs.named_parameters():
        close(dict(ours.named_parameters())[name].grad, p.grad, f"the gradient of {name}", 1e-10)
    for name, buffer in theirs.named_buffers():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), buffer.numpy(), 1e-12, err_msg=name)
