"""The layers of LoRA alone: what they compute, beside any Linear, Embedding or convolution, in any dtype."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.finetune import LoraConfig, get_peft_model

rng = np.random.default_rng(0)


def scrambled(model, name="default"):
    for t in model._tensors(name).values():
        t.copy_(t.data + 0.3 * np.random.default_rng(1).standard_normal(t.shape))
    return model


class Net(nn.Module):
    """A layer of any kind, by name."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


LAYERS = {
    "linear": (lambda: nn.Linear(6, 4, rng=0), rng.standard_normal((3, 6)).astype("f4")),
    "linear without a bias": (lambda: nn.Linear(6, 4, bias=False, rng=0), rng.standard_normal((2, 3, 6)).astype("f4")),
    "embedding": (lambda: nn.Embedding(9, 4, padding_idx=0, rng=0), rng.integers(0, 9, (2, 5))),
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, padding=1, rng=0), rng.standard_normal((2, 2, 7)).astype("f4")),
    "conv2d": (lambda: nn.Conv2d(2, 4, 3, stride=2, rng=0), rng.standard_normal((2, 2, 7, 6)).astype("f4")),
    "dilated": (
        lambda: nn.Conv2d(2, 4, 2, dilation=2, padding_mode="reflect", padding=1, rng=0),
        rng.standard_normal((2, 2, 7, 6)).astype("f4"),
    ),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2, rng=0), rng.standard_normal((1, 1, 3, 4, 4)).astype("f4")),
}


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_the_adapter_is_a_change_of_the_weight(name, use_dora):
    make, x = LAYERS[name]
    plain, model = Net(make()), Net(make())
    before = plain(x).numpy()
    get_peft_model(model, LoraConfig(r=2, target_modules=["layer"], lora_alpha=3, use_dora=use_dora), rng=0)
    np.testing.assert_allclose(model(x).numpy(), before, atol=1e-6)
    y = scrambled(model)(x).numpy()
    layer = model.layer
    a, b = (p.numpy().reshape(len(p), -1).astype("f8") for p in layer.factors("default"))
    change = 1.5 * (b @ a)
    weight = plain.layer.weight.numpy().astype("f8")
    if name == "embedding":
        weight = weight + change.T
        lengths = np.sqrt((weight**2).sum(0))
    else:
        weight = weight + change.reshape(weight.shape)
        lengths = np.sqrt((weight**2).reshape(len(weight), -1).sum(1)).reshape(-1, *[1] * (weight.ndim - 1))
    if use_dora:
        weight = weight / lengths * layer.lora_magnitude_vector["default"].numpy().reshape(lengths.shape)
    plain.layer.weight.copy_(weight)
    np.testing.assert_allclose(y, plain(x).numpy(), atol=1e-5)
    assert np.abs(y - before).max() > 0.01
    np.testing.assert_allclose(model.merge_and_unload()(x).numpy(), y, atol=1e-5)
    assert type(model) is Net and type(model.layer) is type(plain.layer)


@pytest.mark.parametrize("options", [{}, {"lora_bias": True, "use_rslora": True}])
def test_gradients_are_those_of_the_formula(options):
    model = scrambled(
        get_peft_model(Net(nn.Linear(5, 3, rng=0)), LoraConfig(r=2, target_modules=["layer"], **options), rng=0)
    )
    model.to("float64")
    x = mg.Tensor(rng.standard_normal((4, 5)), requires_grad=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert len(parameters) == 2 + bool(options)

    def loss():
        return (mg.tanh(model(x)) ** 2).sum()

    loss().backward()
    for t in (x, *parameters):
        at, along = t.numpy().copy(), rng.standard_normal(t.shape)
        sides = [float(loss().numpy()) for step in (1e-6, -1e-6) if t.copy_(at + step * along) is t]
        t.copy_(at)
        np.testing.assert_allclose((t.grad.numpy() * along).sum(), (sides[0] - sides[1]) / 2e-6, rtol=1e-7)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(50, 6), (5, 9, 6), (6,)])
def test_a_product_with_the_sum_is_the_sum_of_the_products(shape, bias):
    """`lora_linear` multiplies with W + s B A; a hook on A asks for the single products instead."""
    given, found = rng.standard_normal(shape).astype("f4"), []
    for single in (False, True):
        model = get_peft_model(Net(nn.Linear(6, 4, bias, rng=0)), LoraConfig(r=2, target_modules=["layer"]), rng=0)
        x = mg.Tensor(given, requires_grad=True)
        if single:
            model.layer.lora_A["default"].register_forward_hook(lambda *_: None)
        y = scrambled(model)(x)
        assert (y.node.step.name == "lora_linear") != (single or len(shape) == 1)
        mg.sin(y).sum().backward()
        found.append([y, x.grad, *(p.grad for p in model.layer.factors("default"))])
    for one, other in zip(*found):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)


def test_autocast_casts_the_single_products():
    model = scrambled(get_peft_model(Net(nn.Linear(6, 4, rng=0)), LoraConfig(target_modules=["layer"]), rng=0))
    x = mg.Tensor(rng.standard_normal((50, 6)).astype("f4"))
    with mg.autocast("bfloat16"):
        y = model(x)
    assert str(y.dtype) == "bfloat16"
    np.testing.assert_allclose(y.numpy().astype("f4"), model(x).numpy(), atol=0.05)


def test_only_what_is_trained_gets_a_gradient():
    model = get_peft_model(Net(nn.Linear(5, 3, rng=0)), LoraConfig(r=2, target_modules=["layer"], use_dora=True), rng=0)
    scrambled(model)(rng.standard_normal((4, 5)).astype("f4")).sum().backward()
    graded = {name for name, p in model.named_parameters() if p.grad is not None}
    assert graded == {
        f"layer.{part}" for part in ("lora_A.default.weight", "lora_B.default.weight", "lora_magnitude_vector.default")
    }


def test_dropout_acts_in_training_alone():
    x = np.ones((500, 8), "f4")
    config = LoraConfig(r=2, target_modules=["layer"], lora_dropout=0.5)
    model = scrambled(get_peft_model(Net(nn.Linear(8, 3, rng=0)).eval(), config, rng=0))  # in evaluation it stays so
    assert np.ptp(model(x).numpy(), 0).max() < 1e-6
    for use_dora in (False, True):
        config = LoraConfig(r=2, target_modules=["layer"], lora_dropout=0.5, use_dora=use_dora)
        model = scrambled(get_peft_model(Net(nn.Linear(8, 3, rng=0)), config, rng=0))
        y, noisy = model.eval()(x).numpy(), model.train()(x).numpy()
        assert np.ptp(y, 0).max() < 1e-6 and np.ptp(noisy, 0).min() > 0.1
        np.testing.assert_allclose(noisy.mean(0), y.mean(0), atol=0.2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_adapter_of_16_bits_is_float32_and_its_output_16_bits(dtype):
    model = Net(nn.Linear(8, 3, rng=0)).to(dtype)
    get_peft_model(model, LoraConfig(r=2, target_modules=["layer"], use_dora=True), rng=0)
    y = scrambled(model)(mg.Tensor(np.ones((2, 8)), dtype=dtype))
    assert str(y.dtype) == dtype
    assert str(model.layer.lora_A["default"].weight.dtype) == ("float64" if dtype == "float64" else "float32")
    model.merge_adapter()
    np.testing.assert_allclose(
        model(mg.Tensor(np.ones((2, 8)), dtype=dtype)).numpy().astype("f8"), y.numpy().astype("f8"), atol=0.05
    )
    model.unmerge_adapter()
    assert str(model.layer.weight.dtype) == dtype


def test_first_values():
    def first(**options):
        torso = Net(nn.Linear(64, 32, rng=0))
        return [
            p.numpy()
            for p in get_peft_model(torso, LoraConfig(r=8, target_modules=["layer"], **options), rng=0).layer.factors(
                "default"
            )
        ]

    a, b = first()
    assert np.abs(a).max() <= 1 / 8 and np.abs(a).max() > 0.12 and not b.any()
    a, b = first(init_lora_weights="gaussian")
    assert abs(a.std() - 1 / 8) < 0.02 and not b.any()
    a, b = first(init_lora_weights=False)
    assert b.any()
    np.testing.assert_array_equal(first()[0], first()[0])
    with pytest.raises(ValueError, match="init_lora_weights is 'orthogonal'; expected True, False or 'gaussian'"):
        first(init_lora_weights="orthogonal")


def test_a_convolution_of_groups_is_adapted_but_not_merged():
    model = Net(nn.Conv2d(4, 4, 3, groups=2, rng=0))
    get_peft_model(model, LoraConfig(r=2, target_modules=["layer"]), rng=0)
    assert model(np.ones((1, 4, 5, 5), "f4")).shape == (1, 4, 3, 3)
    with pytest.raises(ValueError, match="convolution with 2 groups .* cannot be merged"):
        model.merge_adapter()
    with pytest.raises(ValueError, match="the rank is 3; expected a multiple of 2"):
        get_peft_model(Net(nn.Conv2d(4, 4, 3, groups=2, rng=0)), LoraConfig(r=3, target_modules=["layer"]))


def test_a_module_at_two_paths_is_one():
    shared = nn.Linear(4, 4, rng=0)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    get_peft_model(model, LoraConfig(r=2, target_modules=["0"]), rng=0)
    assert model[0] is model[2] and model.targeted_module_names == ["0"]
    assert sum(p.requires_grad for p in model.parameters()) == 2


class Doubled(nn.Linear):
    """A Linear of the user's own."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_layer_of_the_users_own_keeps_what_it_computes():
    model = Net(Doubled(4, 3, rng=0))
    x = np.ones((1, 4), "f4")
    before = model(x).numpy()
    get_peft_model(model, LoraConfig(r=2, target_modules=["layer"]), rng=0)
    assert isinstance(model.layer, Doubled)
    np.testing.assert_array_equal(model(x).numpy(), before)
    assert type(model.unload().layer) is Doubled


def weighted(kind, weights=(0.5, -2.0), **options):
    model = nn.Sequential(nn.Linear(6, 5, rng=0), nn.Linear(5, 4, rng=1))
    get_peft_model(model, LoraConfig(r=2, target_modules=["0", "1"], lora_alpha=4), rng=0)
    model.add_adapter("other", LoraConfig(r=2, target_modules=["0"], lora_alpha=6), rng=1)
    scrambled(scrambled(model), "other")
    wanted = [0.5 * model[0].change("default") - 2.0 * model[0].change("other"), 0.5 * model[1].change("default")]
    model.add_weighted_adapter(["default", "other"], weights, "sum", kind, **options)
    return model, wanted


@pytest.mark.parametrize(("kind", "options"), [("cat", {}), ("svd", {"svd_rank": 4})])
def test_a_weighted_sum_of_adapters_is_exact(kind, options):
    model, wanted = weighted(kind, **options)
    for layer, change in zip(model, wanted):
        np.testing.assert_allclose(layer.change("sum"), change, atol=1e-5)
    assert model.active_adapters == ["default"]
    model.set_adapter("sum")
    x = rng.standard_normal((2, 6)).astype("f4")
    y = model(x).numpy()
    with model.disable_adapter():
        model[0].weight.copy_(model[0].weight.data + wanted[0])
        model[1].weight.copy_(model[1].weight.data + wanted[1])
        np.testing.assert_allclose(model(x).numpy(), y, atol=1e-5)


def test_weighted_sums_that_cannot_be():
    model, _ = weighted("linear")
    for arguments, told in (
        ((["default"], [1.0, 2.0], "x"), "1 adapters and 2 weights"),
        ((["default"], [1.0], "x", "ties"), "combination_type is 'ties'; expected 'svd', 'linear' or 'cat'"),
        ((["default", "nobody"], [1.0, 2.0], "x"), "no adapter 'nobody'"),
        ((["default"], ["1"], "x"), "a weight is '1'; expected a number"),
        ((["default"], [1.0], "x", "svd", -1), "svd_rank is -1; expected a whole number"),
    ):
        with pytest.raises(ValueError, match=told):
            model.add_weighted_adapter(*arguments)
    model.add_adapter("third", LoraConfig(r=3, target_modules=["0"]))
    with pytest.raises(ValueError, match="type 'svd' or 'cat'"):
        model.add_weighted_adapter(["default", "third"], [1, 1], "x", "linear")
    model.add_adapter("narrow", LoraConfig(r=2, rank_pattern={"0": 1}, target_modules=["0", "1"]))
    with pytest.raises(ValueError, match=r"the ranks of default, narrow at 0 are \[2, 1\]"):  # not broadcast
        model.add_weighted_adapter(["default", "narrow"], [1, 1], "x", "linear")
    grouped = get_peft_model(Net(nn.Conv2d(4, 4, 3, groups=2, rng=0)), LoraConfig(r=2, target_modules=["layer"]))
    with pytest.raises(ValueError, match="layer is a convolution with 2 groups, whose adapters cannot be added"):
        grouped.add_weighted_adapter(["default"], [1.0], "x", "cat")
    assert "x" not in model.peft_config and "x" not in grouped.peft_config
