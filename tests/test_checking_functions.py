"""Whatever is to be checked: trees of inputs, several outputs, Modules, functions of NumPy arrays with a derivative by
hand.
"""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.checking import GradientError, gradcheck

rng = np.random.default_rng(0)
X, W = rng.standard_normal((2, 3)), rng.standard_normal((3, 4))


def test_inputs_in_dicts_lists_and_tuples():
    def mlp(params, x):
        for w, b in params["layers"]:
            x = mg.tanh(x @ w + b)
        return x * params["scale"]

    params = {"layers": [(W, np.zeros(4)), (W.T.copy(), np.ones(3))], "scale": 2.0, "name": "two layers"}
    gradcheck(mlp, [params, X], order=2)
    gradcheck(lambda p: mlp(p, X), params)  # a dict is one argument
    with pytest.raises(GradientError, match=r"of input 0\['layers'\]\[1\]\[0\] at") as caught:
        gradcheck(
            lambda p: mlp({**p, "layers": [p["layers"][0], (p["layers"][1][0].detach(), p["layers"][1][1])]}, X), params
        )
    assert caught.value.input == "input 0['layers'][1][0]" and caught.value.cause == "zero"


def test_a_module_is_an_input_and_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.LayerNorm(4), nn.Linear(4, 2, rng=1))
    before = {name: p.numpy().copy() for name, p in model.state_dict().items()}
    report = gradcheck(lambda model, x: mg.tanh(model(x)), [model, X], order=2)
    assert report.worst <= 1
    assert all(p.dtype == "f4" and (p.numpy() == before[name]).all() for name, p in model.state_dict().items())

    class Half(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(3, 2, rng=0)

        def forward(self, x):
            return x @ self.inner.weight.detach().T + self.inner.bias

    with pytest.raises(GradientError) as caught:
        gradcheck(lambda model, x: model(x), [Half(), X])
    assert caught.value.input == "input 0.inner.weight"


def test_a_transformer_layer_and_a_model_that_drops_out():
    layer = nn.TransformerEncoderLayer(4, 2, 8, rng=0)
    x = rng.standard_normal((2, 3, 4))
    with pytest.raises(GradientError, match="switch dropout off with model.eval") as caught:
        gradcheck(lambda layer, x: layer(x), [layer, x])
    assert caught.value.cause == "random"
    gradcheck(lambda layer, x: layer(x), [layer.eval(), x])


def test_several_outputs_and_integers_among_them():
    gradcheck(lambda x: mg.topk(x, 2), X, order=2)
    gradcheck(lambda x: {"loss": mg.sum(x * x), "parts": [mg.exp(x), mg.sin(x)], "note": "fine"}, X, order=2)
    with pytest.raises(GradientError):
        gradcheck(lambda x: (mg.sum(x * x) * 1e9, mg.sum(mg.sin(x.detach()) + x * 0)), X)


def test_tiny_gradients_are_held_to_the_same_measure():
    gradcheck(lambda x: mg.sin(x) * 1e-30, X)
    # next to the first the second is lost in rounding
    gradcheck(lambda a, b: mg.sum(a) * 1e6 + mg.sum(b * b) * 1e-9, [X, W])
    gradcheck(lambda a, b: (mg.sum(a) * 1e6, mg.sum(b * b) * 1e-9), [X, W])
    for wrong in (
        lambda x: mg.sin(x) * 1e-30 + x.detach() * 1e-30,
        lambda x: mg.sum(mg.sin(x) * np.array([1, 1, 1e-6]) + x.detach() * np.array([0, 0, 1e-6])),
    ):
        with pytest.raises(GradientError):
            gradcheck(wrong, X)
    with pytest.raises(GradientError):
        gradcheck(lambda a, b: (mg.sum(a) * 1e6, mg.sum(b.detach() * b) * 1e-9), [X, W])


def test_functions_of_numpy_arrays():
    assert gradcheck(lambda x: (x**2).sum(), X, gradient=lambda x: 2 * x)
    assert gradcheck(
        lambda x, w: np.tanh(x @ w), [X, W], vjp=lambda g, x, w: ((g := g * (1 - np.tanh(x @ w) ** 2)) @ w.T, x.T @ g)
    )
    assert gradcheck(
        lambda x, ids: x[ids], [X, np.array([0, 0, 1])], vjp=lambda g, x, ids: [np.array([g[0] + g[1], g[2]])]
    )
    assert gradcheck(lambda x: float(np.linalg.norm(x)), X, gradient=lambda x: x / np.linalg.norm(x))
    assert gradcheck(lambda x: (np.sin(x), x.sum()), X, vjp=lambda gs, x: gs[0] * np.cos(x) + gs[1])
    for gradient, cause in ((lambda x: x, "factor"), (lambda x: -2 * x, "sign"), (lambda x: 12 * x, "mean")):
        with pytest.raises(GradientError) as caught:
            gradcheck(lambda x: (x**2).sum(), X, gradient=gradient)
        assert caught.value.cause == cause and caught.value.op is None
    with pytest.raises(GradientError, match="broadcast, and the sum") as caught:
        gradcheck(lambda x, b: x + b, [X, X[0]], vjp=lambda g, x, b: (g, g))
    assert (caught.value.cause, caught.value.input) == ("broadcast", "input 1")
    with pytest.raises(GradientError, match="transposed"):
        gradcheck(lambda x: x, X, vjp=lambda g, x: g.T)


def test_gradients_by_hand_may_be_trees_numbers_or_of_any_dtype():
    def quadratic(p, ids):
        return (p["a"][ids] ** 2).sum() + p["b"].sum()

    ids, params = np.array([0, 1]), {"a": X, "b": X}
    # by their keys
    gradcheck(quadratic, [params, ids], gradient=lambda p, ids: {"b": np.ones(X.shape, int), "a": 2 * p["a"]})
    gradcheck(quadratic, [params, ids], gradient=lambda p, ids: (2 * p["a"], np.ones(X.shape), None))  # one by one
    gradcheck(lambda x: np.maximum(x, 0).sum(), X, gradient=lambda x: x > 0)
    gradcheck(lambda x: x**2, 2.0, gradient=lambda x: 2 * x)
    with pytest.raises(GradientError) as caught:
        gradcheck(quadratic, [params, ids], gradient=lambda p, ids: {"a": np.ones(X.shape), "b": 2 * p["a"]})
    assert caught.value.cause == "neighbour"


def test_a_function_by_hand_may_write_into_what_it_is_given():
    gradcheck(lambda x: x.__imul__(2), X, vjp=lambda g, x: g.__imul__(2))


def test_what_cancels_inside_is_not_held_to_more_digits_than_it_has():
    def step(x, w):
        return 1 - np.tanh(x @ w) ** 2  # far from 0 this is small, and right to few digits

    for seed in range(20):
        x, w = 3 * np.random.default_rng(seed).standard_normal((2, 4, 4))
        gradcheck(
            step,
            [x, w],
            every_entry=True,
            vjp=lambda g, x, w: ((d := -2 * g * (t := np.tanh(x @ w)) * (1 - t**2)) @ w.T, x.T @ d),
        )


@pytest.mark.filterwarnings("error")
def test_whatever_a_function_says_of_complex_numbers_or_of_bad_steps_stays_inside():
    class Other(NotImplementedError):
        pass

    def refuses(x):
        if np.iscomplexobj(x):
            raise Other("complex")
        return np.sqrt(x)

    x = np.array([1e-4, 2.0])
    gradcheck(refuses, x, vjp=lambda g, x: g / 2 / np.sqrt(x))
    # casts the imaginary part away
    gradcheck(lambda x: np.sqrt(x.astype(float)), x, vjp=lambda g, x: g / 2 / np.sqrt(x))
    with pytest.raises(GradientError, match="the function itself is not finite here"):
        gradcheck(mg.log, np.array([0.0, 1.0]))


def test_batch_norm_in_training_and_with_frozen_weights():
    layer = nn.BatchNorm1d(3)
    gradcheck(lambda layer, x: layer(x), [layer, W.T], order=2)
    layer.weight.requires_grad = False
    gradcheck(lambda layer, x: layer(x), [layer, W.T])
    with pytest.raises(GradientError) as caught:
        gradcheck(lambda layer, x: layer(x) * layer.bias.detach(), [layer, W.T + 1])
    assert caught.value.input == "input 0.bias"  # what is frozen, the weight, is not perturbed


class Sparse:
    def toarray(self):
        return X


class Foreign:
    shape, dtype = (2, 3), np.dtype("f4")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: gradcheck(lambda x: x.numpy() ** 2, X), "left the tape"),
        (lambda: gradcheck(lambda x: float(mg.sum(x)), X), "left the tape"),
        (lambda: gradcheck(lambda x: None, X), "returned no floating Tensor"),
        (lambda: gradcheck(mg.argmax, X), "returned no floating Tensor"),
        (lambda: gradcheck(mg.sin, np.arange(3)), "nothing to perturb among the inputs, ndarray of int"),
        (lambda: gradcheck(mg.sin, []), "nothing to perturb among the inputs, none"),
        (lambda: gradcheck(np.sin, X, vjp=lambda g, x: g * np.cos(x), order=2), "use order=1"),
        (lambda: gradcheck(np.sin, X, gradient=np.cos), "give vjp="),
        (
            lambda: gradcheck(lambda x, w: x @ w, [X, W], vjp=lambda g, x, w: g @ w.T),
            "returned 1 arrays for 2 floating inputs",
        ),
        (lambda: gradcheck(lambda x: mg.Tensor(x), X, vjp=lambda g, x: g), "and returned a Tensor"),
        (lambda: gradcheck(mg.sin, X, order=0), "the gradient itself is order 1"),
        (lambda: gradcheck(np.sin, X, vjp=lambda g, x: g, gradient=np.cos), "not both"),
        (lambda: gradcheck(np.sin, X), "mg.sin, not np.sin"),
        (lambda: gradcheck(lambda x: np.exp(x).sum(), X), "mg.sin, not np.sin"),
        (lambda: gradcheck(np.sum, X), "mg.sin, not np.sin"),
        (lambda: gradcheck(np.linalg.norm, X), "left the tape"),
        (
            lambda: gradcheck(lambda x: (x**2).sum(), X, gradient=2 * X),
            "gradient= is a function, but this is of type ndarray",
        ),
        (lambda: gradcheck(np.sin, X, vjp=2 * X), "vjp= is a function, but this is of type ndarray"),
        (
            lambda: gradcheck(lambda x: x.sum(), X, gradient=lambda x: Sparse()),
            r"sparse Sparse: return a dense array, g.toarray",
        ),
        (lambda: gradcheck(lambda x: x, Foreign()), "give NumPy arrays, .* and let f make arrays of"),
        (lambda: gradcheck(lambda x: x * 1j, X, vjp=lambda g, x: g), "return their real and imaginary parts"),
        (lambda: gradcheck(np.sin, X, vjp=lambda g, x: g * np.cos(x), dtype="float16"), "one of float64, float32"),
    ],
)
def test_what_cannot_be_checked_is_refused_kindly(call, said):
    with pytest.raises((TypeError, ValueError), match=said):
        call()


@pytest.mark.parametrize(
    "f",
    [lambda x: np.sin(x.astype("f4")), lambda x: (x.astype("f4") ** 2).sum(), lambda x: np.maximum(x, np.float32(0))],
)
def test_float32_is_a_mode_of_its_own(f):
    single = f(X).ndim == 0
    rules = (
        {"gradient": lambda x: 2 * x} if single else {"vjp": lambda g, x: g * (np.cos(x) if f(-X).min() < 0 else x > 0)}
    )
    if f(X).dtype == np.float32:
        with pytest.raises(GradientError, match='check it with dtype="float32"') as caught:
            gradcheck(f, X, **rules)
        assert caught.value.cause == "dtype"
    assert gradcheck(f, X, dtype="float32", **rules) and gradcheck(f, X, dtype=np.float32, **rules)
    ((option, rule),) = rules.items()
    with pytest.raises(GradientError) as caught:
        gradcheck(f, X, dtype="float32", **{option: lambda *given: 1.01 * rule(*given)})
    assert caught.value.cause == "factor"


def test_tensors_and_modules_in_float32():
    single = np.float32(0.5)
    gradcheck(lambda layer, x: mg.tanh(layer(x)) * single, [nn.Linear(3, 4, rng=0), X], dtype="float32", order=2)
    assert gradcheck(lambda x: mg.sin(mg.astype(x, "float32")), X, dtype="float32")
    with pytest.raises(GradientError) as caught:
        gradcheck(lambda x: mg.sin(x) * x.detach(), X, dtype="float32")
    assert caught.value.op is None


def test_no_entries_at_all():
    assert gradcheck(mg.sin, np.zeros((0, 3)), order=2).worst == 0
    assert gradcheck(lambda x: x[:0], X).worst == 0
