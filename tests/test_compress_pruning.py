"""Pruning a model: all at once, in a plan, with a run that stops; and which heads and channels matter least."""

import copy
import json
from functools import partial

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.compress import Pruning, channel_importance, head_importance, pruning_sensitivity, quantize, shrink
from minigrad.compress.pruning import evenly
from minigrad.finetune import LoraConfig, get_peft_model
from minigrad.nn.utils import prune
from minigrad.pretrained import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel
from minigrad.train import Plan, Trainer, TrainingArguments, verify_resume
from minigrad.train.plan import cubic, set

pytestmark = pytest.mark.slow  # it trains models

CONFIG = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
    "initializer_range": 0.3,
}


def bert():
    return BertForSequenceClassification(BertConfig(**CONFIG), rng=0).eval()


def data(n=24):
    rng = np.random.default_rng(0)
    return [{"input_ids": rng.integers(1, 30, 6), "label": i % 2} for i in range(n)]


def batches(n=3):
    items = data(4 * n)
    return [
        {"input_ids": np.stack([one["input_ids"] for one in part]), "labels": [one["label"] for one in part]}
        for part in (items[i::n] for i in range(n))
    ]


def masked(model):
    return {name: t for name, t in model.state_dict().items() if name.endswith("_mask")}


def fraction(model):
    masks = [mask.numpy() for mask in masked(model).values()]
    return 1 - sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)


def test_half_of_all_weights_or_of_each():
    model = bert()
    pruning = Pruning(model, sparsity=0.5)
    assert model.pruning is pruning and pruning.sparsity == 0.5 and fraction(model) == pytest.approx(0.5, abs=1e-4)
    kept = min(
        np.abs(m.weight.numpy()[m.weight.numpy() != 0]).min() for m in model.modules() if prune.is_pruned(m, "weight")
    )
    gone = max(
        np.abs(m.weight_orig.numpy()[~m.weight_mask.numpy()]).max()
        for m in model.modules()
        if prune.is_pruned(m, "weight")
    )
    assert gone <= kept  # of all together
    model = bert()
    pruning = Pruning(model, "bert.encoder.**.dense.weight", scope="layer", sparsity=0.25)
    assert {mask.numpy().mean() for mask in masked(model).values()} == {0.75} and len(masked(model)) == 12
    assert str(pruning).count("25.0%") == 12
    pruning.sparsity = 0.5
    assert {mask.numpy().mean() for mask in masked(model).values()} == {0.5}


def test_what_is_pruned_by_default():
    """Linear layers, but neither embeddings, nor what shares their weights, nor the pooler and the head."""
    model = bert()
    Pruning(model)
    names = [name.removesuffix("_mask") for name in masked(model)]
    assert len(names) == 4 * 6 and all("encoder" in name and "Norm" not in name for name in names)
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=9, n_embd=8, n_layer=2, n_head=2), rng=0)
    Pruning(gpt)
    assert len(masked(gpt)) == 8 and gpt.lm_head.weight is gpt.transformer.wte.weight
    own = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.Linear(4, 2, rng=0))
    assert len(masked(own)) == 0
    Pruning(own, sparsity=0.5)
    assert {*masked(own)} == {"0.weight_mask", "1.weight_mask"}


def test_a_pattern_of_two_in_four(tmp_path):
    model = bert()
    Pruning(model, scope="2:4", sparsity=0.5)
    for mask in masked(model).values():
        assert (mask.numpy().reshape(mask.shape[0], -1, 4).sum(-1) == 2).all()
    with pytest.raises(ValueError, match="sparsity is 0.25, but 2:4 means 0.5: set that"):
        Pruning(bert(), scope="2:4", sparsity=0.25)


def test_saved_and_loaded_with_its_masks(tmp_path):
    """The file has the plain names, with zeros, which transformers reads too; config.json says what was pruned."""
    model = bert()
    Pruning(model, sparsity=0.6)
    model.save_pretrained(tmp_path)
    entry = json.loads((tmp_path / "config.json").read_text())["pruning_config"]
    assert entry["sparsity"] == pytest.approx(0.6, abs=1e-3) and len(entry["parameters"]) == 24
    loaded = BertForSequenceClassification.from_pretrained(tmp_path)
    ids = np.ones((1, 3), int)
    assert np.array_equal(loaded(ids).logits.numpy(), model(ids).logits.numpy())
    assert {name: t.numpy().tolist() for name, t in masked(loaded).items()} == {
        name: t.numpy().tolist() for name, t in masked(model).items()
    }
    again = Pruning(loaded)
    assert again.sparsity == pytest.approx(0.6, abs=1e-4)
    again.sparsity = 0.8
    assert fraction(loaded) == pytest.approx(0.8, abs=1e-4)
    again.remove(loaded)
    assert not prune.is_pruned(loaded) and not hasattr(loaded, "pruning")
    loaded.save_pretrained(tmp_path)
    assert "pruning_config" not in json.loads((tmp_path / "config.json").read_text())


@pytest.mark.parametrize("entry", [7, {"parameters": "all"}, {}])
def test_a_damaged_entry_is_refused(entry, tmp_path):
    bert().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pruning_config": entry}))
    with pytest.raises(ValueError, match="pruning_config in config.json is .*; expected parameters and a list"):
        BertForSequenceClassification.from_pretrained(tmp_path)


def trainer_of(output, steps=12, **more):
    model = bert()
    Pruning(model, "bert.encoder.**.weight", **({} if "plan" in more else {"sparsity": 0.5}))
    args = TrainingArguments(
        output, per_device_train_batch_size=4, max_steps=steps, learning_rate=1e-2, weight_decay=0.1, disable_tqdm=True
    )
    return Trainer(model, args, data(), **more)


PLAN = Plan().at(2, set("pruning", sparsity=cubic(0, 0.5, stairs=4), over=8))


def test_training_keeps_the_masks(tmp_path):
    trainer = trainer_of(tmp_path)
    before = {name: t.numpy().copy() for name, t in trainer.model.state_dict().items()}
    trainer.train()
    for name, t in trainer.model.state_dict().items():
        assert name.endswith("_mask") == np.array_equal(t.numpy(), before[name]), name
    assert fraction(trainer.model) == pytest.approx(0.5, abs=1e-3)


def test_a_plan_prunes_little_by_little(tmp_path):
    found = []
    trainer = trainer_of(tmp_path, plan=PLAN, callbacks=[lambda record: None])

    class Watch:
        def on_step_begin(self, args, state, control, model, **more):
            found.append(round(fraction(model), 3))

        def on_step_end(self, *args, **more):
            pass

    trainer.add_callback(Watch())
    trainer.train()
    expected = [0.5 - 0.5 * (1 - i / 4) ** 3 for i in (0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4)]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert "pruning: sparsity" in PLAN.table(12, 6)


def test_a_run_that_prunes_resumes_bit_for_bit():
    """Stopped before, during and after the pruning."""
    for steps in (1, 4, 6):
        assert verify_resume(partial(trainer_of, plan=PLAN), steps) == []


def test_fewer_bits_come_after_the_zeros(tmp_path):
    """A model with masks is not quantised; without them its zeros stay zero, and so do those of its directory."""
    model = bert()
    Pruning(model, sparsity=0.5)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"have masks: type minigrad.compress.Pruning\(model\).remove\(model\) first"):
        quantize(model, "int8")
    Pruning(model).remove(model)
    quantize(model, "int8")
    loaded = BertForSequenceClassification.from_pretrained(tmp_path, quantize="int8")
    for one in (model, loaded):
        weight = one.bert.encoder.layer[0].output.dense.weight.numpy()
        assert 0.3 < (weight == 0).mean() < 0.7 and not prune.is_pruned(one)
    with pytest.raises(ValueError, match="a quantised model keeps its layers, heads and channels"):
        model.prune_heads({0: [0]})
    loaded.save_pretrained(tmp_path / "int8")
    assert "pruning_config" not in json.loads((tmp_path / "int8" / "config.json").read_text())


def test_adapters_beside_masks():
    """They train as beside any layer; in the weights, which have zeros to be kept, they cannot be put."""
    model = bert()
    Pruning(model, "bert.encoder.**.query.weight", sparsity=0.5)
    get_peft_model(model, LoraConfig(2, target_modules=["query"]), rng=0)
    before = fraction(model)
    model(np.ones((2, 3), int), labels=[0, 1]).loss.backward()
    query = model.bert.encoder.layer[0].attention.self.query
    assert query.lora_B["default"].weight.grad is not None and query.weight_orig.grad is None
    with pytest.raises(TypeError, match=r"weight is pruned, .* type nn.utils.prune.remove"):
        model.merge_adapter()
    with pytest.raises(ValueError, match=r"type model.unload\(\) for its adapters"):
        prune.remove(query, "weight")
    with pytest.raises(ValueError, match="this model has adapters: type model.merge_and_unload"):
        Pruning(model)
    model.unload()
    assert fraction(model) == before and prune.is_pruned(query, "weight")
    prune.remove(query, "weight")


def test_a_copy_is_independent():
    model = bert()
    Pruning(model, sparsity=0.5)
    twin = copy.deepcopy(model)
    twin.pruning.sparsity = 0.9
    assert fraction(model) == pytest.approx(0.5, abs=1e-3) and fraction(twin) == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda m: Pruning(m, "bert.encodr.**"), "bert.encodr"),
        (lambda m: Pruning(m, scope="all"), "scope is 'all'; expected 'global', 'layer' or a pattern such as '2:4'"),
        (lambda m: Pruning(m, sparsity=2), "sparsity is 2; expected a fraction from 0.0 to 1.0"),
        (lambda m: Pruning(nn.Tanh()), "Tanh has no Linear or Conv layer to prune"),
        (
            lambda m: setattr(Pruning(m, sparsity=0.5), "sparsity", 0.2),
            "0.2, but 0.5 of the weights are pruned already",
        ),
        (lambda m: shrink(m, heads=1.0), "heads is 1.0; expected the fraction to remove"),
        (lambda m: head_importance(m, []), "there is no batch"),
    ],
)
def test_bad_input(call, told):
    with pytest.raises(ValueError, match=told):
        call(bert())


def test_a_shared_weight_is_refused():
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=9, n_embd=8, n_layer=2, n_head=2), rng=0)
    with pytest.raises(ValueError, match=r"transformer.wte.weight and lm_head.weight are one parameter"):
        Pruning(gpt, "lm_head.weight")


def test_importance_is_the_first_order_change_of_the_loss():
    """Compared with the difference that scaling a head, or a channel, makes; and zero for one that is not read."""
    model = BertForSequenceClassification(BertConfig(**CONFIG), rng=0).to("float64").eval()
    given = batches()
    heads, channels = head_importance(model, given), channel_importance(model, given)
    assert [one.shape for one in (*heads, *channels)] == [(4,)] * 4 + [(16,)] * 4
    layer = model.bert.encoder.layer[1]
    for linear, places, found in (
        (layer.attention.output.dense, slice(4, 8), heads[1][1]),
        (layer.output.dense, slice(3, 4), channels[1][3]),
    ):
        weight, changes = linear.weight.numpy().copy(), []
        for batch in given:
            losses = []
            for eps in (1e-5, -1e-5):
                scaled = weight.copy()
                scaled[:, places] *= 1 + eps
                linear.weight.copy_(scaled)
                losses.append(model(**batch).loss.item())
            changes.append(abs(losses[0] - losses[1]) / 2e-5)
        linear.weight.copy_(weight)
        assert found == pytest.approx(np.mean(changes), rel=1e-4)
    weight[:, 5] = 0
    layer.output.dense.weight.copy_(weight)
    assert channel_importance(model, given)[1][5] == 0 == channel_importance(model)[1][5]
    assert not model.training and all(p.grad is None for p in model.parameters())


def test_which_layer_hurts():
    """The loss with one parameter alone pruned; the model is unchanged."""
    model, batch = bert(), batches(1)[0]

    def loss(model):
        return model(**batch).loss.item()

    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    costs = pruning_sensitivity(model, 0.5, loss, "bert.encoder.layer.{0,3}.output.dense.weight")
    assert [cost.path for cost in costs] == [f"bert.encoder.layer.{i}.output.dense.weight" for i in (0, 3)]
    assert all(np.array_equal(t.numpy(), before[name]) for name, t in model.state_dict().items())
    alone = bert()
    prune.l1_unstructured(alone.bert.encoder.layer[3].output.dense, "weight", 0.5)
    assert costs[1].loss == pytest.approx(loss(alone) - loss(model), rel=1e-5) and costs[1].saved == 4 * 128
    assert len(pruning_sensitivity(model, 0.5, loss)) == 24
    with pytest.raises(ValueError, match="has a mask: type"):
        pruning_sensitivity(alone, 0.5, loss)


@pytest.mark.parametrize("given", [None, batches()], ids=["by norm", "by gradient"])
def test_shrink(given, tmp_path):
    model = bert()
    weight = model.bert.encoder.layer[3].attention.output.dense.weight
    weight.copy_(np.where(np.arange(16) // 4 == 2, 0, weight.numpy()))  # a head that nothing reads
    removed = shrink(model, layers=0.5, heads=0.25, channels=0.5, batches=given)
    assert removed["layers"] == [0, 2] and len(model.bert.encoder.layer) == 2
    assert 2 in removed["heads"][1] and sum(map(len, removed["heads"].values())) == 2
    assert model.config.intermediate_size == 8 and {len(one) for one in removed["channels"].values()} == {8}
    model.save_pretrained(tmp_path)
    loaded = BertForSequenceClassification.from_pretrained(tmp_path)
    with mg.no_grad():
        assert np.array_equal(loaded(np.ones((1, 3), int)).logits.numpy(), model(np.ones((1, 3), int)).logits.numpy())


def test_layers_that_stay_are_evenly_spaced():
    assert [evenly(6, n) for n in (1, 2, 3, 6)] == [[5], [2, 5], [1, 3, 5], [0, 1, 2, 3, 4, 5]]
    assert evenly(12, 4) == [2, 5, 8, 11] and evenly(5, 3) == [0, 2, 4]
