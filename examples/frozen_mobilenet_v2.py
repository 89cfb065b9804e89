"""A frozen MobileNetV2 with a new layer on top: only that layer is trained, here to classify handwritten digits.

    python examples/frozen_mobilenet_v2.py --model DIRECTORY        # such as a copy of google/mobilenet_v2_1.0_224

Without --model a stand-in of the same format and size with random weights is used.  Its features separate ten digits
too, though less well than those of a network that was trained on a million photographs.
"""

import argparse

from common import digits, fit, in_batches, stand_in, test

from minigrad import nn, optim
from minigrad.pretrained import MobileNetV2Config, MobileNetV2Model


def main(model=None, size=64, images=1000, epochs=20, config=None) -> float:
    base = MobileNetV2Model.from_pretrained(model or stand_in(MobileNetV2Model, config or MobileNetV2Config()))
    print(base.load_report)
    base.freeze()  # its batch norms then use their running statistics

    pictures, labels = digits(size, images)
    x = in_batches(lambda pictures: base(pictures).pooler_output, pictures)  # computed once, since it is frozen
    head = nn.Linear(base.hidden_size, 10, rng=0)
    cut = images // 5
    fit(head, optim.Adam(head.parameters(), lr=1e-3), x[cut:], labels[cut:], epochs)
    return test(head, x[:cut], labels[:cut])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a directory with published weights")
    parser.add_argument("--size", type=int, default=64, help="height and width of the pictures")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=20)
    try:
        main(**vars(parser.parse_args()))
    except FileNotFoundError as error:
        parser.error(str(error))
