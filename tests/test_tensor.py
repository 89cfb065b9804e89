"""The tape carries every gradient home, keeps nothing longer than it must, and says what is wrong when it cannot."""

import copy
import gc
import json
import pickle
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from work import work

import minigrad as mg
from minigrad import nn, optim
from minigrad.tensor import Node, Tensor, grad


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


@contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# Memory: no cycles, nothing kept, everything freed on the way.


@pytest.mark.slow
@pytest.mark.parametrize("use", ["dropped", "backward", "create_graph"])
def test_a_graph_dies_with_its_last_tensor_without_the_collector(use):
    with no_collector():
        x = leaf(1, 2)
        y = mg.exp(x * x) + mg.tanh(x)[0]
        loss = mg.sum(y)
        if use != "dropped":
            loss.backward(create_graph=use == "create_graph")
            x.grad = None  # with create_graph it leads back to x's own graph
        dead = [weakref.ref(t) for t in (y.node, y.data, loss.node, loss)]
        del y, loss
        assert [ref() for ref in dead] == [None] * 4


def test_a_backward_pass_frees_as_it_goes():
    x = leaf(1, 2)
    y = mg.exp(x)
    loss = mg.sum(y * y)
    kept = weakref.ref(y.data)
    del y
    with no_collector():
        assert kept() is not None
        loss.backward()
        assert kept() is None and loss.item() == pytest.approx(np.exp([2, 4]).sum())


@pytest.mark.slow
def test_an_input_no_rule_needs_is_not_kept():
    x = leaf(1, 2)
    for keep, use in [
        (False, lambda h: h + 1),
        (False, mg.exp),
        (False, mg.sum),
        (True, mg.log),
        (True, lambda h: h * x),
    ]:
        h = x * 2
        array, y = weakref.ref(h.data), use(h)
        del h
        with no_collector():
            assert (array() is not None) == keep, y


@pytest.mark.slow
def test_memory_is_flat_over_many_steps():
    def alive():  # of ours: other threads make and drop objects of their own
        return sum(type(thing) in (Node, Tensor) for thing in gc.get_objects())

    x = leaf(1, 2)
    before = alive()
    with no_collector():
        for _ in range(1000):
            mg.sum(x * x).backward()
            x.grad = None
        assert alive() == before


def test_a_chain_of_ten_thousand_ops_and_dropping_it():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward(retain_graph=True)
    assert x.grad.tolist() == [1.0]
    z = grad(y, x, create_graph=True)
    del y, z  # must not recurse either


def test_sixty_diamonds_are_visited_once_each():
    """Followed path by path this would take 2⁶⁰ steps."""
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y
    assert work(lambda: grad(y, x, retain_graph=True)) < 100_000
    assert grad(y, x).item() == 2.0**60 == y.item()


def test_a_node_waits_until_everything_it_was_used_in_has_reported():
    x = leaf(2.0)
    h = x * x
    late = mg.exp(h)
    y = h * 3 + late * h  # h is used early, late, and through another
    e = np.exp(4)
    assert grad(y, x).item() == pytest.approx((3 + e + 4 * e) * 4)


# backward, twice and in parts


def test_a_second_backward_needs_the_graph_to_be_retained():
    x = leaf(1, 2)
    loss = mg.sum(mg.exp(x))
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([1, 2]))
    with pytest.raises(
        RuntimeError, match=r"behind this sum was already freed.*run the forward pass again.*retain_graph=True"
    ):
        loss.backward()


def test_a_graph_freed_in_part_says_so():
    x = leaf(1.0)
    h = mg.exp(x)
    mg.sum(h).backward()
    with pytest.raises(RuntimeError, match="exp was already freed"):
        mg.sum(h * 2).backward()


def test_gradients_accumulate_in_leaves_and_grad_leaves_them_alone():
    x = leaf(1, 2)
    mg.sum(x * 3).backward()
    first = x.grad
    mg.sum(x * 4).backward()
    assert x.grad is first and first.tolist() == [7, 7]
    assert grad(mg.sum(x * 5), x).tolist() == [5, 5] and x.grad.tolist() == [7, 7]
    x.grad = None
    assert x.grad is None


def test_gradients_share_memory_with_nothing():
    """Not with each other, nor with the seed, nor with an input: clipping one in place changes no other."""
    a, b, c, d = (leaf(1, 2, 3) for _ in range(4))
    seed = Tensor(np.ones(3))
    y = a + b + mg.broadcast_to(mg.sum(c.reshape(3, 1), 0), (3,)) + d.reshape(1, 3)[0]
    y.backward(seed)
    arrays = [t.grad.data for t in (a, b, c, d)] + [seed.data, a.data]
    for i, array in enumerate(arrays):
        assert array.flags.writeable and not any(np.shares_memory(array, other) for other in arrays[:i])
    x = leaf(1, 2)
    one, two = grad(mg.sum(x + x), [x, x])
    y = x + 1
    gx, gy = grad(mg.sum(y), [x, y])
    gx.data *= 2
    assert gy.tolist() == [1, 1] and one.tolist() == two.tolist() == [2, 2]
    x.backward(ones := Tensor(np.ones(2)))
    assert not np.shares_memory(x.grad.data, ones.data)


def test_a_later_backward_does_not_write_into_the_first_ones_seed_or_gradient():
    x, seed = leaf(1, 2), Tensor(np.ones(2))
    (x * 1).backward(seed)
    (x + 0).backward(seed)
    assert seed.tolist() == [1, 1] and x.grad.tolist() == [2, 2]


def test_gradients_of_intermediates_and_of_what_is_not_in_the_graph():
    x, other = leaf(1, 2), Tensor(np.ones((2, 2), np.float32), requires_grad=True)
    h = x * x
    y = mg.sum(h * 3)
    gx, gh, zero, gy = grad(y, [x, h, other, y])
    assert (gx.tolist(), gh.tolist(), gy.item()) == ([6, 12], [3, 3], 1)
    assert zero.shape == (2, 2) and zero.dtype == np.float32 and not zero.numpy().any()


def test_grad_stops_at_its_targets_and_leaves_the_graph_behind_them_whole():
    x = leaf(1.0)
    h = mg.exp(x)
    assert grad(mg.sum(h * h), h).item() == pytest.approx(2 * np.e)
    assert grad(mg.sum(h * 3), x).item() == pytest.approx(3 * np.e)


def test_create_graph_to_the_fifth_order():
    x = leaf(0.7)
    y, expected = mg.sin(x), [np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v), np.sin, np.cos]
    for f in expected:
        y = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(f(0.7), abs=1e-14)


def test_backward_with_create_graph_leaves_gradients_that_can_be_differentiated():
    x = leaf(3.0)
    mg.sum(x * x * x).backward(create_graph=True)
    penalty = mg.sum(x.grad * x.grad)  # (3x²)²
    x.grad = None
    penalty.backward()
    assert x.grad.item() == pytest.approx(36 * 27)


def test_the_seed_can_be_differentiated_through():
    x, v = leaf(1, 2), leaf(3, 4)
    assert grad(mg.sum(grad(x * x, x, v, create_graph=True)), v).tolist() == [2, 4]


# Recording


def test_no_grad_detach_and_enable_grad():
    x = leaf(1.0)
    with mg.no_grad():
        assert not (x * 2).requires_grad
        with mg.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad and not (x * 2).detach().requires_grad
    assert np.shares_memory(x.detach().data, x.data)
    assert grad(mg.sum(x * x.detach()), x).item() == 1

    @mg.no_grad()
    def f():
        raise KeyError(str((x * 2).requires_grad))

    with pytest.raises(KeyError, match="False"):
        f()
    assert (x * 2).requires_grad  # an error does not leave the tape off


def test_a_frozen_input_costs_nothing():
    x, w = leaf(1, 2), Tensor(np.array([3.0, 4]))
    y = x * w
    assert y.node.parents == [x.node] and [a is w.data for a in y.node.saved if isinstance(a, np.ndarray)] == [True]
    assert not (w * w).requires_grad


# Versions: a weight changed between forward and backward

WRITES = [lambda w: w.copy_([9.0, 9.0]), lambda w: _step(w)]


def _step(w):
    w.grad = Tensor(np.ones(2))
    optim.AdamW([w], lr=0.1).step()


@pytest.mark.parametrize("write", WRITES, ids=["copy_", "optimiser"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_value_that_was_kept_and_then_written_into_is_caught(write, create_graph):
    x, w = leaf(1, 2), leaf(3, 4)
    loss = mg.sum(x * w)
    write(w)
    with pytest.raises(
        RuntimeError, match=r"multiply needs the value of a Tensor of shape \(2,\).*step.*call backward before"
    ):
        loss.backward(create_graph=create_graph)


@pytest.mark.parametrize("write", WRITES, ids=["copy_", "optimiser"])
@pytest.mark.parametrize(
    "use",
    [lambda x, w: x + w, lambda x, w: x - 2 * w, lambda x, w: mg.exp(w) * x, lambda x, w: x + mg.sum(w)],
    ids=["add", "scale", "exp", "sum"],
)
def test_a_value_that_was_not_kept_may_be_written_into(write, use):
    x, w = leaf(1, 2), leaf(3, 4)
    expected = grad(mg.sum(use(x, w)), w).tolist()
    loss = mg.sum(use(x, w))
    write(w)
    assert grad(loss, w).tolist() == expected


def test_a_frozen_weight_is_guarded_too_and_an_untouched_one_never():
    x, w = leaf(1, 2), Tensor(np.array([3.0, 4]))
    loss = mg.sum(x * w)
    assert grad(loss, x, retain_graph=True).tolist() == [3, 4]
    w.copy_(0)
    with pytest.raises(RuntimeError, match="written into"):
        grad(loss, x)


def test_a_layer_with_a_fused_kernel_is_guarded_too():
    x, w, b = (Tensor(np.ones(s), requires_grad=True) for s in ((2, 3), (4, 3), 4))
    loss = mg.sum(mg.functional.linear(x, w, b))
    w.copy_(0)
    with pytest.raises(RuntimeError, match="written into"):
        loss.backward()


# Who owns a gradient: only what our own steps made may be added to in place


def test_what_a_users_rule_returns_is_never_written_into():
    """A kept input, an array of a closure, one array for two inputs, a cached one, one that its output was."""
    cached = np.full(3, 7.0)
    for rule, slope in ((lambda g, w: w, [2.0, 3, 4]), (lambda g, w: cached, cached), (lambda g, w: g, np.ones(3))):

        @mg.primitive
        def scaled(xp, x, w, /):
            return x * w

        scaled.defvjp(x=rule, w=rule)
        x, w = leaf(1, 1, 1), Tensor(np.array([2.0, 3, 4]), requires_grad=True)
        y = scaled(x, w) + scaled(x, w) + mg.exp(x) * 0 + scaled(x, w)
        for _ in range(2):
            x.grad = w.grad = None
            mg.sum(y).backward(retain_graph=True)
            np.testing.assert_array_equal(x.grad.numpy(), 3 * np.asarray(slope))
            assert w.tolist() == [2, 3, 4] and cached.tolist() == [7] * 3
            x.grad.data *= 0  # it is the leaf's own
            assert w.grad.tolist() == [3 * s for s in slope]


def test_what_a_hook_returns_or_is_given_is_never_written_into():
    mine, seen = Tensor(np.array([5.0, 5.0])), []
    x, z = leaf(1, 2), leaf(1, 2)
    y = x + z
    a, b = y * 1, y + 0
    a.register_hook(lambda g: mine)
    b.register_hook(lambda g: seen.append(g))
    x.register_hook(lambda g: seen.append(g))
    mg.sum(a + b + y).backward()
    assert mine.tolist() == [5, 5] and x.grad.tolist() == z.grad.tolist() == [7, 7]
    arrays = [x.grad.data, z.grad.data, mine.data, *(g.data for g in seen)]
    assert not any(np.shares_memory(p, q) for i, p in enumerate(arrays) for q in arrays[:i])


def test_a_hook_that_writes_into_its_gradient_changes_no_other():
    def halve(g):
        g *= 0.5

    for create_graph in (False, True):
        x, z = leaf(1, 2), leaf(1, 2)
        a, b = x + 0, z + 0
        a.register_hook(halve)
        mg.sum(a + b).backward(create_graph=create_graph)
        assert x.grad.tolist() == [0.5, 0.5] and z.grad.tolist() == [1, 1]


def test_gradients_that_can_be_differentiated_share_memory_with_nothing_either():
    x, z, seed = leaf(1, 2), leaf(3, 4), Tensor(np.ones(2))
    (x + z).backward(seed, create_graph=True)
    optim.clip_grad_norm_([x], 0.1)
    assert seed.tolist() == [1, 1] == z.grad.tolist()
    y, pull = mg.vjp(lambda x: x + 0, x)
    g = pull(seed)[0]
    g.data[:] = 0
    assert seed.tolist() == [1, 1] == pull(seed)[0].tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda w: Tensor([w * 2, w * 3]),
        lambda w: Tensor([[w], [w]]),
        lambda w: mg.tensor([w, w]),
        lambda w: mg.exp([w * 2, w]),
        lambda w: w + [w, w],
        lambda w: Tensor((w[0], 1.0)),
    ],
)
def test_a_list_of_recorded_tensors_is_refused(make):
    w = leaf(1, 2)
    with pytest.raises(TypeError, match=r"would lose it.*mg.stack\(xs\)"):
        make(w)
    with mg.no_grad():
        make(w)


def test_freezing_keeps_gradient_and_hooks():
    x, calls = leaf(1, 2), []
    remove = x.register_hook(lambda g: calls.append(g.tolist()))
    mg.sum(x * 3).backward()
    g = x.grad
    x.requires_grad = False
    assert x.grad is None and not (x * 2).requires_grad
    x.requires_grad = True
    assert x.grad is g
    mg.sum(x * 4).backward()
    assert x.grad.tolist() == [7, 7] and calls == [[3, 3], [4, 4]]
    x.requires_grad = False
    x.grad = None  # as zero_grad does, frozen or not
    x.requires_grad = True
    assert x.grad is None
    remove()
    mg.sum(x * 4).backward()
    assert len(calls) == 2


# Making Tensors, and what they refuse


def test_what_a_tensor_is_made_of():
    array = np.arange(3.0)
    assert Tensor(array).data is array and not np.shares_memory(mg.tensor(array).data, array)
    assert [Tensor(v).dtype for v in (1, 1.0, True, [1, 2], [1, 2.0], [[True]])] == [
        "i8",
        "f4",
        "bool",
        "i8",
        "f4",
        "bool",
    ]
    assert [Tensor(v).dtype for v in (np.float64(1), np.float16([1]))] == ["f8", "f2"]
    assert Tensor([0.1], dtype="float64").item() == 0.1
    assert Tensor([Tensor([1, 2]), Tensor([3, 4])]).tolist() == [[1, 2], [3, 4]]
    x = Tensor(Tensor([1.0, 2.0]), requires_grad=True)
    assert (x.shape, x.ndim, x.size, x.device, len(x), x.is_leaf) == ((2,), 1, 2, "cpu", 2, True)
    assert x.to("cpu") is x and x.to("float64").dtype == np.float64 and [v.item() for v in x] == [1, 2]
    assert (float(x[0]), int(x[1]), bool(x[0])) == (1.0, 2, True)
    np.testing.assert_array_equal(np.asarray(x), [1, 2])
    assert repr(x) == "Tensor([1., 2.], dtype=float32, requires_grad=True)"
    assert repr(x * 2) == "Tensor([2., 4.], dtype=float32, made by multiply)"


@pytest.mark.parametrize(
    ("action", "error", "text"),
    [
        (lambda: Tensor("abc"), TypeError, "a Tensor holds numbers, not <U3"),
        (lambda: Tensor(["abc"]), TypeError, "a Tensor holds numbers, not <U3: turn text into ids first"),
        (lambda: Tensor(None), TypeError, "a Tensor holds numbers"),
        (lambda: Tensor([1, 2], requires_grad=True), TypeError, r"dtype int64 has no gradient.*astype\('float32'\)"),
        (lambda: setattr(leaf(1) * 2, "requires_grad", False), ValueError, r"on a leaf only.*use .detach\(\) first"),
        (lambda: setattr(Tensor([1.0]), "grad", Tensor([1.0])), ValueError, "set requires_grad = True first"),
        (lambda: (leaf(1) * 2).copy_(1), ValueError, "only a leaf can be written into"),
        (lambda: leaf(1, 2).item(), ValueError, r"one entry, this one has shape \(2,\)"),
        (lambda: leaf(1, 2).__setitem__(0, 1), TypeError, r"mg.where\(mask, value, x\)"),
        (lambda: leaf(1, 2).backward(), RuntimeError, r"shape \(2,\) needs a gradient of that shape.*\.sum\(\)"),
        (
            lambda: leaf(1, 2).backward(Tensor([1.0])),
            ValueError,
            r"gradient has shape \(1,\), but the Tensor it is for has \S+ \(2,\)",
        ),
        (lambda: Tensor([1.0]).backward(), RuntimeError, "nothing here requires a gradient"),
        (
            lambda: grad(mg.sum(leaf(1, 2)), [leaf(1), Tensor([1.0])]),
            RuntimeError,
            "input 1 of grad does not require a gradient",
        ),
        (lambda: Tensor([1.0], device="gpu"), ValueError, 'device \'gpu\' is not known: type "cpu" or "cuda"'),
        (lambda: bool(leaf(1, 2)), ValueError, "ambiguous"),
        (lambda: Tensor(np.array(["a"])), TypeError, "a Tensor holds numbers"),
    ],
)
def test_refusals(action, error, text):
    with pytest.raises(error, match=text):
        action()


def test_copy_writes_in_place_and_broadcasts():
    w = Tensor(np.zeros((2, 2), np.float32), requires_grad=True)
    array = w.data
    assert w.copy_(Tensor([1.0, 2.0])) is w and w.data is array and w.version == 1 and w.dtype == np.float32
    assert w.tolist() == [[1, 2], [1, 2]]


def test_a_gradient_that_a_hook_has_seen_or_given_is_not_written_into():
    constant, kept = Tensor([1.0, 1, 1]), []
    x, y = (Tensor([1.0, 2, 3], requires_grad=True) for _ in range(2))
    for leaf in (x, y):
        leaf.register_hook(lambda g: kept.append(g))
        leaf.register_hook(lambda g: constant)
    for _ in range(3):
        (x * 2 + y * 3).sum().backward()
    assert constant.tolist() == [1, 1, 1] and x.grad.tolist() == y.grad.tolist() == [3, 3, 3]
    assert sorted(g.tolist()[0] for g in kept) == [2] * 3 + [3] * 3
    x.grad.data[0] = 9
    assert y.grad.tolist() == [3, 3, 3]


def test_the_gradient_of_a_single_number_that_is_indexed_and_used():
    x = Tensor(3.0, requires_grad=True)
    (x[None].sum() + x * 2).backward()
    assert x.grad.item() == 3


def test_a_hook_of_a_weight_in_checkpoints_is_called_once_with_the_whole_gradient():
    w, x, seen = Tensor([2.0, 3.0], requires_grad=True), Tensor([1.0, 1.0], requires_grad=True), []
    w.register_hook(lambda g: seen.append(g.numpy().tolist()) or g * 10)
    (mg.checkpoint(lambda x: x * w, x) + mg.checkpoint(lambda x: x * w * 3, x)).sum().backward()
    assert seen == [[4, 4]] and w.grad.numpy().tolist() == [40, 40] and x.grad.numpy().tolist() == [8, 12]


def test_a_hook_sees_the_whole_gradient_and_may_put_another_in_its_place():
    x, seen = leaf(1.0, 2.0), []
    h = x * 2
    remove = h.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: g * 10)
    (h * h + h).sum().backward(retain_graph=True)
    assert seen == [[5, 9]] and x.grad.tolist() == [100, 180]
    remove()
    (g,) = grad((h * h).sum(), [h], create_graph=True)
    assert seen == [[5, 9]] and g.tolist() == [4, 8]
    with pytest.raises(RuntimeError, match="never be called"):
        Tensor([1.0]).register_hook(print)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"a hook must return None or a Tensor of shape \(2,\)"):
        (x * x).sum().backward()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_is_a_leaf_of_its_own(copied):
    x = leaf(3.0)
    other = copied(x)
    (x * x * x + other).backward()
    assert x.grad.tolist() == [27] and other.grad.tolist() == [1]
    assert not copied(Tensor([1.0])).requires_grad
    with pytest.raises(TypeError, match="use .detach"):
        copied(x * 2)


def test_whole_numbers_are_not_on_the_tape():
    assert not (leaf(1.5).astype("int64") * 1.5).requires_grad


def test_gradients_with_respect_to_nothing():
    assert grad(leaf(1.0).sum(), []) == []


def test_a_gradient_has_the_shape_of_its_tensor():
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.grad = np.ones(2)
    assert isinstance(x.grad, Tensor)
    with pytest.raises(ValueError, match=r"a Tensor of shape \(2,\) is one of that shape, not 3"):
        x.grad = 3


def test_a_broadcast_array_is_not_written_into():
    shared = np.ones(3)
    x = Tensor(np.broadcast_to(shared, (2, 3)), requires_grad=True)
    with pytest.raises(
        ValueError, match=r"an array of shape \(2, 3\) that was broadcast cannot be written into.*copy it first"
    ):
        x.copy_(2.0)
    mg.tensor(x).copy_(2.0)
    assert shared.tolist() == [1, 1, 1]


@pytest.mark.parametrize("given", [3, 0, 1, "no", None])
def test_requires_grad_is_true_or_false(given):
    with pytest.raises(TypeError, match=r"requires_grad is True or False, not .*Tensor\(\[2, 3\]\)"):
        Tensor(2.0, given)
    assert Tensor(2.0, np.True_).requires_grad is True


def test_size_is_numpys_number_and_torchs_method():
    x = mg.zeros((2, 3))
    assert x.size == 6 and isinstance(x.size, int) and f"{x.size} {x.size:03}" == "6 006" and x.size // 4 == 1
    assert x.size() == (2, 3) and x.size(0) == 2 and x.size(-1) == 3 and x.size(dim=1) == 3
    assert mg.zeros(x.size).shape == (6,) and mg.arange(x.size).shape == (6,) and x.reshape(x.size).shape == (6,)
    assert pickle.loads(pickle.dumps(x.size)) == copy.copy(x.size) == 6 and json.dumps(x.size) == "6"
    assert mg.tensor(1.0).size() == () and mg.tensor(1.0).size == 1 and nn.Linear(2, 3).weight.size(0) == 3
    for axis in (2, -3, "a", 1.0):
        with pytest.raises(ValueError, match=r"there is no such axis of shape \(2, 3\)"):
            x.size(axis)
