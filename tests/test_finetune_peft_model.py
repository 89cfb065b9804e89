"""A model with adapters, without the reference library: what is trained, acts, is saved, and is refused."""

import copy
import json
import pickle

import numpy as np
import pytest

from minigrad import nn, optim
from minigrad.finetune import (
    BitFitConfig,
    BottleneckConfig,
    IA3Config,
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from minigrad.pretrained import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
)
from minigrad.train import Plan, Trainer, TrainingArguments

pytestmark = pytest.mark.slow  # it trains models

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = np.random.default_rng(0).integers(1, 40, (3, 7))
LABELS = np.array([0, 1, 1])
LORA = LoraConfig(r=4, target_modules=["query", "value"], task_type="SEQ_CLS")


def bert(**changes):
    return BertForSequenceClassification(BertConfig(**SIZES | changes), rng=0).eval()


def scrambled(model, name="default", seed=1):
    """Every weight of an adapter drawn anew, so that it changes the outputs."""
    rng = np.random.default_rng(seed)
    for t in model._tensors(name).values():
        t.copy_(t.data + 0.3 * rng.standard_normal(t.shape))
    return model


def logits(model):
    return model(IDS).logits.numpy()


def test_no_weight_gets_another_name():
    before = dict(bert().named_parameters())
    model = get_peft_model(bert(), LORA, rng=0)
    after = dict(model.named_parameters())
    assert before.keys() <= after.keys()
    added = "bert.encoder.layer.0.attention.self.query.lora_A.default.weight"
    assert added in after and all(".lora_" in name for name in after.keys() - before.keys())
    assert isinstance(model, BertForSequenceClassification) and isinstance(model, PeftModel)
    assert isinstance(model.bert.encoder.layer[0].attention.self.query, nn.Linear)


def test_a_new_adapter_changes_nothing_and_only_it_is_trained(capsys):
    model = bert()
    before = logits(model)
    get_peft_model(model, LORA, rng=0)
    np.testing.assert_array_equal(logits(model), before)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(".lora_" in name or name.startswith("classifier.") for name in trained) and len(trained) == 8 + 2
    model.print_trainable_parameters()
    total = sum(p.size for p in model.parameters())
    many = 4 * 2 * 4 * 16 + 2 * 16 + 2
    assert model.get_nb_trainable_parameters() == (many, total)
    assert capsys.readouterr().out == (
        f"trainable params: {many:,} || all params: {total:,} || trainable%: {100 * many / total:.4f}\n"
    )


def test_training_moves_the_adapter_alone():
    model = get_peft_model(bert(), LORA, rng=0).train()
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    optimizer = optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(IDS, labels=LABELS).loss.backward()
        optimizer.step()
    moved = {name for name, p in model.named_parameters() if not np.array_equal(p.numpy(), before[name])}
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad}


def test_two_adapters_are_switched_and_act_together():
    model = bert()
    plain = logits(model)
    get_peft_model(model, LoraConfig(r=2, target_modules=["query"], modules_to_save=["classifier"]), rng=0)
    first = logits(scrambled(model))
    model.add_adapter("other", LoraConfig(r=3, target_modules=["key", "query"], lora_alpha=6), rng=1)
    np.testing.assert_array_equal(logits(model), first)
    model.set_adapter("other")
    second = logits(scrambled(model, "other"))
    assert not np.allclose(first, second) and model.active_adapters == ["other"]
    assert {name.split(".")[-2] for name, p in model.named_parameters() if p.requires_grad} == {"other"}
    model.set_adapter(["default", "other"])
    both = logits(model)
    query = model.bert.encoder.layer[0].attention.self.query
    x = np.random.default_rng(2).standard_normal((2, 16)).astype("f4")
    wanted = x @ query.weight.numpy().T + query.bias.numpy()
    for name in ("default", "other"):
        a, b = query.lora_A[name].weight.numpy(), query.lora_B[name].weight.numpy()
        wanted += query.scaling[name] * x @ a.T @ b.T
    np.testing.assert_allclose(query(x).numpy(), wanted, atol=1e-5)
    assert not np.allclose(both, first) and not np.allclose(both, second)
    model.set_adapter("default")
    np.testing.assert_array_equal(logits(model), first)
    with model.disable_adapter():
        np.testing.assert_array_equal(logits(model), plain)
    model.delete_adapter("default")
    assert model.active_adapters == ["other"]
    np.testing.assert_array_equal(logits(model), second)
    assert model.unload() is model and type(model) is BertForSequenceClassification
    np.testing.assert_array_equal(logits(model), plain)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"bias": "all", "use_rslora": True}, {"lora_bias": True}])
def test_merged_it_is_the_same_and_unmerged_bit_for_bit(options):
    model = scrambled(get_peft_model(bert(), LoraConfig(target_modules="all-linear", **options), rng=0))
    before, state = logits(model), {name: t.numpy().copy() for name, t in model.state_dict().items()}
    model.merge_adapter()
    assert model.merged_adapters == ["default"]
    np.testing.assert_allclose(logits(model), before, atol=2e-6)
    model.unmerge_adapter()
    assert all(np.array_equal(t.numpy(), state[name]) for name, t in model.state_dict().items())
    plain = model.merge_and_unload()
    assert type(plain) is BertForSequenceClassification and plain.state_dict().keys() == bert().state_dict().keys()
    np.testing.assert_allclose(logits(plain), before, atol=2e-6)
    assert all(p.requires_grad for p in plain.parameters())


@pytest.mark.parametrize("kind", [BertForMaskedLM, GPT2LMHeadModel])
def test_a_weight_that_is_one_with_another_becomes_its_own_when_merged(kind, tmp_path):
    """The table of words is the last layer's weight as well, which the adapter of the table is not to change."""
    config = (
        BertConfig(**SIZES) if kind is BertForMaskedLM else GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2)
    )
    name = "word_embeddings" if kind is BertForMaskedLM else "wte"
    model = scrambled(get_peft_model(kind(config, rng=0).eval(), LoraConfig(target_modules=[name]), rng=0))
    before = logits(model)
    model.merge_adapter()
    np.testing.assert_allclose(logits(model), before, atol=1e-5)
    model.unmerge_adapter()
    np.testing.assert_array_equal(logits(model), before)
    merged = model.merge_and_unload()
    np.testing.assert_allclose(logits(merged), before, atol=1e-5)
    merged.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    np.testing.assert_array_equal(logits(again), logits(merged))
    assert not again.config.tie_word_embeddings and all(p.requires_grad for p in merged.parameters())


def test_unload_gives_back_the_model():
    model = bert()
    model.freeze("bert.embeddings.**")
    state = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    scrambled(get_peft_model(model, LoraConfig(bias="all", modules_to_save=["pooler"]), rng=0)).unload()
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
    assert all(np.array_equal(t.numpy(), state[name]) for name, t in model.state_dict().items())
    assert "peft" not in vars(model) and type(model.bert.encoder.layer[0].attention.self.query) is nn.Linear


def test_saved_and_loaded(tmp_path):
    model = scrambled(get_peft_model(bert(), LORA, rng=0))
    model.add_adapter("other", LoraConfig(target_modules=["key"]), rng=1)
    scrambled(model, "other")
    model.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors", "other"]
    again = PeftModel.from_pretrained(bert(), tmp_path)
    np.testing.assert_array_equal(logits(again), logits(model))
    assert not any(p.requires_grad for p in again.parameters())
    again.load_adapter(tmp_path / "other", "key", is_trainable=True)
    again.set_adapter("key")
    model.set_adapter("other")
    np.testing.assert_array_equal(logits(again), logits(model))
    assert {name.split(".")[-2] for name, p in again.named_parameters() if p.requires_grad} == {"key"}


def test_adapters_are_no_targets_of_other_adapters(tmp_path):
    model = scrambled(get_peft_model(bert(), LORA, rng=0))
    targets = get_peft_model(bert(), LoraConfig(target_modules="all-linear"), rng=0).targeted_module_names
    model.add_adapter("other", LoraConfig(target_modules="all-linear"), rng=1)
    assert [hit.path for hit in model.peft.hits["other"]] == targets
    model.save_pretrained(tmp_path, ["default"])
    np.testing.assert_array_equal(logits(PeftModel.from_pretrained(bert(), tmp_path)), logits(model))


def test_what_was_trained_beside_the_adapter_is_saved(tmp_path):
    model = scrambled(get_peft_model(bert(), LORA, rng=0))
    model.unfreeze("bert.pooler.**")
    model.bert.encoder.layer[1].attention.self.query.weight.copy_(0.5)
    model.bert.pooler.dense.weight.copy_(0.25)
    model.freeze("bert.pooler.**")
    model.save_pretrained(tmp_path)
    np.testing.assert_array_equal(logits(PeftModel.from_pretrained(bert(), tmp_path)), logits(model))


def test_to_another_dtype_and_back_takes_all_along(tmp_path):
    model = scrambled(get_peft_model(bert(), LoraConfig(bias="all", modules_to_save=["classifier"]), rng=0))
    with model.disable_adapter():
        plain = logits(model)
    model.to("float64")
    with model.disable_adapter():
        assert logits(model).dtype == np.float64
        np.testing.assert_allclose(logits(model), plain, atol=1e-6)
    assert len(model._arrays("default")) == len(model._tensors("default"))  # nothing else counts as trained


def test_the_table_tells_what_each_pattern_hit():
    table = get_peft_model(bert(), LORA, rng=0).adapter_table().splitlines()
    assert table[1].split() == ["default", "query", "2", "256", "bert.encoder.layer.{0..1}.attention.self.query"]
    assert len(table) == 4 and "classifier.weight" in table[3]


def test_a_head_that_no_file_had_is_trained(tmp_path):
    BertModel(BertConfig(**SIZES), rng=0).save_pretrained(tmp_path)
    model = get_peft_model(
        BertForSequenceClassification.from_pretrained(tmp_path, rng=0), LoraConfig(target_modules=["query"]), rng=0
    )
    assert model.classifier.weight.requires_grad and model.peft_config["default"].modules_to_save == ["classifier"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"target_modules": ["querry"]}, "'querry' matches no module of Bert.*; the nearest names are query"),
        ({"target_modules": ["query", "c_attn"]}, "'c_attn' matches no module"),
        ({"target_modules": "query"}, r"give a list for names, \['query'\]"),
        ({"target_modules": "**.query"}, "not a regular expression .*give a list of names"),
        ({"exclude_modules": "**.query"}, "exclude_modules is .*, which is not a regular expression"),
        ({"target_modules": ["attention"]}, "a Group; expected a layer that can be adapted .Linear, Embedding"),
        ({"modules_to_save": ["clasifier"]}, "modules_to_save has 'clasifier'.*nearest names are classifier"),
        ({"rank_pattern": {"key": 2}}, "has 'key', which matches the end of no target"),
        ({"layers_to_transform": [7]}, "no target is in layer 7: they are in 0, 1"),
        ({"layers_to_transform": [0, 7]}, "no target is in layer 7: they are in 0, 1"),
        ({"layers_to_transform": [0], "layers_pattern": "layr"}, "they are in no layer, by layers_pattern"),
        ({"exclude_modules": ["kay"]}, "exclude_modules: 'kay' matches no module of .*nearest names are key"),
        ({"exclude_modules": ".*kay"}, "exclude_modules: '.*kay' matches no module"),
        (
            {"exclude_modules": ".*query"},
            "'query' matches .*query, which is left out, since exclude_modules is .*query",
        ),
        ({"target_modules": ["query", "classifier"], "task_type": "SEQ_CLS"}, "'classifier' matches .*is left out"),
        ({"target_modules": []}, 'target_modules is empty: give some of the names .*, or "all-linear"'),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_and_the_model_unchanged(options, told):
    model = bert()
    with pytest.raises(ValueError, match=told):
        get_peft_model(model, LoraConfig(**{"target_modules": ["query"], **options}))
    assert type(model) is BertForSequenceClassification and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"r": 0}, "r is 0; expected a whole number"),
        ({"rank_pattern": {"query": 1.5}}, "the rank query is 1.5"),
        ({"r": "8"}, "the rank r is '8'; expected a whole number"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ({"lora_dropout": "0.1"}, "lora_dropout is '0.1'"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'; expected a number"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"alpha_pattern": {"query": "3"}}, "lora_alpha of query is '3'"),
        ({"rank_pattern": {"(": 3}}, "rank_pattern has '.', which is not a regular expression"),
        (
            {"layers_to_transform": 0, "layers_pattern": "("},
            "layers_pattern has '.', which is not a regular expression",
        ),
        ({"layers_to_transform": "0"}, "layers_to_transform is '0'; expected numbers of layers"),
        ({"layers_to_transform": [-1]}, "layers_to_transform is -1; expected numbers of layers"),
        ({"use_dora": True, "lora_bias": True}, "cannot be combined"),
        ({"bias": "some"}, "bias is 'some'; expected 'none', 'all' or 'lora_only'"),
        ({"task_type": "CLS"}, "task_type is 'CLS'; expected None or one of 'SEQ_CLS'"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the weights of the model itself"),
        ({"layers_pattern": "layer"}, "give layers_to_transform"),
    ],
)
def test_options_that_make_no_sense(options, told):
    with pytest.raises(ValueError, match=told):
        LoraConfig(**options)


@pytest.mark.parametrize("options", [{"target_modules": 7}, {"modules_to_save": [1]}, {"rank_pattern": ["query"]}])
def test_options_of_another_type(options):
    with pytest.raises(TypeError, match=f"{next(iter(options))} is .*; expected "):
        LoraConfig(**options)


def test_options_may_be_numbers_of_numpy(tmp_path):
    config = LoraConfig(r=np.int64(2), lora_alpha=np.float32(4), layers_to_transform=np.array([0]))
    get_peft_model(bert(), config, rng=0).save_pretrained(tmp_path)
    entries = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert (entries["r"], entries["lora_alpha"], entries["layers_to_transform"]) == (2, 4, [0])


def two_with_heads(**options):
    """Two adapters with heads of their own, the first of which acts, and what the model says with each."""
    model = get_peft_model(bert(), LoraConfig(**{"task_type": "SEQ_CLS", "bias": "all"} | options), rng=0)
    model.add_adapter(
        "other", LoraConfig(**{"r": 2, "target_modules": ["key"], "task_type": "SEQ_CLS"} | options), rng=1
    )
    scrambled(scrambled(model), "other", 2)
    model.set_adapter("other")
    other = logits(model)
    model.set_adapter("default")
    return model, logits(model), other


def test_merging_another_adapter_than_acts_takes_its_head_along(tmp_path):
    model, first, other = two_with_heads()
    for names, wanted in (["other"], other), (["default"], first):
        model.merge_adapter(names)
        assert model.merged_adapters == names
        np.testing.assert_allclose(logits(model), wanted, atol=2e-6)
        with model.disable_adapter():
            np.testing.assert_array_equal(logits(model), logits(bert()))
        model.save_pretrained(tmp_path)
        np.testing.assert_allclose(logits(model), wanted, atol=2e-6)
        model.unmerge_adapter()
        np.testing.assert_array_equal(logits(model), first)
    with pytest.raises(ValueError, match="default and other both have their own "):
        model.merge_adapter(["default", "other"])
    model.merge_adapter(["other"])
    np.testing.assert_allclose(logits(model.merge_and_unload()), other, atol=2e-6)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"bias": "all"}, {"lora_bias": True, "bias": "all"}])
def test_an_adapter_added_while_another_is_merged_is_for_the_weights_without_it(options):
    model = get_peft_model(bert(), LoraConfig(target_modules="all-linear", **options), rng=0)
    scrambled(model).merge_adapter()
    merged = logits(model)
    model.add_adapter("other", LoraConfig(target_modules="all-linear", **options), rng=1)
    np.testing.assert_array_equal(logits(model), merged)
    model.unmerge_adapter()
    model.set_adapter("other")
    np.testing.assert_allclose(logits(model), logits(bert()), atol=1e-6)


def test_files_of_another_model_or_version(tmp_path):
    scrambled(get_peft_model(bert(), LORA, rng=0)).save_pretrained(tmp_path)
    other = bert(hidden_size=32)
    with pytest.raises(ValueError, match=r"lora_A.weight is \(4, 16\), here \(4, 32\).*load the model that it was"):
        PeftModel.from_pretrained(other, tmp_path)
    assert type(other) is BertForSequenceClassification and all(p.requires_grad for p in other.parameters())
    with pytest.raises(ValueError, match="it has .*layer.1.* which the adapter does not have"):
        PeftModel.from_pretrained(bert(num_hidden_layers=1), tmp_path)
    with pytest.raises(ValueError, match="it lacks .*layer.2"):
        PeftModel.from_pretrained(bert(num_hidden_layers=3), tmp_path)
    with pytest.raises(ValueError, match="an adapter of another model: 'query' matches no module of Sequential"):
        PeftModel.from_pretrained(nn.Sequential(nn.Linear(3, 3)), tmp_path)
    bert().save_pretrained(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="adapter_config.json is missing: expected the directory of an adapter"):
        PeftModel.from_pretrained(bert(), tmp_path / "model")
    with pytest.raises(
        FileNotFoundError, match=r"load the model .* type PeftModel.from_pretrained\(model, directory\)"
    ):
        BertForSequenceClassification.from_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    entries = json.loads(path.read_text())
    for changes, told in (
        ({"peft_type": ["LORA"]}, "has peft_type .'LORA'.*expected one of"),
        ({"peft_type": "ADALORA"}, "is of peft_type 'ADALORA'.*expected one of 'LORA'|expected one of .*'LORA'"),
        ({"use_qalora": True}, "has use_qalora = True, which minigrad's LoraConfig does not support"),
    ):
        path.write_text(json.dumps(entries | changes))
        with pytest.raises(ValueError, match=told):
            PeftModel.from_pretrained(bert(), tmp_path)
    path.write_text(json.dumps(entries))
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no adapter: expected adapter_model.safetensors"):
        PeftModel.from_pretrained(bert(), tmp_path)


def test_refusals(tmp_path):
    with pytest.raises(TypeError, match="get_peft_model takes a Module"):
        get_peft_model("bert", LORA)
    with pytest.raises(TypeError, match=r"such as LoraConfig\(r=8\)"):
        get_peft_model(bert(), {"r": 8})
    model = get_peft_model(bert(), LORA, rng=0)
    with pytest.raises(ValueError, match="has the adapters default already"):
        get_peft_model(model, LORA)
    with pytest.raises(ValueError, match="there is no adapter 'other': there are 'default'"):
        model.set_adapter("other")
    with pytest.raises(ValueError, match="there is an adapter 'default' already"):
        model.add_adapter("default", LORA)
    with pytest.raises(ValueError, match="the only adapter"):
        model.delete_adapter("default")
    model.add_adapter("other", LORA, rng=1)
    with pytest.raises(ValueError, match="both have their own classifier.bias"):
        model.set_adapter(["default", "other"])
    model.merge_adapter()
    with pytest.raises(ValueError, match=r"is merged: type model.unmerge_adapter\(\) first"):
        model.set_adapter("other")
    with pytest.warns(UserWarning, match=r"default is merged and is not trained: type model.unmerge_adapter\(\) first"):
        model.train()
    model.eval().unmerge_adapter()
    with pytest.raises(ValueError, match="none is merged: give some of default, other"):
        model.merge_adapter([])
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file: expected a directory to save to"):
        model.save_pretrained(tmp_path / "file")
    with pytest.raises(OSError, match="below could not be made: "):
        model.save_pretrained(tmp_path / "file" / "below")
    model.bert.encoder.layer[0].attention.self.query.lora_B["default"].weight.copy_(np.nan)
    with pytest.raises(ValueError, match="not finite: nothing was merged"):
        model.merge_adapter()
    assert model.merged_adapters == []
    with pytest.raises(ValueError, match="resize it before get_peft_model"):
        model.resize_token_embeddings(50)


def new_trainer(directory, **options):
    """A run of 8 steps of a model with LoRA and dropout, whose plan unfreezes a weight of the model in its middle."""
    rng = np.random.default_rng(5)
    items = [{"input_ids": rng.integers(1, 40, rng.integers(3, 9)), "label": i % 2} for i in range(16)]
    model = get_peft_model(
        bert(hidden_dropout_prob=0.1),
        LoraConfig(r=2, lora_dropout=0.1, target_modules=["query", "value"], task_type="SEQ_CLS"),
        rng=0,
    )
    model.add_adapter("other", LoraConfig(r=2, target_modules=["key"], modules_to_save=["pooler"]), rng=1)
    plan = Plan().phase("a", until=4, lr=0.02).phase("b", unfreeze="bert.encoder.layer.1.output.dense.*")
    args = TrainingArguments(
        directory,
        per_device_train_batch_size=4,
        num_train_epochs=2,
        save_steps=3,
        save_strategy="steps",
        logging_steps=1,
        disable_tqdm=True,
        **options,
    )
    return Trainer(model, args, items, plan=plan)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}])
def test_a_resumed_run_is_bit_for_bit_the_whole_one(tmp_path, options):
    whole = new_trainer(tmp_path / "whole", **options)
    whole.train()
    assert whole.step == 8
    files = {
        str(path.relative_to(tmp_path / "whole" / "checkpoint-6"))
        for path in (tmp_path / "whole" / "checkpoint-6").rglob("*")
    }
    assert {
        "adapter_model.safetensors",
        "other/adapter_model.safetensors",
    } <= files and "model.safetensors" not in files
    for step in (3, 6):
        parts = new_trainer(tmp_path / f"parts-{step}", **options)
        parts.train(resume_from_checkpoint=tmp_path / "whole" / f"checkpoint-{step}")
        for (name, t), (_, wanted) in zip(parts.model.state_dict().items(), whole.model.state_dict().items()):
            np.testing.assert_array_equal(t.numpy(), wanted.numpy(), err_msg=name)
        losses = [[record["loss"] for record in one.history if "loss" in record] for one in (parts, whole)]
        assert losses[0] == losses[1] and len(losses[0]) == 8
    plain = bert()
    moved = whole.model.bert.encoder.layer[1].output.dense.weight.numpy()
    assert not np.array_equal(moved, plain.bert.encoder.layer[1].output.dense.weight.numpy())


@pytest.mark.parametrize("options", [{}, {"use_dora": True}])
def test_what_is_written_into_merged_weights_is_kept(options, tmp_path):
    model = get_peft_model(bert(), LoraConfig(target_modules=["query"], **options), rng=0)
    scrambled(model).merge_adapter()
    layer = model.bert.encoder.layer[0].attention.self.query
    model.unfreeze("bert.encoder.layer.0.attention.self.query.*")
    layer.weight.copy_(layer.weight.data + 0.3 * np.random.default_rng(2).standard_normal(layer.weight.shape))
    layer.bias.hold(layer.bias.data + np.float32(0.2))
    written = logits(model)
    model.save_pretrained(tmp_path)
    np.testing.assert_allclose(logits(model), written, atol=1e-6 if not options else 0.1)
    model.unmerge_adapter()
    assert layer.weight.requires_grad and layer.bias.requires_grad
    unmerged = logits(model)
    np.testing.assert_array_equal(logits(PeftModel.from_pretrained(bert(), tmp_path)), unmerged)
    if not options:  # the lengths of DoRA's rows are those of other weights now
        np.testing.assert_allclose(unmerged, written, atol=1e-6)


def test_one_name_may_be_given_as_text(tmp_path):
    model, _, other = two_with_heads()
    model.merge_adapter("other")
    assert model.merged_adapters == ["other"]
    model.unmerge_adapter()
    model.set_adapter(["other", "other"])
    np.testing.assert_array_equal(logits(model), other)
    model.save_pretrained(tmp_path, "other")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("options", [{"lora_alpha": 99}, {"use_rslora": True}, {"lora_dropout": 0.5}])
def test_a_checkpoint_of_an_adapter_with_other_options_is_refused(options, tmp_path):
    """Its weights fit, but mean another model."""
    items = [{"input_ids": IDS[i % 3], "labels": i % 2} for i in range(4)]
    more = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1, "disable_tqdm": True}
    args = TrainingArguments(tmp_path, per_device_train_batch_size=2, **more)
    Trainer(get_peft_model(bert(), LORA, rng=0), args, items).train()
    config = LoraConfig(**{"r": 4, "target_modules": ["query", "value"], "task_type": "SEQ_CLS"} | options)
    name, value = next(iter(options.items()))
    with pytest.raises(
        ValueError, match=rf"made with {name}={getattr(LORA, name)}, not {value}: give the configuration"
    ):
        Trainer(get_peft_model(bert(), config, rng=0), args, items).train(resume_from_checkpoint=True)


def test_an_adapter_of_a_file_is_trained_only_if_that_was_asked_for(tmp_path):
    get_peft_model(bert(), LORA, rng=0).save_pretrained(tmp_path)
    args = TrainingArguments(tmp_path / "out", max_steps=1, save_strategy="no", disable_tqdm=True)
    with pytest.raises(
        ValueError, match=r"no parameter is left .*from_pretrained\(model, directory, is_trainable=True\)"
    ):
        Trainer(PeftModel.from_pretrained(bert(), tmp_path), args, [{"input_ids": IDS[0], "labels": 0}]).train()


def test_a_checkpoint_of_other_adapters_is_refused(tmp_path):
    new_trainer(tmp_path / "a").train()
    other = new_trainer(tmp_path / "b")
    other.model.delete_adapter("other")
    other.model.add_adapter("third", LoraConfig(target_modules=["query"]))
    with pytest.raises(ValueError, match="is a checkpoint of another model"):
        other.train(resume_from_checkpoint=tmp_path / "a" / "checkpoint-6")


def test_the_trainer_saves_adapters(tmp_path):
    trainer = new_trainer(tmp_path)
    trainer.train()
    trainer.save_model(tmp_path / "final")
    again = PeftModel.from_pretrained(bert(), tmp_path / "final")
    np.testing.assert_array_equal(logits(again), logits(trainer.model.eval()))


COPIES = {"copy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    "config",
    [
        LORA,
        IA3Config(task_type="SEQ_CLS"),
        BottleneckConfig(bottleneck_size=2),
        BitFitConfig(),
        PromptTuningConfig(num_virtual_tokens=2),
    ],
    ids=lambda config: config.peft_type,
)
def test_a_copy_and_a_pickle_are_the_model(config, again, tmp_path):
    model = scrambled(get_peft_model(bert(), config, rng=0))
    other = again(model)
    assert type(other) is type(model)
    np.testing.assert_allclose(logits(other), logits(model), atol=1e-6)  # BLAS heeds where in memory a matrix begins
    model.save_pretrained(tmp_path / "model")
    other.save_pretrained(tmp_path / "other")  # what no adapter has changed is not saved
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "other" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()
    np.testing.assert_allclose(logits(other.unload()), logits(model.unload()), atol=1e-6)


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_prefix_and_of_a_layer_of_the_users_own(again):
    model = get_peft_model(
        GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2), rng=0).eval(),
        PrefixTuningConfig(num_virtual_tokens=2),
        rng=0,
    )
    np.testing.assert_allclose(logits(again(model)), logits(model), atol=1e-6)
    layer = get_peft_model(nn.Sequential(Halved(4, 3, rng=0)), LoraConfig(target_modules=["0"]), rng=0)
    x = np.ones((2, 4), "f4")
    np.testing.assert_allclose(again(layer)(x).numpy(), layer(x).numpy(), atol=1e-6)


class Halved(nn.Linear):
    """A Linear of the user's own."""

    def forward(self, x):
        return super().forward(x) / 2


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
def test_a_copy_knows_what_was_written_into_since(again, tmp_path):
    model = scrambled(get_peft_model(bert(), LORA, rng=0))
    model.bert.pooler.dense.bias.copy_(1.0)  # no part of the adapter, and saved with it
    model.merge_adapter()
    weight = model.bert.encoder.layer[0].attention.self.query.weight
    weight.copy_(weight.data + 0.5)
    other = again(model)
    other.unmerge_adapter()
    model.unmerge_adapter()
    np.testing.assert_allclose(logits(other), logits(model), atol=1e-6)
    other.save_pretrained(tmp_path)
    np.testing.assert_allclose(logits(PeftModel.from_pretrained(bert(), tmp_path)), logits(model), atol=1e-6)


def test_options_that_there_are_not_and_all_linear_of_no_linear_are_refused():
    with pytest.raises(TypeError, match="LoraConfig has no option 'target_module': type target_modules="):
        LoraConfig(target_module=["query"])
    with pytest.raises(TypeError, match="IA3Config has no option 'r': it has task_type, .*feedforward_modules"):
        IA3Config(r=8)
    told = '"all-linear" matches no module of Sequential: it has no Linear .* can be adapted are 0$'
    with pytest.raises(ValueError, match=told):
        get_peft_model(nn.Sequential(nn.Conv1d(1, 1, 1, rng=0)), LoraConfig(target_modules="all-linear"))
    for config in (IA3Config, BottleneckConfig):
        with pytest.raises(ValueError, match='"all-linear" matches no module of BertForSequenceClassification'):
            get_peft_model(bert(), config(target_modules="all-linear", exclude_modules=r".*"))
