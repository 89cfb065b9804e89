"""Every layer refuses arguments of another kind than its signature says, and numbers that make no sense."""

import inspect
import math

import numpy as np
import pytest

from minigrad import nn

LAYERS = [
    value
    for value in vars(nn).values()
    if isinstance(value, type) and issubclass(value, nn.Module) and hasattr(value.__init__, "__wrapped__")
]
GOOD = {
    "int": 4,
    "float": 0.5,
    "bool": True,
    "Sizes": 2,
    "int | Sequence[int]": 4,
    "Sequence[int]": (2, 2),
    "int | tuple[int | None, ...] | None": 2,
}
BAD = {
    "bool": ["False", 1, None],
    "int": [1.5, "4", True, None],
    "float": ["0.1", True, math.nan, None],
    "str": [3, None],
}
SENSELESS = {
    "eps": -1.0,
    "layer_norm_eps": -1e-5,
    "momentum": 1.5,
    "dropout": 2.0,
    "p": -0.5,
    "in_features": -3,
    "num_features": -1,
    "num_embeddings": -2,
    "hidden_size": -1,
    "num_channels": -4,
    "in_channels": -1,
    "max_len": -1,
    "d_model": -8,
}


def arguments(layer):
    """Arguments the layer can be made with, and the annotations of all its parameters."""
    parameters = [p for p in inspect.signature(layer).parameters.values() if p.kind is not p.VAR_KEYWORD]
    return (
        {p.name: GOOD[p.annotation] for p in parameters if p.default is p.empty},
        {p.name: p.annotation for p in parameters},
    )


def test_every_layer_with_numbers_is_asked():
    assert len(LAYERS) > 35


@pytest.mark.parametrize("layer", LAYERS)
def test_arguments_of_another_kind_and_out_of_range_are_named(layer):
    good, annotations = arguments(layer)
    layer(**good)
    for name, annotation in annotations.items():
        kind, _, none = annotation.partition(" | ")
        for value in BAD.get(kind, []) if none in ("", "None") else []:
            if value is None and none:
                layer(**good | {name: None})
            else:
                with pytest.raises((TypeError, ValueError), match=f"^{layer.__name__}: {name}={value!r} must be"):
                    layer(**good | {name: value})
        if name in SENSELESS:
            with pytest.raises(ValueError, match=f": .*{name}={SENSELESS[name]}"):
                layer(**good | {name: SENSELESS[name]})


def test_numbers_of_numpy_are_numbers():
    assert nn.Linear(np.int64(3), np.int32(4), np.bool_(False)).bias is None
    assert nn.BatchNorm2d(3, eps=np.float32(1e-3)).eps == pytest.approx(1e-3)


def test_arguments_that_torch_has_and_no_layer_has_say_what_to_do():
    for layer in (nn.ReLU, nn.LeakyReLU):
        with pytest.raises(
            TypeError, match=f"^{layer.__name__} has no argument 'inplace': Tensors are not overwritten"
        ):
            layer(inplace=True)
    with pytest.raises(TypeError, match=r"^Linear has no argument 'device': type layer.to\(\"cuda\"\)"):
        nn.Linear(2, 2, device="cuda")
    with pytest.raises(TypeError, match="^Conv2d has no argument 'kernel'; it has in_channels, out_channels, k"):
        nn.Conv2d(1, 1, kernel=3)
    with pytest.raises(TypeError, match="^ReLU takes nothing by position, but was given 1 arguments"):
        nn.ReLU(True)
    with pytest.raises(TypeError, match="^LeakyReLU takes negative_slope by position, but was given 2"):
        nn.LeakyReLU(0.1, True)
