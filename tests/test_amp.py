"""Mixed precision: the table knows every op, weights and their gradients stay in float32, and 16 bits reach the loss of
32.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import tiny_bert
from test_train_trainer import new_model, new_trainer

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.builtin import FUNCTIONS
from minigrad.data import TextDataset
from minigrad.execution import mode
from minigrad.insight.recording import NOTES, recording
from minigrad.pretrained import AutoModelForSequenceClassification, AutoTokenizer
from minigrad.primitive import OPS, definition
from minigrad.train import Trainer, TrainingArguments

bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
both = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
X = np.random.default_rng(0).standard_normal((64, 16)).astype("f4")
LABELS = (X[:, 0] > 0) * 1 + (X[:, 1] > 0)


def parameter(*shape):
    return mg.Tensor(np.random.default_rng(1).standard_normal(shape).astype("f4"), requires_grad=True)


def cast_to(target):
    """The ops and functions of the package that autocast treats so."""
    return {name for name, op in {**OPS, **FUNCTIONS}.items() if op.autocast == target}


def test_products_run_in_16_bits():
    assert mg.addmm and mg.linalg  # whose rooms open when they are first used
    assert cast_to("half") == {
        *("matmul", "linear", "conv", "conv_norm", "conv_input_grad", "conv_weight_grad", "lstm", "gru", "rnn"),
        *("conv3d", "conv_transpose3d", "bilinear", "lstm_projected"),
        *("addmm", "addmv", "addr", "addbmm", "baddbmm", "_multi_dot"),
        "scaled_dot_product_attention",
    }
    assert cast_to("first input") == {"gelu"}


@both
def test_what_each_kind_of_cast_does(dtype):
    x, weight, wide = parameter(3, 4), parameter(5, 4), mg.ones((4, 4), dtype="float64")
    with mg.autocast(dtype):
        y = F.linear(x, weight)
        assert [t.dtype.name for t in (y, y.sum(), F.softmax(y), y * 2, y + 1.0, F.gelu(y), y + mg.ones(5), x * 2)] == [
            dtype,
            "float32",
            "float32",
            dtype,
            dtype,
            dtype,
            "float32",
            "float32",
        ]
        assert (wide @ wide).dtype == wide.exp().dtype == np.float64
        assert (
            isinstance(F.linear(x.data, weight.data), np.ndarray) and F.linear(x.data, weight.data).dtype == np.float32
        )
    assert F.linear(x, weight).dtype == np.float32
    (y.sum() * 2).backward()
    assert x.grad.dtype == weight.grad.dtype == weight.dtype == np.float32


def test_a_user_s_op_is_left_alone():
    @definition
    def linear(x, /):
        return x * 1

    with mg.autocast("float16"):
        assert linear(parameter(2)).dtype == np.float32


def test_it_is_a_decorator_and_can_be_switched_off_within():
    @mg.autocast("bfloat16")
    def f(x):
        with mg.autocast("float16", enabled=False):
            assert (x @ x).dtype == np.float32
        with mg.autocast("float16"):
            assert (x @ x).dtype == np.float16
        return x @ x

    x = parameter(2, 2)
    assert f(x).dtype == bfloat16 and (x @ x).dtype == np.float32


def test_whether_the_tape_runs_is_another_matter():
    x = parameter(2, 2)
    with mg.autocast("float16"):
        with mg.no_grad():
            y = x @ x
            with mg.enable_grad():
                z = x @ x
        z.sum().backward()  # a backward pass inside computes on bare arrays, which are not cast
    assert y.dtype == z.dtype == np.float16 and not y.requires_grad and x.grad.dtype == np.float32
    with mg.no_grad(), mg.autocast("float16"):
        assert not (x @ x).requires_grad
    assert mode() == mode()._replace(on=True)


@pytest.mark.parametrize("order", [1, -1])
def test_somebody_may_look_on_too(order):
    x = parameter(2, 2)
    first, second = [lambda: mg.autocast("float16"), recording][::order]
    with first(), second():
        y = x @ x
    assert y.dtype == np.float16 and NOTES[y.node].op.name == "matmul" and y.node in NOTES


def test_a_message_calls_things_by_their_names():
    features, table = parameter(2, 3), parameter(5, 4)
    with pytest.raises(ValueError) as error, mg.autocast("float16"):
        F.linear(features, table)
    assert "features" in "".join(error.value.__notes__)


def test_gradients_of_gradients():
    x = parameter(3, 3)
    with mg.autocast("bfloat16"):
        y = F.gelu(x @ x).sum()
    g = mg.grad(y, x, create_graph=True)
    (h,) = mg.grad((g * g).sum(), [x])
    assert g.dtype == h.dtype == np.float32 and np.isfinite(h.numpy()).all()


def test_a_checkpoint_is_cast_again():
    layer, x = nn.Linear(4, 4, rng=0), parameter(2, 4)
    seen = []

    def f(x):
        seen.append(layer(x))
        return seen[-1]

    with mg.autocast("float16"):
        y = mg.checkpoint(f, x)
    y.sum().backward()
    assert [t.dtype for t in seen] == ["f2", "f2"] and x.grad.dtype == np.float32


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 2, 3, rng=0),
        nn.BatchNorm2d(1),
        nn.ConvTranspose2d(1, 2, 3, rng=0),
        nn.GroupNorm(1, 1),
        nn.MaxPool2d(2),
    ],
    ids=lambda layer: type(layer).__name__,
)
@both
def test_layers_of_images(layer, dtype):
    x = parameter(2, 1, 6, 6)
    expected = layer(x).numpy()
    with mg.autocast(dtype):
        y = layer(x * 1)
    np.testing.assert_allclose(y.numpy().astype("f4"), expected, atol=0.03)
    y.sum().backward()
    assert all(p.grad.dtype == np.float32 for p in layer.parameters())


def test_the_statistics_of_a_batch_keep_their_digits():
    x, norm = mg.Tensor(np.array([[300.0, 1.0], [1000.0, 1.001]], "f2")), nn.BatchNorm1d(2)
    with mg.autocast("float16"):
        norm(x)
    assert norm.running_var.numpy()[0] == pytest.approx(0.9 + 0.1 * 245000)  # more than float16 can hold


@pytest.mark.parametrize(
    "layer", [nn.LSTM(3, 4, rng=0), nn.GRU(3, 4, rng=0), nn.RNN(3, 4, rng=0)], ids=lambda layer: type(layer).__name__
)
@both
def test_recurrent_layers(layer, dtype):
    x = parameter(5, 2, 3)
    expected = layer(x)[0].numpy()
    with mg.autocast(dtype):
        y = layer(x)[0]
    np.testing.assert_allclose(y.numpy().astype("f4"), expected, atol=0.03)
    y.sum().backward()
    assert y.dtype.itemsize == 2 and all(p.grad.dtype == np.float32 for p in layer.parameters())


def mlp():
    return nn.Sequential(nn.Linear(16, 64, rng=0), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 3, rng=1))


def train(dtype, scaler, steps=40, start=None):
    """The losses, and the model, optimiser and scaler as they are at the end."""
    model = mlp()
    optimizer, losses = optim.AdamW(model.parameters(), lr=5e-3), []
    if start is not None:
        for made, saved in zip((model, optimizer, scaler), start, strict=True):
            made.load_state_dict(saved)
    for _ in range(steps):
        with mg.autocast(dtype) if dtype else nullcontext():
            loss = F.cross_entropy(model(mg.Tensor(X)), LABELS)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        optim.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        optimizer.zero_grad()
        scaler.update()
        losses.append(loss.item())
    return losses, [made.state_dict() for made in (model, optimizer, scaler)]


@pytest.mark.filterwarnings("error")
def test_an_mlp_reaches_the_loss_of_float32():
    expected, _ = train(None, mg.GradScaler(enabled=False))
    assert expected[-1] < 0.1
    for dtype, scaler in (("bfloat16", mg.GradScaler(enabled=False)), ("float16", mg.GradScaler())):
        losses, _ = train(dtype, scaler)
        assert losses == pytest.approx(expected, rel=0.05, abs=0.003) and scaler.skipped == 0


@pytest.mark.filterwarnings("error")
def test_an_overflow_costs_steps_and_nothing_else():
    """Of a scale that is 2⁷ times too large, seven steps are left out; the others are those of a run that knew the
    scale.
    """
    scaler, knew = mg.GradScaler(2.0**24), mg.GradScaler(2.0**17)
    losses, (weights, memory, _) = train("float16", scaler, 30)
    assert scaler.skipped == 7 and scaler.get_scale() == knew.get_scale()
    expected, (other_weights, other_memory, _) = train("float16", knew, 23)
    assert knew.skipped == 0 and losses == [expected[0]] * 7 + expected
    for name in weights:
        np.testing.assert_array_equal(weights[name].numpy(), other_weights[name].numpy())
    assert memory["state"][0]["step"] == other_memory["state"][0]["step"] == 23


def test_a_resumed_run_is_the_same_run():
    def new_scaler():
        return mg.GradScaler(2.0**19, growth_interval=5)

    whole, (weights, _, scaler) = train("float16", new_scaler(), 14)
    first, saved = train("float16", new_scaler(), 7)
    second, (resumed_weights, _, resumed) = train("float16", new_scaler(), 7, start=saved)
    assert first + second == whole and resumed == scaler and scaler["skipped"] > 1 and scaler["_growth_tracker"] > 0
    for name in weights:
        np.testing.assert_array_equal(weights[name].numpy(), resumed_weights[name].numpy())


class Steps:
    """An optimiser that counts its steps."""

    def __init__(self, *gradients):
        params = [mg.zeros(len(g), requires_grad=True) for g in gradients]
        for p, g in zip(params, gradients, strict=True):
            p.grad = mg.Tensor(np.array(g, "f4"))
        self.param_groups, self.steps = [{"params": [*params, mg.zeros(1, requires_grad=True)]}], 0

    def step(self):
        self.steps += 1


def test_the_scale_grows_and_backs_off():
    scaler, good = mg.GradScaler(8.0, growth_interval=2), Steps([8.0], [16.0, -1e38])
    for scale in (8, 16, 16, 32):
        scaler.step(good)
        scaler.update()
        assert scaler.get_scale() == scale
    assert good.steps == 4 and good.param_groups[0]["params"][0].grad.tolist() == [8 / 8 / 8 / 16 / 16]
    for bad in (np.inf, np.nan, -np.inf):
        broken = Steps([1.0], [2.0, bad])
        scaler.step(broken)
        scaler.step(good)  # each optimiser by itself, and one scale for all
        scaler.update()
        assert broken.steps == 0
    assert (scaler.get_scale(), scaler.skipped, good.steps) == (4, 3, 7)


def test_where_the_gradients_are_never_finite_it_says_so():
    scaler, broken = mg.GradScaler(), Steps([np.nan])
    with pytest.raises(ValueError, match="even with a loss scale of 3.1e-05: lower the learning rate, or look for"):
        for _ in range(100):
            scaler.step(broken)
            scaler.update()
    assert scaler.skipped == 31


def test_what_is_asked_wrongly():
    for given in ("float32", "cuda", np.float64, None):
        with (
            pytest.raises(ValueError, match='is not a dtype of 16 bits: type mg.autocast."bfloat16"'),
            mg.autocast(given),
        ):
            pass
    for given in (np.float16, np.dtype("float16"), bfloat16):
        with mg.autocast(given):
            assert (parameter(2, 2) @ parameter(2, 2)).dtype == given
    scaler, steps = mg.GradScaler(), Steps([1.0])
    with pytest.raises(RuntimeError, match="first scaler.step"):
        scaler.update()
    scaler.unscale_(steps)
    with pytest.raises(RuntimeError, match="divided by the scale already"):
        scaler.unscale_(steps)
    scaler.step(steps)  # without scaler.update() the next gradients would be taken for divided ones
    for again in (scaler.step, scaler.unscale_):
        with pytest.raises(RuntimeError, match=r"this Steps has stepped since the last update: call scaler.update\(\)"):
            again(steps)
    scaler.update()
    scaler.step(steps)
    assert steps.steps == 2
    with pytest.raises(TypeError, match="got 'cuda' as init_scale: the device is that of the gradients"):
        mg.GradScaler("cuda")
    for options in ({"init_scale": 0}, {"growth_factor": 1.0}, {"backoff_factor": 1.5}, {"growth_interval": 0}):
        with pytest.raises(ValueError, match="expected an init_scale above 0"):
            mg.GradScaler(**options)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_fine_tuning_bert(tmp_path):
    pytest.importorskip("tokenizers")
    tiny_bert.save_model(tmp_path / "bert")
    tokenizer, texts = AutoTokenizer.from_pretrained(tmp_path / "bert"), tiny_bert.examples(48)
    labels = [sorted(tiny_bert.WORDS).index(example.label) for example in texts]
    data = TextDataset(tokenizer([example.text for example in texts], padding=False), labels)
    found = {}
    for how in ("fp32", "fp16", "bf16"):
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "bert", num_labels=3, rng=0)
        args = TrainingArguments(
            tmp_path / how,
            num_train_epochs=8,
            per_device_train_batch_size=8,
            learning_rate=1e-2,
            logging_steps=1,
            save_strategy="no",
            **({} if how == "fp32" else {how: True}),
        )
        trainer = Trainer(model, args, data, data)
        trainer.train()
        found[how] = [trainer.evaluate()["eval_loss"], *(r["loss"] for r in trainer.history if "loss" in r)]
        assert trainer.predict(data).predictions.dtype == model.classifier.weight.dtype == np.float32
    assert found["fp32"][0] < 0.4 < 1 < found["fp32"][1]  # it has learned
    for how in ("fp16", "bf16"):
        assert found[how] == pytest.approx(found["fp32"], abs=0.01) and found[how] != found["fp32"]


@pytest.mark.filterwarnings("error")
def test_the_trainer_leaves_out_what_overflows(tmp_path):
    """The learning rate waits for the steps that are taken, and the log says which were not."""
    trainer = new_trainer(tmp_path, new_model(), fp16=True, gradient_accumulation_steps=2)
    trainer.scaler = mg.GradScaler(2.0**21)
    trainer.train()
    steps = [record for record in trainer.history if "grad_norm" in record]
    left_out = [record["grad_norm"] is None for record in steps]
    assert 0 < sum(left_out) == trainer.scaler.skipped < len(steps)
    rates = [record["learning_rate"] for record in steps]
    assert all((before == after) == out for out, before, after in zip(left_out, rates, rates[1:], strict=False))
    assert [record["loss_scale"] for record in steps] == [2.0**21 / 2 ** sum(left_out[:i]) for i in range(len(steps))]


BIG = np.full((4, 8), 300.0, "f4")
LOSSES_AND_NORMS = {
    "mse_loss": lambda x: F.mse_loss(x, x * 0),
    "l1_loss": lambda x: F.l1_loss(x, x * 0, reduction="sum"),
    "huber_loss": lambda x: F.huber_loss(x, x * 0, delta=300.0),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, x * 0, beta=0.01),
    "kl_div": lambda x: F.kl_div(x, x, reduction="sum"),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(x / 600, x / 300, reduction="sum"),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, x * 0, reduction="sum"),
    "cross_entropy": lambda x: F.cross_entropy(x, [0] * 4),
    "nll_loss": lambda x: F.nll_loss(x, [0] * 4, reduction="sum"),
    "cosine_embedding_loss": lambda x: F.cosine_embedding_loss(x, x * 0, [1] * 4),
    "contrastive_loss": lambda x: F.contrastive_loss(x, x * 0, [1] * 4),
    "info_nce": lambda x: F.info_nce(x, x),
    "ctc_loss": lambda x: F.ctc_loss(F.log_softmax(x, -1)[:, None], [[1]], [4], [1]),
    "margin_ranking_loss": lambda x: F.margin_ranking_loss(x, x * 0, x, 300.0),
    "hinge_embedding_loss": lambda x: F.hinge_embedding_loss(x, np.ones((4, 8)), reduction="sum"),
    "soft_margin_loss": lambda x: F.soft_margin_loss(x, -x),
    "multi_margin_loss": lambda x: F.multi_margin_loss(x, [0] * 4, 2, 300.0),
    "multilabel_margin_loss": lambda x: F.multilabel_margin_loss(x, [[0, *[-1] * 7]] * 4),
    "multilabel_soft_margin_loss": lambda x: F.multilabel_soft_margin_loss(x, x),
    "triplet_margin_loss": lambda x: F.triplet_margin_loss(x, x * 0, x * 0, 300.0),
    "triplet_margin_with_distance_loss": lambda x: F.triplet_margin_with_distance_loss(x, x * 0, x * 0),
    "poisson_nll_loss": lambda x: F.poisson_nll_loss(x, x, log_input=False, reduction="sum"),
    "gaussian_nll_loss": lambda x: F.gaussian_nll_loss(x, x * 0, x / 300),
    "sigmoid_focal_loss": lambda x: F.sigmoid_focal_loss(x, x * 0, reduction="sum"),
    "layer_norm": lambda x: F.layer_norm(x, 8),
    "instance_norm": lambda x: F.instance_norm(mg.reshape(x, (2, 2, 8))),
    "local_response_norm": lambda x: F.local_response_norm(x[:, :, None], 3),
    "group_norm": lambda x: F.group_norm(x, 2),
    "rms_norm": lambda x: F.rms_norm(x, 8),
    "batch_norm": lambda x: F.batch_norm(x, training=True),
    "norm": lambda x: mg.norm(x * 100),
    "mean": lambda x: mg.mean(x),
    "var": lambda x: mg.var(x * mg.Tensor(np.resize([1, -1], 8).astype("f4"))),
    "std": mg.std,
    "logsumexp": mg.logsumexp,
    "sum": mg.sum,
}


def test_every_loss_and_norm_is_walked():
    named = {
        name for name in F.__all__ if name.endswith(("_loss", "_norm", "_div", "cross_entropy", "_nce", "with_logits"))
    }
    assert named <= set(LOSSES_AND_NORMS)
    assert set(LOSSES_AND_NORMS) <= cast_to("float32")


@both
@pytest.mark.parametrize("name", LOSSES_AND_NORMS)
def test_losses_and_norms_run_in_float32(name, dtype):
    """Of products in 16 bits, 300 each, whose squares float16 cannot hold."""
    w = mg.Tensor(np.eye(8, dtype="f4"), requires_grad=True)
    with mg.autocast(dtype):
        x = mg.Tensor(BIG) @ w
        y = LOSSES_AND_NORMS[name](x)
    assert x.dtype.name == dtype and y.dtype == np.float32 and np.isfinite(y.numpy()).all()
    wide = LOSSES_AND_NORMS[name](mg.Tensor(BIG))
    np.testing.assert_allclose(y.numpy(), wide.numpy(), rtol=1e-2, atol=1e-2)
