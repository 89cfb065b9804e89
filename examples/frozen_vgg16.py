"""VGG16 without its top, frozen, under two new layers: flatten, 256 units, dropout, ten classes.

    python examples/frozen_vgg16.py --model vgg16-397923af.pth      # torchvision's file

Without --model a stand-in of the same format and size with random weights is used.
"""

import argparse

from common import digits, fit, in_batches, stand_in, test

from minigrad import nn, optim
from minigrad.pretrained import VGGConfig, VGGModel


def main(model=None, size=64, images=400, epochs=10, config=None) -> float:
    config = config or VGGConfig.torchvision("vgg16")
    base = VGGModel.from_pretrained(model or stand_in(VGGModel, config), config=config)
    print(base.load_report)
    base.freeze()

    pictures, labels = digits(size, images)
    x = in_batches(lambda pictures: base(pictures).last_hidden_state, pictures)  # (images, 512, size / 32, size / 32)
    top = nn.Sequential(
        nn.Flatten(), nn.Linear(x[0].size, 256, rng=0), nn.ReLU(), nn.Dropout(0.5, rng=0), nn.Linear(256, 10, rng=1)
    )
    cut = images // 5
    fit(top, optim.Adam(top.parameters(), lr=1e-3), x[cut:], labels[cut:], epochs)
    return test(top.eval(), x[:cut], labels[:cut])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="torchvision's file, or a directory")
    parser.add_argument("--size", type=int, default=64, help="height and width of the pictures, 32 or more")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=10)
    try:
        main(**vars(parser.parse_args()))
    except FileNotFoundError as error:
        parser.error(str(error))
