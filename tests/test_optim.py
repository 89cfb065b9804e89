"""Every optimiser walks where torch's does, resumes where it stopped, and says what is wrong with what it was given."""

import inspect
import math

import numpy as np
import pytest

from minigrad import optim, schedule
from minigrad.tensor import Tensor

OPTIONS = [
    ("SGD", {}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.02, "momentum": 0.9}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.0}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"lr": 0.005, "momentum": 0.5, "centered": True, "weight_decay": 0.01}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-4}),
]
OPTIONS += [
    *((name, {}) for name in ("NAdam", "RAdam", "Adamax", "Adadelta", "Adafactor", "ASGD", "Rprop")),
    *(
        (name, {"weight_decay": 0.1, "maximize": True, "lr": 1e-3})
        for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "ASGD")
    ),
    ("Adadelta", {"weight_decay": 0.1, "maximize": True, "lr": 0.5}),
    ("Adafactor", {"weight_decay": 0.1, "maximize": True, "d": 1.5, "beta2_decay": -1.0, "eps": (1e-5, 1e-2)}),
    ("Rprop", {"maximize": True, "lr": 1e-3, "etas": (0.4, 1.5), "step_sizes": (1e-5, 0.1)}),
    ("Adam", {"amsgrad": True, "lr": 0.05, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True, "lr": 0.05}),
    ("NAdam", {"momentum_decay": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "betas": (0.8, 0.9)}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "betas": (0.8, 0.9), "eps": 1e-5}),
    ("Adamax", {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-4}),
    ("Adadelta", {"rho": 0.7, "eps": 1e-3, "lr": 0.5}),
    ("ASGD", {"lr": 0.05, "lambd": 0.1, "alpha": 0.5, "t0": 10}),
]
NAMES = list(dict.fromkeys(name for name, _ in OPTIONS)) + ["LBFGS", "Muon", "Lion"]
every_option = pytest.mark.parametrize(
    ("name", "options"), OPTIONS, ids=lambda x: x if isinstance(x, str) else ",".join(x)
)
START = [np.random.default_rng(0).standard_normal(shape) for shape in ((3, 4), (5,), ())]


def parameters(dtype=np.float64, like=None):
    return [Tensor((w.numpy() if like else w).astype(dtype), requires_grad=True) for w in like or START]


def gradient(w, step, i):
    """A bowl with a bump, tilted another way at each step; parameter 1 has no gradient at every third step."""
    return None if i == 1 and step % 3 == 0 else np.asarray(w**3 - np.sin(3 * w) + np.cos(step + i), w.dtype)


def walk(optimizer, parameters, steps):
    for step in steps:
        for i, p in enumerate(parameters):
            g = gradient(p.numpy(), step, i)
            p.grad = None if g is None else Tensor(g)
        optimizer.step()


def walk_torch(torch, optimizer, parameters, steps):
    for step in steps:
        for i, p in enumerate(parameters):
            g = gradient(p.detach().numpy(), step, i)
            p.grad = None if g is None else torch.tensor(g)
        optimizer.step()


def assert_same(ours, theirs, tolerance=0.0):
    for p, q in zip(ours, theirs, strict=True):
        assert p.numpy().dtype == q.detach().numpy().dtype
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), tolerance)


@every_option
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_walks_where_torch_walks(name, options, dtype, tolerance):
    torch = pytest.importorskip("torch")
    if name in ("ASGD", "NAdam"):  # torch keeps their numbers, such as the product of all mu, in float32
        tolerance = max(tolerance, 1e-5)
    ours, theirs = parameters(dtype), [torch.tensor(w.astype(dtype), requires_grad=True) for w in START]
    walk(getattr(optim, name)(ours, **options), ours, range(100))
    walk_torch(torch, getattr(torch.optim, name)(theirs, **options), theirs, range(100))
    assert all(abs(p.numpy() - w).max() > 1e-3 for p, w in zip(ours, START, strict=True))
    assert_same(ours, theirs, tolerance)


@every_option
def test_defaults_and_names_are_those_of_torch(name, options):
    torch = pytest.importorskip("torch")
    ours = getattr(optim, name)(parameters(), **options).param_groups[0]
    theirs = getattr(torch.optim, name)([torch.zeros(1)], **options).param_groups[0]
    assert {key: value for key, value in ours.items() if key != "params"}.items() <= theirs.items()


def test_groups_have_their_own_options_and_a_written_lr_counts():
    torch = pytest.importorskip("torch")
    ours, theirs = parameters(), [torch.tensor(w, requires_grad=True) for w in START]
    optimizers = []
    for made, ps in ((optim.AdamW, ours), (torch.optim.AdamW, theirs)):
        groups = [{"params": ps[:1], "weight_decay": 0.0, "lr": 0.1}, {"params": (p for p in ps[1:2])}]
        optimizers.append(made(groups, lr=0.01, weight_decay=0.2))
        optimizers[-1].add_param_group({"params": ps[2], "betas": (0.5, 0.9)})
    assert [[g[key] for key in ("lr", "weight_decay", "betas")] for g in optimizers[0].param_groups] == [
        [0.1, 0.0, (0.9, 0.999)],
        [0.01, 0.2, (0.9, 0.999)],
        [0.01, 0.2, (0.5, 0.9)],
    ]
    walk(optimizers[0], ours, range(10))
    walk_torch(torch, optimizers[1], theirs, range(10))
    for optimizer in optimizers:
        optimizer.param_groups[1]["lr"] = 0.3
    walk(optimizers[0], ours, range(10, 20))
    walk_torch(torch, optimizers[1], theirs, range(10, 20))
    assert_same(ours, theirs, 1e-12)


@every_option
def test_resuming_in_the_middle_equals_not_stopping(name, options):
    whole, made = parameters(np.float32), getattr(optim, name)
    uninterrupted = made(whole, **options)
    walk(uninterrupted, whole, range(1, 20))

    half = parameters(np.float32)
    stopped = made(half, **options)
    walk(stopped, half, range(1, 9))
    stopped.param_groups[0]["lr"] *= 0.5
    saved, resumed = stopped.state_dict(), parameters(np.float32, like=half)
    walk(stopped, half, range(9, 20))  # what was saved is a copy: going on does not touch it
    other = made(resumed, lr=123.0)
    other.load_state_dict(saved)
    walk(other, resumed, range(9, 20))
    assert_same(resumed, half)
    if (
        options.get("lr") and name != "Rprop"
    ):  # (whose lr is for the first step) and the lr that was written was resumed too
        assert any((p.numpy() != q.numpy()).any() for p, q in zip(resumed, whole, strict=True))


def test_a_state_dict_is_plain_and_has_the_positions_and_names_of_torch():
    ours = parameters()
    optimizer = optim.Adam([{"params": ours[:2]}, {"params": ours[2:]}])
    walk(optimizer, ours, [0])  # at step 0 parameter 1 has no gradient, and so nothing is kept for it
    saved = optimizer.state_dict()
    assert [group["params"] for group in saved["param_groups"]] == [[0, 1], [2]]
    assert {i: [(key, type(value)) for key, value in memory.items()] for i, memory in saved["state"].items()} == {
        i: [("step", int), ("exp_avg", np.ndarray), ("exp_avg_sq", np.ndarray)] for i in (0, 2)
    }


def test_a_parameter_without_a_gradient_is_left_alone_and_its_version_too():
    ours = parameters()
    walk(optim.AdamW(ours, weight_decay=0.5), ours, [0, 3])
    assert [p.version for p in ours] == [2, 0, 2]
    np.testing.assert_array_equal(ours[1].numpy(), START[1])


def test_zero_grad_and_writing_in_place():
    ours = parameters()
    arrays, optimizer = [p.data for p in ours], optim.SGD(ours)
    walk(optimizer, ours, [1])
    assert all(p.data is array for p, array in zip(ours, arrays, strict=True))
    optimizer.zero_grad()
    assert all(p.grad is None for p in ours)


def test_a_step_between_forward_and_backward_is_caught():
    w = Tensor(np.ones(3), requires_grad=True)
    loss = (w * w).sum()
    w.grad = Tensor(np.ones(3))
    optim.SGD([w]).step()
    with pytest.raises(RuntimeError, match="optimiser step"):
        loss.backward()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 2.5, 1e3])
def test_clipping_is_that_of_torch(max_norm, dtype, tolerance):
    torch = pytest.importorskip("torch")
    ours, theirs = parameters(dtype), [torch.tensor(w.astype(dtype), requires_grad=True) for w in START]
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        g = gradient(p.numpy(), 3, i)  # parameter 1 has none
        p.grad, q.grad = (None, None) if g is None else (Tensor(g), torch.tensor(g))
    norm = optim.clip_grad_norm_((p for p in ours), max_norm)
    assert isinstance(norm, float)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm).item(), rel=tolerance)
    assert_same([ours[0].grad, ours[2].grad], [theirs[0].grad, theirs[2].grad], tolerance)
    optim.clip_grad_value_((p for p in ours), max_norm / 2)
    torch.nn.utils.clip_grad_value_(theirs, max_norm / 2)
    assert_same([ours[0].grad, ours[2].grad], [theirs[0].grad, theirs[2].grad], tolerance)
    assert ours[1].grad is None


def test_clipping_happens_in_the_gradient_and_is_counted():
    w = Tensor(np.zeros(2), requires_grad=True)
    w.grad = g = Tensor(np.array([3.0, 4.0]))
    assert optim.clip_grad_norm_(w, 10) == 5.0 and g.version == 0  # small enough: not touched
    assert optim.clip_grad_norm_(w, 1) == 5.0 and g.version == 1
    np.testing.assert_allclose(g.numpy(), [0.6, 0.8], rtol=1e-6)
    assert w.grad is g
    w.grad = None
    assert optim.clip_grad_norm_(w, 1) == 0.0


@pytest.mark.parametrize(("bad", "others"), [(np.nan, np.nan), (np.inf, 0.0)])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_broken_gradient_shows(bad, others):
    ours = parameters()
    ours[0].grad, ours[2].grad = Tensor(np.ones((3, 4))), Tensor(np.array(bad))
    with pytest.raises(ValueError, match=rf"norm is {bad}.*parameters \[2\].*lower the learning rate"):
        optim.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)
    assert (ours[0].grad.numpy() == 1).all()
    assert optim.clip_grad_norm_(ours, 1.0) == pytest.approx(bad, nan_ok=True)
    assert np.isnan(ours[2].grad.numpy()).all()
    np.testing.assert_array_equal(ours[0].grad.numpy(), np.full((3, 4), others))


@pytest.mark.parametrize("norm_type", [1.0, 2, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.1, 100.0])
def test_norms_of_other_types_are_those_of_torch(norm_type, max_norm):
    torch = pytest.importorskip("torch")
    ours, theirs = parameters(), [torch.tensor(w, requires_grad=True) for w in START]
    for p, q in zip(ours, theirs, strict=True):
        p.grad, q.grad = Tensor(gradient(p.numpy(), 1, 0)), torch.tensor(gradient(p.numpy(), 1, 0))
    norm = optim.clip_grad_norm_(ours, max_norm, norm_type)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type).item(), rel=1e-12)
    assert_same([p.grad for p in ours], [q.grad for q in theirs], 1e-12)
    ours[0].grad = Tensor(np.full((3, 4), np.nan))
    with pytest.raises(ValueError, match="norm is nan"):
        optim.clip_grad_norm_(ours, 1.0, norm_type, error_if_nonfinite=True)
    with pytest.raises(ValueError, match="norm_type to be a number above 0, or math.inf, but got 0"):
        optim.clip_grad_norm_(ours, 1.0, 0)


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"betas": (0.9, 0.9999)}])
def test_the_means_keep_all_digits_of_float32(options):
    w, g = Tensor(np.ones(4000, np.float32), requires_grad=True), np.linspace(0.1, 1, 4000, dtype=np.float32)
    w.grad = Tensor(g)
    optimizer = optim.Adam([w], **options)
    optimizer.step()
    rest1, rest2 = (1 - beta for beta in optimizer.defaults["betas"])
    np.testing.assert_allclose(optimizer.state[w]["exp_avg"], rest1 * g, 3e-7)
    np.testing.assert_allclose(optimizer.state[w]["exp_avg_sq"], rest2 * g * g, 3e-7)


def test_lion_is_the_algorithm_of_its_paper():
    ours, lr, (beta1, beta2), decay = parameters(), 0.01, (0.8, 0.95), 0.1
    optimizer = optim.Lion(ours, lr, (beta1, beta2), decay)
    weights, means = [w.copy() for w in START], [np.zeros_like(w) for w in START]
    for step in range(20):
        for i, (w, m) in enumerate(zip(weights, means, strict=True)):
            if (g := gradient(w, step, i)) is not None:
                weights[i] = w - lr * (np.sign(beta1 * m + (1 - beta1) * g) + decay * w)
                means[i] = beta2 * m + (1 - beta2) * g
        walk(optimizer, ours, [step])
    for p, w in zip(ours, weights, strict=True):
        np.testing.assert_allclose(p.numpy(), w, 1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"lr": 0.05, "nesterov": False}, {"adjust_lr_fn": "match_rms_adamw", "lr": 0.01, "ns_steps": 6}]
)
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_muon_moves_where_that_of_torch_does(shape, options):
    torch = pytest.importorskip("torch")
    start = np.random.default_rng(1).standard_normal(shape)
    ours, theirs = [Tensor(start.copy(), requires_grad=True)], [torch.tensor(start, requires_grad=True)]
    walk(optim.Muon(ours, **options), ours, range(5))
    walk_torch(torch, torch.optim.Muon(theirs, **options), theirs, range(5))
    moved = abs(theirs[0].detach().numpy() - start).max()
    np.testing.assert_allclose(ours[0].numpy(), theirs[0].detach().numpy(), 0, 0.02 * moved)  # torch is in bfloat16


def test_muon_is_for_matrices():
    with pytest.raises(ValueError, match=r"parameter has shape \(5,\): give it \[p for p in model.parameters\(\) if"):
        optim.Muon(parameters()[:2])
    assert optim.Muon(parameters()[:1]).param_groups


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_parameters_of_16_bits_stay_that_and_move_as_those_of_32(name, dtype):
    ours, exact = ([Tensor(np.full((2, 2), 0.75), True, dtype=kind)] for kind in (dtype, "float32"))
    for params in (ours, exact):
        optimizer = getattr(optim, name)(params, lr=0.05)

        def closure(params=params, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (params[0] * params[0]).sum()
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
    assert ours[0].dtype.name == dtype
    assert abs(exact[0].numpy() - 0.75).max() > 1e-4 or name == "Adadelta"
    np.testing.assert_allclose(ours[0].numpy().astype(np.float32), exact[0].numpy(), 0.04, 0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_closure_is_called_with_the_tape_running_and_its_loss_returned(name):
    from minigrad import no_grad

    w = Tensor(np.ones((2, 2)), requires_grad=True)
    optimizer = getattr(optim, name)([w])

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert (w.numpy() != 1).all()


def rosenbrock(x):
    """A bent valley in which plain gradient descent is slow; least at (1, 1, 1)."""
    return (100 * (x[1:] - x[:-1] * x[:-1]) ** 2 + (1 - x[:-1]) ** 2).sum()


@pytest.mark.parametrize(
    "options",
    [
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 7},
        {"line_search_fn": "strong_wolfe", "lr": 0.1, "max_eval": 9},
        {"lr": 0.001, "max_iter": 5},
        {"lr": 0.001, "history_size": 3, "tolerance_change": 1e-4},
    ],
)
def test_lbfgs_walks_where_that_of_torch_does_and_resumes(options):
    torch = pytest.importorskip("torch")
    start = np.array([-1.2, 1.0, 0.5])
    ours, theirs = Tensor(start.copy(), requires_grad=True), torch.tensor(start, requires_grad=True)

    def closure_of(optimizer, x):
        def closure():
            optimizer.zero_grad()
            loss = rosenbrock(x)
            loss.backward()
            return loss

        return closure

    mine, right = optim.LBFGS([ours], **options), torch.optim.LBFGS([theirs], **options)
    for step in range(8):
        losses = mine.step(closure_of(mine, ours)).item(), right.step(closure_of(right, theirs)).item()
        np.testing.assert_allclose(*losses, 1e-4, 1e-9)  # (in a bent valley roundings grow)
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), 1e-5)
        if step == 3:
            memory, other = mine.state[ours], right.state[theirs]
            assert [memory[key] for key in ("n_iter", "func_evals")] == [other[key] for key in ("n_iter", "func_evals")]
            saved, ours = mine.state_dict(), Tensor(ours.numpy().copy(), requires_grad=True)
            mine = optim.LBFGS([ours])
            mine.load_state_dict(saved)
    if "line_search_fn" in options and "max_eval" not in options:
        assert rosenbrock(ours).item() < 1e-3


def test_what_lbfgs_refuses():
    with pytest.raises(TypeError, match=r"give step\(closure\), a function that calls zero_grad\(\)"):
        optim.LBFGS([W]).step()
    with pytest.raises(ValueError, match="one group"):
        optim.LBFGS([{"params": [W]}, {"params": parameters()}])
    with pytest.raises(ValueError, match="line_search_fn to be None or \"strong_wolfe\", but got 'armijo'"):
        optim.LBFGS([W], line_search_fn="armijo")
    with pytest.raises(ValueError, match="history_size to be a whole number, 1 or more, but got 0"):
        optim.LBFGS([W], history_size=0)


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_accumulated_steps_are_those_of_the_large_batch(max_norm):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((10, 3)), rng.standard_normal(10)
    runs = []
    for sizes in ([5, 5], [2, 3, 4, 1]):
        w = Tensor(np.zeros(3), requires_grad=True)
        optimizer = optim.Adam([w], lr=0.1)
        accumulate = optim.GradientAccumulation(optimizer, steps=len(sizes) // 2, max_norm=max_norm)
        stepped, start = [], 0
        for size in sizes:
            rows = slice(start, start + size)
            loss = ((Tensor(x[rows]) @ w - Tensor(y[rows])) ** 2).mean()
            stepped.append(accumulate(loss, weight=size))
            start += size
        assert sum(stepped) == 2 and w.grad is None and not accumulate.flush()
        runs.append(w.numpy())
    np.testing.assert_allclose(runs[0], runs[1], 1e-12)


def test_the_last_losses_of_an_epoch_are_flushed():
    w = Tensor(np.zeros(2), requires_grad=True)
    accumulate = optim.GradientAccumulation(optim.SGD([w], lr=1.0), steps=4)
    for _ in range(3):
        assert not accumulate(w.sum())
    assert accumulate.flush()
    np.testing.assert_array_equal(w.numpy(), [-1, -1])  # the mean of three losses
    with pytest.raises(ValueError, match="weight to be a number above 0, but got 0"):
        accumulate(w.sum(), weight=0)
    with pytest.raises(ValueError, match="steps to be a whole number, 1 or more, but got 0"):
        optim.GradientAccumulation(optim.SGD([w]), 0)


class Model:
    def parameters(self):
        return parameters()


W = Tensor(np.zeros(2), requires_grad=True)


@pytest.mark.parametrize(
    ("params", "options", "error", "text"),
    [
        ([], {}, ValueError, "AdamW got no parameters: give it a fresh model.parameters()"),
        ([{"params": []}, {"params": iter(())}], {}, ValueError, "no parameters"),
        (Model(), {}, TypeError, r"not as a Model: type model.parameters\(\)"),
        ([Model()], {}, TypeError, r"parameter 0 is a Model: type model.parameters\(\)"),
        ({"w": W}, {}, TypeError, r"parameter 0 is a str: type model.parameters\(\)"),
        ([W, np.zeros(2)], {}, TypeError, "parameter 1 is a ndarray"),
        ({W}, {}, TypeError, "in a list or a generator, not as a set"),
        ([W, Tensor([1.0]), W], {}, ValueError, "parameter 2 is parameter 0 again"),
        ([{"params": W}, {"params": [Tensor([1.0]), W]}], {}, ValueError, "parameter 2 is parameter 0 again"),
        (
            [{"params": W, "weight_dacay": 0.0}],
            {},
            TypeError,
            "no option 'weight_dacay': a group may set lr, betas, eps",
        ),
        ([W], {"lr": -0.1}, ValueError, "lr to be a number, 0 or more, but got -0.1"),
        ([{"params": W, "lr": -0.1}], {}, ValueError, "lr to be a number, 0 or more, but got -0.1"),
        ([W], {"lr": "2e-5"}, ValueError, "but got '2e-5'"),
        ([W], {"eps": float("nan")}, ValueError, "eps to be a number, 0 or more, but got nan"),
        ([W], {"weight_decay": -1}, ValueError, "weight_decay"),
        ([W], {"betas": (0.9, 1.0)}, ValueError, r"betas to be in \[0, 1\), but got \(0.9, 1.0\)"),
    ],
)
def test_what_an_optimiser_refuses(params, options, error, text):
    with pytest.raises(error, match=text):
        optim.AdamW(params, **options)


def test_other_refusals():
    for options in ({"nesterov": True}, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(ValueError, match="SGD needs momentum above 0 and dampening=0"):
            optim.SGD([W], **options)
    with pytest.raises(ValueError, match="parameter 0 is the result of an op"):
        optim.SGD([W * 2])
    w = Tensor(np.zeros((2, 3)), requires_grad=True)
    w.node.grad = Tensor(np.zeros((3, 2)))
    with pytest.raises(
        ValueError, match=r"parameter 0 has shape \(2, 3\) on cpu, but its gradient has \(3, 2\) on cpu"
    ):
        optim.SGD([w]).step()
    generator = (p for p in [w])
    optim.clip_grad_norm_(generator, 1.0)
    with pytest.raises(ValueError, match="fresh"):
        optim.SGD(generator)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: optim.Adam([W], betas=(0.9,)), r"Adam needs both betas to be in \[0, 1\), but got \(0.9,\)"),
        (lambda: optim.AdamW([W], betas=0.9), "needs both betas"),
        (lambda: optim.Adam([W], betas=("a", 0.9)), "needs both betas"),
        (
            lambda: optim.SGD([W], momentum=0.9, nesterov="False"),
            "SGD needs nesterov to be True or False, but got 'False'",
        ),
        (lambda: optim.RMSprop([W], centered=1), "RMSprop needs centered to be True or False, but got 1"),
        (lambda: optim.SGD([W], lr=True), "needs lr to be a number, 0 or more, but got True"),
        (lambda: optim.SGD([W], dampening="x"), "needs dampening to be a number, but got 'x'"),
        (lambda: optim.SGD([{"params": [W], "momentum": math.nan}]), "needs momentum to be a number"),
        (lambda: optim.Adam([W]).load_state_dict({}), "no optimiser's state: it has no 'param_groups'"),
        (lambda: optim.EMA([W], decay="x"), r"EMA needs decay to be in \[0, 1\], but got 'x'"),
        (
            lambda: optim.clip_grad_norm_([W], "1"),
            "clip_grad_norm_ needs max_norm to be a number, 0 or more, but got '1'",
        ),
        (lambda: optim.clip_grad_norm_([W], -1.0), "needs max_norm"),
        (lambda: optim.clip_grad_value_([W], -1), "needs clip_value"),
    ],
)
def test_values_that_make_no_sense_are_named(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_group_is_a_dict():
    with pytest.raises(TypeError, match="SGD: a group is a dict, .*, not a list"):
        optim.SGD([W]).add_param_group([W])


def test_a_step_count_may_be_an_array_as_torch_keeps_it():
    ours, again = parameters(), parameters()
    optimizer = optim.Adam(ours)
    walk(optimizer, ours, [1])
    saved = optimizer.state_dict()
    for memory in saved["state"].values():
        memory["step"] = np.array(float(memory["step"]), np.float32)
    resumed = optim.Adam(again)
    resumed.load_state_dict(saved)
    assert [memory["step"] for memory in resumed.state.values()] == [1] * len(resumed.state)


def test_a_state_of_version_0_1_takes_the_newer_options_from_the_optimiser():
    ours, again = parameters(), parameters()
    optimizer, resumed = optim.AdamW(ours), optim.AdamW(again, maximize=True)
    walk(optimizer, ours, [1])
    saved = optimizer.state_dict()
    for option in ("amsgrad", "maximize", "decoupled_weight_decay"):
        del saved["param_groups"][0][option]
    resumed.load_state_dict(saved)
    assert resumed.param_groups[0]["maximize"] and resumed.param_groups[0]["decoupled_weight_decay"]


def test_what_cannot_be_resumed():
    ours = parameters()
    optimizer = optim.Adam(ours)
    walk(optimizer, ours, [1])
    saved = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"groups of \[3\] parameters, but this Adam has groups of \[1, 2\]"):
        optim.Adam([{"params": ours[:1]}, {"params": ours[1:]}]).load_state_dict(saved)
    with pytest.raises(ValueError, match="another optimiser than SGD: it has no"):
        optim.SGD(ours).load_state_dict(saved)
    swapped = optim.Adam(ours[::-1], lr=0.5)
    with pytest.raises(ValueError, match=r"parameter 0 has shape \(\), its saved exp_avg has \(3, 4\)"):
        swapped.load_state_dict(saved)
    assert not swapped.state and swapped.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Lion"])
def test_arguments_are_those_of_torch_in_its_order(name):
    torch = pytest.importorskip("torch")
    ours, theirs = (inspect.signature(getattr(room, name)).parameters.values() for room in (optim, torch.optim))
    by_place = [p for p in ours if p.kind is not p.KEYWORD_ONLY]
    assert [(p.name, p.default) for p in by_place] == [(p.name, p.default) for p in list(theirs)[: len(by_place)]]
    assert {(p.name, p.default) for p in ours} <= {(p.name, p.default) for p in theirs}


def test_an_average_follows_the_weights_as_that_of_torch():
    torch = pytest.importorskip("torch")
    swa = torch.optim.swa_utils
    ours, model = parameters(), torch.nn.ParameterList(torch.tensor(w) for w in START)
    ema, averaged = optim.EMA(ours, 0.9), swa.AveragedModel(model, multi_avg_fn=swa.get_ema_multi_avg_fn(0.9))
    ours_walk, their_walk = optim.SGD(ours, 0.1), torch.optim.SGD(model.parameters(), 0.1)
    for step in range(100):
        walk(ours_walk, ours, [step])
        walk_torch(torch, their_walk, list(model), [step])
        ema.update()
        averaged.update_parameters(model)
    with ema.applied():
        assert_same(ours, list(averaged.module), 1e-12)
    assert_same(ours, list(model), 1e-10)


def test_an_average_is_lent_and_given_back_exactly_even_after_an_error():
    ours = parameters(np.float32)
    ema, optimizer = optim.EMA((p for p in ours), decay=0.5), optim.SGD(ours, 0.1)
    walk(optimizer, ours, [1])
    ema.update()  # the first time, the weights as they are
    first = [p.numpy().copy() for p in ours]
    walk(optimizer, ours, [2])
    ema.update()
    arrays, versions = [p.data for p in ours], [p.version for p in ours]
    with pytest.raises(KeyError), ema.applied():
        for p, old, now in zip(ours, first, arrays, strict=True):
            np.testing.assert_allclose(p.numpy(), (old + now) / 2, rtol=1e-6)
        raise KeyError
    assert all(
        p.data is array and p.version == version + 2 for p, array, version in zip(ours, arrays, versions, strict=True)
    )

    resumed_weights = parameters(like=ours, dtype=np.float32)
    resumed = optim.EMA(resumed_weights, decay=0.5)
    resumed.load_state_dict(ema.state_dict())
    for averages, ps in ((ema, ours), (resumed, resumed_weights)):
        walk(optim.SGD(ps, 0.1), ps, [4])
        averages.update()
    assert all((a == b).all() for a, b in zip(ema.averages, resumed.averages, strict=True))


def test_what_an_average_refuses():
    with pytest.raises(ValueError, match=r"decay to be in \[0, 1\], but got 1.5"):
        optim.EMA([W], 1.5)
    with pytest.raises(
        ValueError, match=r"averages have shapes \[\(2,\)\], but these parameters have .*is it this model"
    ):
        optim.EMA(parameters()).load_state_dict(optim.EMA([W]).state_dict())
    ours = parameters()
    loss, ema = (ours[0] * ours[0]).sum(), optim.EMA(ours)
    with pytest.raises(RuntimeError, match="written into"), ema.applied():
        loss.backward()  # what was computed with the weights is not differentiated at the averages


def test_whole_numbers_may_be_numpys_and_are_not_booleans():
    weights = [Tensor(np.ones(2), requires_grad=True)]
    assert optim.LBFGS(weights, max_iter=np.int64(5)).defaults["max_eval"] == 6
    assert optim.GradientAccumulation(optim.SGD(weights), np.int64(4)).steps == 4
    for make in (lambda: optim.LBFGS(weights, max_iter=True), lambda: schedule.StepLR(optim.SGD(weights), True)):
        with pytest.raises(ValueError, match="whole number, 1 or more, but got True"):
            make()
    with pytest.raises(ValueError, match="whole number, 0 or more, but got '5'"):
        schedule.linear_schedule_with_warmup(optim.SGD(weights), "5", 10)
