"""vjp, jvp, jacobian, hessian against what can be worked out by hand; checkpoint against not using it."""

import gc
import random
import weakref
from functools import partial

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)
A, x = rng.standard_normal((3, 4)), rng.standard_normal(4)


def f(x):
    return mg.tanh(Tensor(A) @ x)


J = (1 - np.tanh(A @ x) ** 2)[:, None] * A


def test_jacobian_and_both_of_its_products():
    np.testing.assert_allclose(mg.jacobian(f)(x).numpy(), J, atol=1e-14)
    v, t = rng.standard_normal(3), rng.standard_normal(4)
    y, pull = mg.vjp(f, x)
    np.testing.assert_allclose(pull(v)[0].numpy(), v @ J, atol=1e-14)
    np.testing.assert_allclose(pull(2 * v)[0].numpy(), 2 * v @ J, atol=1e-14)
    y, moved = mg.jvp(f, [x], [t])
    np.testing.assert_allclose(y.numpy(), np.tanh(A @ x))
    np.testing.assert_allclose(moved.numpy(), J @ t, atol=1e-14)


def test_of_several_inputs():
    def product(a, b):
        return a * b

    a, b = rng.standard_normal((2, 3))
    np.testing.assert_allclose(mg.jacobian(product, 1)(a, b).numpy(), np.diag(a))
    np.testing.assert_allclose(mg.jvp(product, [a, b], [b, a])[1].numpy(), b * b + a * a)
    with pytest.raises(ValueError, match="primals have shapes"):
        mg.jvp(product, [a, b], [a])


def test_hessian():
    np.testing.assert_allclose(mg.hessian(lambda x: (x**3).sum())(x).numpy(), np.diag(6 * x), atol=1e-14)
    np.testing.assert_allclose(mg.hessian(lambda x: x @ Tensor(A.T @ A) @ x)(x).numpy(), 2 * A.T @ A, atol=1e-14)
    np.testing.assert_array_equal(mg.hessian(lambda x: mg.sum(x))(x).numpy(), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="one number"):
        mg.hessian(f)(x)


def net():
    return nn.Sequential(nn.Linear(4, 6, rng=0), nn.Tanh(), nn.Dropout(0.5, rng=1), nn.Linear(6, 2, rng=2)).to(
        "float64"
    )


def gradients(run):
    model, x = net(), Tensor(np.arange(12.0).reshape(3, 4) / 10, requires_grad=True)
    (run(model, x * 2) ** 2).sum().backward()
    return [x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]


def test_a_checkpoint_changes_no_gradient_and_draws_the_same_dropout():
    for a, b in zip(gradients(lambda model, x: model(x)), gradients(mg.checkpoint), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_counts_a_batch_once():
    x, norms = (
        rng.standard_normal((4, 3)),
        [nn.BatchNorm1d(3, momentum=momentum) for momentum in (0.1, 0.1, None, None)],
    )
    for norm, run in zip(norms, 2 * [nn.Module.__call__, mg.checkpoint]):
        for k in (1, 2):
            (run(norm, k * x) ** 2).sum().backward()
    for plain, checkpointed in (norms[:2], norms[2:]):
        assert checkpointed.num_batches_tracked.item() == 2
        for name, t in plain.state_dict().items():
            np.testing.assert_array_equal(checkpointed.state_dict()[name].numpy(), t.numpy(), err_msg=name)


def test_what_gives_no_tensor_is_refused():
    with pytest.raises(TypeError, match="returned a float"):
        mg.vjp(lambda x: 3.0, x)
    with pytest.raises(
        TypeError, match="checkpoint: f must return a Tensor, or a tree of Tensors, this one returned 3"
    ):
        mg.checkpoint(lambda x: 3.0, np.zeros((1, 1, 3), np.float32))
    with pytest.raises(TypeError, match=r"jvp\(f, \[x\], \[t\]\)"):
        mg.jvp(f, x, x)


def test_a_checkpoint_of_a_function_finds_the_weights_it_closes_over():
    for a, b in zip(
        gradients(lambda model, x: model(x)), gradients(lambda model, x: mg.checkpoint(lambda x: model(x), x)[:])
    ):
        np.testing.assert_array_equal(a, b)
    w, x = Tensor(A, requires_grad=True), Tensor(rng.standard_normal(4), requires_grad=True)
    deep = mg.exp(w)  # not a leaf
    mg.checkpoint(lambda x: mg.tanh(deep @ x) + w.sum(), x).sum().backward()
    found = w.grad.numpy(), x.grad.numpy()
    w.grad = x.grad = None
    (mg.tanh(mg.exp(w) @ x) + w.sum()).sum().backward()
    np.testing.assert_allclose(found[0], w.grad.numpy(), rtol=1e-14)
    np.testing.assert_allclose(found[1], x.grad.numpy(), rtol=1e-14)


class Noisy(nn.Module):
    """Draws from generators of other names, by ops and by itself."""

    def __init__(self):
        self.source, self.parts = np.random.default_rng(3), {"deep": [np.random.RandomState(4)]}

    def forward(self, x):
        return self.shaken(F.dropout(x, 0.5, rng=self.source))

    def shaken(self, x):
        return x * Tensor(self.source.standard_normal(x.shape)) + Tensor(self.parts["deep"][0].normal(size=x.shape)) * x


GLOBAL = np.random.default_rng(5)


def draws_globally(x):
    return x * Tensor(GLOBAL.random(x.shape)) * Tensor(np.random.rand(*x.shape)) * random.random()


def helped(x):
    return draws_globally(x) + x


class Plain:
    def __init__(self):
        self.bits, self.drop = np.random.Generator(np.random.MT19937(6)), nn.Dropout(0.5)

    def method(self, x, rng=None):
        return self.drop(x) * Tensor(self.bits.random(x.shape)) if rng is None else F.dropout(x, 0.5, rng=rng)


def stochastic():
    """Functions that draw, in all the ways there are, each with its other arguments."""
    model, noisy, plain, rng = net(), Noisy(), Plain(), np.random.default_rng(7)
    later = iter([np.random.default_rng(8) for _ in range(2)])
    first = next(later)

    def closure(x):
        return x * Tensor(rng.standard_normal(x.shape))

    def default(x, source=rng):
        return F.dropout(x, 0.3, rng=source)

    return {
        "lambda": (lambda x: model(x),),
        "bound method": (model.forward,),
        "partial": (partial(F.dropout, p=0.4, rng=rng),),
        "another name": (noisy,),
        "lambda of another name": (lambda x: noisy(x),),
        "fresh each time": (partial(F.dropout, p=0.5),),
        "an object": (plain.method,),
        "an argument": (plain.method, rng),
        "closure": (closure,),
        "default": (default,),
        "global": (draws_globally,),
        "helper": (helped,),
        "seed": (lambda x: F.dropout(x, 0.5, rng=11),),
        "hidden in an iterator": (lambda x: F.dropout(x, 0.5, rng=first),),
        "nested": (
            lambda x: mg.checkpoint(
                lambda x: noisy(mg.checkpoint(model, x)), model(mg.checkpoint(closure, x))[:, :1] * x
            ),
        ),
        "attention": (lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.5, rng=rng),),
    }


@pytest.mark.parametrize("name", stochastic())
def test_a_checkpoint_draws_the_same_numbers_whatever_is_checkpointed(name):
    """Value and gradient are those of a plain call with generators in the same state, which end in the same state."""
    found = []
    for run in (lambda f, *rest: f(*rest), mg.checkpoint):
        np.random.seed(0)
        random.seed(0)
        GLOBAL.bit_generator.state = np.random.default_rng(5).bit_generator.state
        f, *rest = stochastic()[name]
        x = Tensor(np.arange(12.0).reshape(3, 4) / 10 + 0.1, requires_grad=True)
        y = run(f, x, *rest)
        between = GLOBAL.random(), np.random.rand(), random.random()
        (y * y).sum().backward()
        g = x.grad.numpy()
        found.append((y.numpy(), g, between, (GLOBAL.random(), np.random.rand(), random.random()), f, rest))
    (y, g, *states, f, rest), (again, h, *ends, _, _) = found
    assert states == ends
    if name not in ("fresh each time", "an object"):
        np.testing.assert_allclose(again, y, rtol=1e-14)
        np.testing.assert_allclose(h, g, rtol=1e-12)
    else:  # dropout without a seed: where y is 0 the gradient is
        assert ((again == 0) == (h == 0)).all()


def test_a_segment_in_between_draws_on_as_if_nothing_was_repeated():
    ends = []
    for run in (lambda f, x: f(x), mg.checkpoint):
        rng = np.random.default_rng(0)
        x, f = Tensor(np.ones(8), requires_grad=True), partial(F.dropout, p=0.5, rng=rng)
        one = run(f, x)
        two = run(f, one)
        (one + two).sum().backward()
        ends.append((x.grad.tolist(), rng.bit_generator.state))
    assert ends[0] == ends[1]


class Counting(nn.Module):
    """Computes with what it has just written."""

    def __init__(self):
        self.count = nn.Buffer(np.zeros(1))

    def forward(self, x):
        self.count += 1
        return mg.exp(x * mg.tensor(self.count))


TWICE = {
    "module": (lambda m, x: m(x), lambda m, x: mg.checkpoint(m, x)),
    "lambda": (lambda m, x: m(x), lambda m, x: mg.checkpoint(lambda x: m(x), x)),
    "nested": (
        lambda m, x: m(m(x) * 0.1),
        lambda m, x: mg.checkpoint(lambda x: mg.checkpoint(m, mg.checkpoint(m, x) * 0.1), x),
    ),
}


@pytest.mark.parametrize("name", TWICE)
def test_what_a_segment_writes_and_then_reads_is_the_same_the_second_time(name):
    found = []
    for run in TWICE[name]:
        model, x = Counting(), Tensor(np.array([0.1, 0.2]), requires_grad=True)
        (run(model, x) + run(model, 2 * x)).sum().backward()
        found.append((x.grad.tolist(), model.count.tolist()))
    assert found[0] == found[1]


def test_a_lambda_counts_a_batch_once_too():
    x, norms = rng.standard_normal((4, 3)), [nn.BatchNorm1d(3) for _ in range(2)]
    for norm, run in zip(norms, (lambda f, x: f(x), mg.checkpoint)):
        total = 0
        for k in (1, 2):
            total += (run(lambda x, norm=norm: norm(x), Tensor(k * x, requires_grad=True)) ** 2).sum()
        total.backward()
    for name, t in norms[0].state_dict().items():
        np.testing.assert_array_equal(norms[1].state_dict()[name].numpy(), t.numpy(), err_msg=name)
    assert norms[1].num_batches_tracked.item() == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.copy_([5.0]),
        lambda w: setattr(w, "data", np.array([5.0])),
        lambda w: w.detach().copy_([5.0]),
        lambda w: w.hold(w.data.astype("f8")),
    ],
    ids=["copy_", "data", "detached", "moved"],
)
@pytest.mark.parametrize(
    "f",
    [lambda x, w: mg.exp(x + w), lambda x, w: x * w[0], lambda x, w: x * mg.exp(w.detach())],
    ids=["not kept", "a part", "a constant"],
)
def test_a_checkpoint_notices_whatever_it_would_read_anew(f, change):
    w = Tensor(np.array([2.0], np.float32), requires_grad=True)
    x = Tensor([3.0], requires_grad=True)
    y = mg.checkpoint(lambda x: f(x, w), x)
    change(w)
    with pytest.raises(RuntimeError, match="call backward before"):
        y.backward()


class Changing:
    """Segments that read something from outside, `change` it, and the words that say what differs."""

    def loop_variable(x):
        layers = [nn.Linear(3, 3, rng=i) for i in range(2)]
        for layer in layers:
            x = mg.checkpoint(lambda z: layer(z), x)  # noqa: B023  the fault in question
        return x, lambda: None, "layer changed in between"

    def loop_over_what_gives_the_same_values(x):
        scales = [Tensor(np.ones(3), requires_grad=True) for _ in range(2)]
        for scale in scales:
            x = mg.checkpoint(lambda z: z * scale, x)  # noqa: B023
        return x, lambda: None, "used other Tensors that require a gradient: scale changed"

    def evaluation(x):
        model = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Dropout(0.5, rng=0))
        return mg.checkpoint(model, x), model.eval, "returned other values in"

    def dictionary(x):
        options = {"power": 2}
        return mg.checkpoint(lambda z: z ** options["power"], x), lambda: options.update(power=3), "in 11 of 12 entries"

    def one_entry(x):
        where = [0]
        change = lambda: where.__setitem__(0, 1)  # noqa: E731
        return mg.checkpoint(lambda z: mg.where(np.eye(4, 3)[where[0]] > 0, z, -z), x), change, "in 8 of 12 entries"

    def rows(x):
        many = [2]
        return mg.checkpoint(lambda z: z[: many[0]], x), lambda: many.append(many.pop() + 1), r"shape \(3, 3\)"

    def number(x):
        power = 2

        def change():
            nonlocal power
            power = 3

        return mg.checkpoint(lambda z: z**power, x), change, "power changed in between"

    def attribute(x):
        layer = nn.BatchNorm1d(3)
        return mg.checkpoint(layer, x), lambda: setattr(layer, "eps", 1.0), "call backward before train"

    def method(x):
        layer = nn.Linear(3, 3, rng=0)
        return (
            mg.checkpoint(layer.forward, x),
            lambda: setattr(layer, "weight", nn.Parameter(layer.weight.data * 2)),
            "read a Tensor",
        )

    def array(x):
        a = np.ones(3)
        return mg.checkpoint(lambda z: z * a, x), lambda: a.fill(2.0), "returned other values"

    def frozen(x):
        layer = nn.Linear(3, 3, rng=0)
        return mg.checkpoint(layer, x), lambda: setattr(layer.weight, "requires_grad", False), "that require a gradient"

    def dtype(x):
        to = ["float64"]
        return mg.checkpoint(lambda z: z.to(to[0]), x), lambda: to.__setitem__(0, "float32"), "in float32 instead of"

    def kind(x):
        several = []
        return mg.checkpoint(lambda z: (z, z) if several else z * 1, x), lambda: several.append(1), "returned a tuple"


@pytest.mark.parametrize("name", [name for name in vars(Changing) if not name.startswith("_")])
def test_a_checkpoint_notices_that_what_it_reads_has_changed(name):
    x = Tensor(np.arange(1.0, 13).reshape(4, 3), requires_grad=True)
    y, change, words = vars(Changing)[name](x)
    change()
    with pytest.raises(RuntimeError, match=words) as told:
        y.sum().backward()
    assert "call backward before" in str(told.value) and "functools.partial" in str(told.value)
    assert x.grad is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_checkpoint_takes_roundings_for_what_they_are(dtype):
    """As of threads that add up in another order; an infinite or missing number is still itself."""
    x, calls = Tensor(np.array([1.0, 1e-30, 300.0, -1e3, np.inf, np.nan, 0]), dtype=dtype, requires_grad=True), []
    noise = np.where(np.arange(7) % 2, 1, -1) * {"float64": 2**-50, "float32": 2**-20}.get(dtype, 2**-7)

    def f(z):
        calls.append(1)
        return z * 1 if len(calls) == 1 else z * (1 + Tensor(noise, dtype=dtype))

    mg.checkpoint(f, x).sum().backward()
    assert len(calls) == 2 and np.isfinite(x.grad.numpy().astype("f8")).all()


def test_a_checkpoint_does_not_mind_that_its_result_was_written_into():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = mg.checkpoint(mg.exp, x)
    total = y.sum()
    y.detach().copy_(0)
    total.backward()
    np.testing.assert_allclose(x.grad, np.exp([1.0, 2.0]), rtol=1e-6)


def test_a_checkpoint_can_be_differentiated_twice():
    model = net().eval()
    mg.gradcheck(lambda x: mg.checkpoint(model, x * 2), rng.standard_normal((2, 4)), order=2)


def test_a_checkpoint_keeps_nothing_of_what_lies_between():
    between = []

    def f(x):
        h = mg.exp(x)
        between.append(weakref.ref(h.data))
        return mg.tanh(h)

    gc.disable()
    try:
        y = mg.checkpoint(f, Tensor(x, requires_grad=True))
        assert between[0]() is None
    finally:
        gc.enable()
    y.sum().backward()
    assert len(between) == 2  # it was computed again


def test_a_checkpoint_notices_a_weight_that_changed():
    w = Tensor([2.0], requires_grad=True)
    y = mg.checkpoint(lambda x: x * w * w, Tensor([3.0]))
    w.copy_([5.0])
    with pytest.raises(RuntimeError, match="written into after"):
        y.backward()


def test_a_checkpoint_may_return_several_and_takes_keywords():
    def f(a, b, *, scale=1.0):
        h = mg.tanh(a * b) * scale
        return {"h": h, "both": (h.sum(), a.to("float64") * 2), "ids": mg.argmax(h), "none": None}

    def loss(run):
        a, b = (mg.Tensor(np.cos(np.arange(4.0) + i).astype("f4"), True) for i in range(2))
        y = run(a, b, scale=3.0)
        assert y["h"].dtype == np.float32 and y["both"][1].dtype == np.float64 and y["none"] is None
        total = (y["h"] * y["h"]).sum() * y["both"][0] + (y["both"][1] ** 2).sum()
        first = mg.grad(total, [a, b], create_graph=True)
        return [total, y["ids"], *first, *mg.grad((first[0] * first[1]).sum(), [a, b])]

    for found, right in zip(loss(lambda *xs, **options: mg.checkpoint(f, *xs, **options)), loss(f)):
        np.testing.assert_allclose(found.numpy(), right.numpy(), rtol=1e-6)
