"""(IA)³: outputs and inputs multiplied by vectors, which a weight can hold."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.finetune import IA3Config, PeftModel, get_peft_model
from minigrad.pretrained import BertConfig, BertModel

rng = np.random.default_rng(0)
SIZES = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
LAYERS = {
    "linear": (lambda: nn.Linear(6, 4, rng=0), rng.standard_normal((3, 6)).astype("f4")),
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, padding=1, bias=False, rng=0), rng.standard_normal((2, 2, 7)).astype("f4")),
    "conv2d": (lambda: nn.Conv2d(4, 4, 3, groups=2, rng=0), rng.standard_normal((2, 4, 7, 6)).astype("f4")),
}


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_inputs_or_outputs_are_multiplied(name, reads):
    make, x = LAYERS[name]
    plain, model = make(), nn.Sequential(make())
    config = IA3Config(target_modules=["0"], feedforward_modules=["0"] if reads else [])
    get_peft_model(model, config, rng=0)
    np.testing.assert_array_equal(model(x).numpy(), plain(x).numpy())
    vector = model[0].ia3_l["default"]
    vector.copy_(rng.standard_normal(vector.shape))
    axis = -1 if name == "linear" else 1
    along = vector.numpy().reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    wanted = plain(x * along).numpy() if reads else plain(x).numpy() * along
    y = model(x).numpy()
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    model(x).sum().backward()
    assert [p.grad is not None for p in model.parameters()] == [p is vector for p in model.parameters()]
    model.merge_adapter()
    np.testing.assert_allclose(model(x).numpy(), y, atol=1e-5)
    model.unmerge_adapter()
    np.testing.assert_array_equal(model(x).numpy(), y)


def test_several_act_one_after_the_other():
    model = nn.Sequential(nn.Linear(3, 3, rng=0))
    get_peft_model(model, IA3Config(target_modules=["0"], init_ia3_weights=False), rng=0)
    model.add_adapter("other", IA3Config(target_modules=["0"], init_ia3_weights=False), rng=1)
    x = np.ones((1, 3), "f4")
    plain = nn.Linear(3, 3, rng=0)(x).numpy()
    one, two = (model[0].ia3_l[name].numpy().reshape(-1) for name in ("default", "other"))
    model.set_adapter(["default", "other"])
    np.testing.assert_allclose(model(x).numpy(), plain * one * two, rtol=1e-5)


def test_what_is_usual_for_a_family():
    model = get_peft_model(BertModel(BertConfig(**SIZES), rng=0), IA3Config(), rng=0)
    shapes = {name: p.shape for name, p in model.named_parameters() if p.requires_grad}
    layer = "encoder.layer.0"
    assert shapes[f"{layer}.attention.self.key.ia3_l.default"] == (8, 1)
    assert shapes[f"{layer}.output.dense.ia3_l.default"] == (1, 12)
    assert shapes[f"{layer}.attention.output.dense.ia3_l.default"] == (1, 8) and len(shapes) == 8


def test_targets_named_by_hand_are_multiplied_where_it_is_usual_for_the_family(tmp_path):
    """The name "dense" matches layers of both kinds, so the file names them one by one."""
    model = get_peft_model(BertModel(BertConfig(**SIZES), rng=0), IA3Config(target_modules=["key", "dense"]), rng=0)
    layer = model.encoder.layer[0]
    shapes = [part.ia3_l["default"].shape for part in (layer.output.dense, layer.intermediate.dense)]
    assert shapes == [(1, 12), (12, 1)]
    model.save_pretrained(tmp_path)
    saved = IA3Config.from_pretrained(tmp_path)
    assert set(saved.feedforward_modules) < set(saved.target_modules) and len(saved.feedforward_modules) == 4
    again = PeftModel.from_pretrained(BertModel(BertConfig(**SIZES), rng=0), tmp_path)
    assert again.encoder.layer[0].output.dense.ia3_l["default"].shape == (1, 12)


def test_feedforward_modules_that_hit_no_target_are_refused():
    with pytest.raises(ValueError, match="feedforward_modules has 'dense', which matches none of the target_modules"):
        get_peft_model(
            BertModel(BertConfig(**SIZES), rng=0), IA3Config(target_modules=["key"], feedforward_modules=["dense"])
        )


def test_other_methods_are_not_mixed_in():
    from minigrad.finetune import LoraConfig

    model = get_peft_model(nn.Sequential(nn.Linear(3, 3)), IA3Config(target_modules=["0"]))
    with pytest.raises(ValueError, match="has adapters of IA3Config, so it cannot have one of LoraConfig"):
        model.add_adapter("other", LoraConfig(target_modules=["0"]))
