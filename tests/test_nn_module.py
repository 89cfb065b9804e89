"""The module tree: what it finds, what it is called, and what changes it."""

import numpy as np
import pytest

from minigrad import nn, ops
from minigrad.nn import Buffer, Linear, Module, Parameter
from minigrad.tensor import Tensor


class Block(Module):
    """One of everything that can hang on a tree."""

    def __init__(self):
        self.size, self.names, self.missing = 2, ["a", "b"], None
        self.first = Linear(2, 3, rng=0)
        self.many = [Linear(3, 3, rng=1), {"deep": Linear(3, 2, bias=False, rng=2)}]
        self.scale = Parameter(np.ones(2, np.float32))
        self.count = Buffer(np.zeros(2, np.int64))
        self.constant = Tensor(np.ones(5))  # neither trained nor saved
        self.tied = self.first.weight

    def forward(self, x):
        return self.many[1]["deep"](self.many[0](self.first(x))) * self.scale


NAMES = ["first.weight", "first.bias", "many.0.weight", "many.0.bias", "many.1.deep.weight", "scale"]


def test_parameters_have_the_path_you_would_type_and_tied_ones_come_once():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == NAMES
    assert [id(p) for p in block.parameters()] == [id(p) for _, p in block.named_parameters()]
    assert list(block.state_dict()) == [*NAMES, "count", "tied"]
    assert block.state_dict()["tied"] is block.first.weight
    assert dict(block.named_modules()) == {
        "": block,
        "first": block.first,
        "many.0": block.many[0],
        "many.1.deep": block.many[1]["deep"],
    }


def test_a_tied_weights_gradient_is_the_sum_of_its_uses():
    class Tied(Module):
        def __init__(self):
            self.a, self.b = Linear(3, 3, bias=False, rng=0), Linear(3, 3, bias=False, rng=1)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    tied, x = Tied(), Tensor(np.random.default_rng(0).standard_normal((4, 3)))
    tied.to("float64")
    assert len(tied.parameters()) == 1 and tied.a.weight is tied.b.weight
    ops.sum(tied(x)).backward()
    w, ones = tied.a.weight.numpy(), np.ones((4, 3))
    np.testing.assert_allclose(tied.a.weight.grad.numpy(), ones.T @ (x.data @ w.T) + (ones @ w).T @ x.data)


def test_load_state_dict_copies_into_the_same_tensors():
    source, target = Block(), Block()
    for t in source.state_dict().values():
        t.copy_(np.arange(t.size).reshape(t.shape))
    before = target.state_dict()
    versions = {name: t.version for name, t in before.items()}
    target.load_state_dict({name: t.numpy().astype(np.float64) for name, t in source.state_dict().items()})
    for name, t in target.state_dict().items():
        assert t is before[name] and t.version > versions[name] and t.dtype == source.state_dict()[name].dtype
        assert (t.numpy() == source.state_dict()[name].numpy()).all()
        assert not np.shares_memory(t.data, source.state_dict()[name].data)


@pytest.mark.parametrize("name", ["tied", "first.weight"])
def test_one_name_of_a_tied_weight_is_enough(name):
    state = Block().state_dict()
    del state[name]
    Block().load_state_dict(state)


def test_all_that_does_not_fit_is_told_at_once_and_nothing_is_loaded():
    block = Block()
    state = {name: t.numpy() + 1 for name, t in block.state_dict().items()}
    del state["scale"]
    state |= {"many.0.bias": np.zeros(7), "extra": np.zeros(1)}
    before = {name: t.numpy().copy() for name, t in block.state_dict().items()}
    with pytest.raises(ValueError) as error:
        block.load_state_dict(state)
    assert str(error.value) == (
        "the state does not fit this Block: missing: scale; unexpected: extra; "
        "wrong shape: many.0.bias is (7,), here (3,)"
    )
    assert all((t.numpy() == before[name]).all() for name, t in block.state_dict().items())
    with pytest.raises(
        ValueError, match=r"^the state does not fit this Block: wrong shape: many.0.bias is \(7,\), here \(3,\)$"
    ):
        block.load_state_dict(state, strict=False)
    del state["many.0.bias"]
    block.load_state_dict(state, strict=False)
    assert (block.scale.numpy() == 1).all() and (block.first.bias.numpy() == before["first.bias"] + 1).all()


def test_train_eval_and_zero_grad_reach_every_module():
    block = Block()
    assert all(m.training for m in block.modules())
    assert block.eval() is block and not any(m.training for m in block.modules())
    assert block.train() is block and all(m.training for m in block.modules())
    ops.sum(block(np.ones((1, 2), np.float32))).backward()
    assert all(p.grad is not None for p in block.parameters())
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())


def test_freeze_and_unfreeze_by_pattern():
    block = Block()
    assert block.freeze("many.**", "first.bias") == NAMES[1:5]
    assert [name for name, p in block.named_parameters() if p.requires_grad] == ["first.weight", "scale"]
    ops.sum(block(np.ones((1, 2), np.float32))).backward()
    assert [name for name, p in block.named_parameters() if p.grad is not None] == ["first.weight", "scale"]
    assert block.unfreeze("many.{0..3}.*") == ["many.0.weight", "many.0.bias"]
    assert [name for name, p in block.named_parameters() if not p.requires_grad] == ["first.bias", "many.1.deep.weight"]
    assert block.freeze() == NAMES and not any(p.requires_grad for p in block.parameters())
    assert block.unfreeze() == NAMES and all(p.requires_grad for p in block.parameters())


def test_a_pattern_that_matches_nothing_names_its_neighbours_and_freezes_nothing():
    block = Block()
    with pytest.raises(
        ValueError, match=r"^'many.0.weigth' matches no parameter of Block: .* nearest names are many.0.weight, "
    ):
        block.freeze("scale", "many.0.weigth")
    with pytest.raises(ValueError, match="'first' matches no parameter"):
        block.unfreeze("first")  # a whole name is meant, not the beginning of one
    assert all(p.requires_grad for p in block.parameters())


@pytest.mark.parametrize("path", ["first", "first.weight", "many.0", "many.1.deep", "many.1.deep.weight"])
def test_replace_returns_the_old_and_puts_the_new_under_the_same_name(path):
    block, new = Block(), Linear(2, 2)
    old = dict(nn.walk(block))[path]
    assert block.replace(path, new) is old
    assert dict(nn.walk(block))[path] is new


def test_replace_in_a_dict_with_numbers_for_keys():
    block = Block()
    block.by_layer = {3: Linear(2, 2)}
    block.replace("by_layer.3", new := Linear(2, 2))
    assert block.by_layer == {3: new}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("second", "the model has size, names, missing, first"),
        ("first.wait", "first has in_features, out_features, weight, bias"),
        ("many.2", "many has 0, 1"),
        ("many.1.deep.weight.x", "many.1.deep.weight has nothing"),
        ("", "the model has"),
    ],
)
def test_replace_says_how_far_the_path_leads(path, told):
    with pytest.raises(ValueError) as error:
        Block().replace(path, None)
    assert f"{path!r} leads nowhere: {told}" in error.value.args[0]


def test_what_is_frozen_or_moved_keeps_gradients_and_hooks():
    block, calls = Block(), []
    weight = block.first.weight
    weight.register_hook(lambda g: calls.append(g.dtype.name))

    def run():
        ops.sum(block(np.ones((1, 2), np.float32))).backward()

    run()
    first = weight.grad.numpy().copy()
    block.freeze()
    block.to("float64")  # frozen, it is moved with its gradient all the same
    assert weight.grad is None
    block.unfreeze()
    np.testing.assert_array_equal(weight.grad.numpy(), first.astype(np.float64))
    run()
    np.testing.assert_allclose(weight.grad.numpy(), 2 * first, rtol=1e-6)
    assert weight.grad.dtype == np.float64 and calls == ["float32", "float64"]
    block.freeze()
    block.zero_grad()
    block.unfreeze()
    assert weight.grad is None


def test_to_changes_the_dtype_of_what_is_floating_and_keeps_what_is_tied():
    block = Block()
    block.freeze("scale")
    ops.sum(block(np.ones((1, 2), np.float32))).backward()
    weight = block.first.weight
    assert block.to("float64") is block
    assert block.first.weight is weight is block.tied and weight.dtype == np.float64 == weight.grad.dtype
    assert block.count.dtype == np.int64 and block.constant.dtype == np.float64
    assert weight.requires_grad and not block.scale.requires_grad
    y = block(np.ones((1, 2)))
    ops.sum(y).backward()
    assert y.dtype == weight.grad.dtype == np.float64
    assert Block().to("bfloat16").first.weight.dtype.name == "bfloat16"


def test_errors_carry_the_path_of_the_module_they_come_from():
    block = Block()
    block.replace("many.1.deep", Linear(7, 2))
    for _ in range(2):  # the second error must not remember the first
        with pytest.raises(ValueError) as error:
            nn.Sequential(Linear(2, 2), block)(np.ones((1, 2), np.float32))
        assert error.value.__notes__[-1] == "in 1.many.1.deep (Linear)"
    with pytest.raises(ValueError) as error:
        Linear(3, 2)(np.ones((1, 2), np.float32))
    assert error.value.__notes__[-1] == "in the model (Linear)"


def test_the_place_is_added_to_the_notes_that_an_error_already_has():
    class Fails(Module):
        def forward(self):
            error = ValueError("no")
            error.add_note("read the manual")
            raise error

    class Outer(Module):
        def __init__(self):
            self.inner = Fails()

        def forward(self):
            return self.inner()

    with pytest.raises(ValueError) as error:
        Outer()()
    assert error.value.__notes__ == ["read the manual", "in inner (Fails)"]


def test_a_module_without_forward_says_what_to_write():
    with pytest.raises(TypeError, match="Module has no forward method: write `def forward"):
        Module()()


def test_repr_has_one_line_for_each_module():
    assert (
        repr(Block())
        == """Block(size=2)
  first: Linear(in_features=2, out_features=3)
  many.0: Linear(in_features=3, out_features=3)
  many.1.deep: Linear(in_features=3, out_features=2)"""
    )


def test_what_would_take_a_parameter_out_of_the_model_is_refused():
    layer, norm = Linear(2, 3, rng=0), nn.BatchNorm1d(2)
    for value in (Tensor(np.zeros((3, 2))), np.zeros((3, 2)), 1.0, Buffer(np.zeros((3, 2)))):
        with pytest.raises(TypeError, match=r"Linear.weight is a Parameter.*type nn.Parameter\(value\)"):
            layer.weight = value
    layer.weight = Parameter(np.zeros((3, 2), np.float32))
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]
    norm.running_mean = norm.running_mean * 0.5 + Tensor([1.0, 2.0])  # as people write it
    assert type(norm.running_mean) is Buffer and norm.state_dict()["running_mean"].tolist() == [1, 2]
    with pytest.raises(TypeError, match="is a Buffer and keeps no gradient"):
        norm.running_mean = norm.weight * 2
    with pytest.raises(TypeError, match="is a Buffer"):
        norm.running_mean = np.zeros(2)


def test_registering_is_setting():
    module = Module()
    module.register_parameter("scale", Parameter(np.ones(2)))
    module.register_parameter("shift", None)
    module.register_buffer("count", np.zeros(1))
    module.register_module("layer", Linear(2, 2))
    module.add_module("other", Linear(2, 2))
    assert list(module.state_dict())[:3] == ["scale", "count", "layer.weight"] and module.shift is None
    with pytest.raises(KeyError, match="'forward' already"):
        module.register_parameter("forward", None)
    with pytest.raises(KeyError, match="without a dot"):
        module.register_buffer("a.b", np.zeros(1))
    with pytest.raises(TypeError, match="scale is to be an nn.Parameter or None"):
        module.register_parameter("scale", Tensor(np.ones(2)))
