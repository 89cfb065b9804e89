"""ResNet-50 with its last layer `model.fc` replaced for other classes, and all of it trained further.

    python examples/resnet50_new_fc.py --model resnet50-0676ba61.pth        # torchvision's file

Without --model a stand-in of the same format and size with random weights is used.  The task is to classify patches by
which of two photographs they come from.
"""

import argparse

from common import fit, patches, stand_in, test

from minigrad import nn, optim
from minigrad.pretrained import ResNetConfig, ResNetForImageClassification


def main(model=None, size=64, images=160, epochs=2, config=None) -> float:
    config = config or ResNetConfig.torchvision("resnet50")
    source = model or stand_in(ResNetForImageClassification, config)
    model = ResNetForImageClassification.from_pretrained(source, config=config)
    model.fc = nn.Linear(model.fc.in_features, 2, rng=0)
    model.config.id2label = {0: "temple", 1: "flower"}

    pictures, labels = patches(size, images)
    cut = images // 5
    model.train()
    fit(lambda x: model(x).logits, optim.SGD(model.parameters(), lr=0.01), pictures[cut:], labels[cut:], epochs)
    model.eval()
    model.save_pretrained("outputs/resnet50-new-fc")  # transformers can load it too
    return test(lambda x: model(x).logits, pictures[:cut], labels[:cut])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="torchvision's file, or a Hugging Face directory")
    parser.add_argument("--size", type=int, default=64, help="height and width of the pictures")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=2)
    try:
        main(**vars(parser.parse_args()))
    except FileNotFoundError as error:
        parser.error(str(error))
