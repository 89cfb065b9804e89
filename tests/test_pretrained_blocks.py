"""Heads, channels and layers removed: what is computed without them, and the directory that is left."""

import json

import numpy as np
import pytest

import minigrad as mg
from minigrad.finetune import LoraConfig, get_peft_model
from minigrad.nn.utils import prune
from minigrad.pretrained import (
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)
from minigrad.pretrained.blocks import blocks_of, head_sizes, layers_of, part

BERT = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 12,
    "max_position_embeddings": 20,
    "initializer_range": 0.3,
}
MADE = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**BERT), rng=0),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**BERT), rng=0),
    "distilbert": lambda: DistilBertForTokenClassification(
        DistilBertConfig(vocab_size=30, dim=16, n_layers=3, n_heads=4, hidden_dim=12, initializer_range=0.3), rng=0
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=30, n_positions=20, n_embd=16, n_layer=3, n_head=4, initializer_range=0.3, eos_token_id=0
        ),
        rng=0,
    ),
    "vit": lambda: ViTForImageClassification(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=12,
            image_size=8,
            patch_size=4,
            initializer_range=0.3,
        ),
        rng=0,
    ),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=12,
            initializer_range=0.3,
        ),
        rng=0,
    ),
}
WITH_HEADS = [name for name in MADE if name != "llama"]


def scores(model):
    rng = np.random.default_rng(0)
    given = rng.random((2, 3, 8, 8), np.float32) if model.config.model_type == "vit" else rng.integers(2, 30, (2, 7))
    with mg.no_grad():
        return model.eval()(given).logits.numpy()


def silence(model, path, columns):
    """Let a Linear of each layer ignore some of its inputs; {layer: inputs}."""
    for i, places in columns.items():
        weight = part(layers_of(model)[i], path).weight
        array = weight.numpy().copy()
        array[:, places] = 0
        weight.copy_(array)


def loads_back(model, directory):
    """The same scores from its directory, whose files are smaller by what is gone."""
    model.save_pretrained(directory)
    loaded = type(model).from_pretrained(directory)
    assert np.array_equal(scores(loaded), scores(model))
    assert not loaded.load_report.newly_initialised and not loaded.load_report.unused
    return json.loads((directory / "config.json").read_text())


def numbers(model):
    return sum(p.size for p in model.parameters())


@pytest.mark.parametrize("name", WITH_HEADS)
def test_without_heads(name, tmp_path):
    """Their outputs are no longer read: so it is as if the projection after them had zeros there."""
    model, expected = MADE[name](), MADE[name]()
    gone = {0: [1, 3], 2: [0]}
    silence(
        expected,
        blocks_of(model).merge,
        {i: np.add.outer(np.array(h) * 4, np.arange(4)).ravel() for i, h in gone.items()},
    )
    model.prune_heads(gone)
    np.testing.assert_allclose(scores(model), scores(expected), rtol=1e-4, atol=1e-5)
    biases = 3 if "bias" in vars(part(layers_of(model)[0], blocks_of(model).project[0])) else 0
    assert numbers(expected) - numbers(model) == 3 * 4 * (4 * 16 + biases)
    assert head_sizes(model) == [(2, 4), (4, 4), (3, 4)]
    assert loads_back(model, tmp_path)["pruned_heads"] == {"0": [1, 3], "2": [0]}


def test_heads_keep_their_first_numbers(tmp_path):
    model, expected = MADE["bert"](), MADE["bert"]()
    expected.prune_heads({0: [1, 2], 1: [3]})
    for some in ({0: [1]}, {0: [1, 2]}, {1: 3}):
        model.prune_heads(some)
    assert np.array_equal(scores(model), scores(expected))
    model.save_pretrained(tmp_path)
    model = BertForSequenceClassification.from_pretrained(tmp_path)
    model.prune_heads({0: [3]})
    expected.prune_heads({0: [3]})
    assert np.array_equal(scores(model), scores(expected)) and head_sizes(model)[0] == (1, 4)
    assert AutoModel.from_pretrained(tmp_path).encoder.layer[0].attention.self.heads == 2


@pytest.mark.parametrize("name", MADE)
def test_without_channels(name, tmp_path):
    model, expected = MADE[name](), MADE[name]()
    path = blocks_of(model).contract
    width = part(layers_of(model)[0], path).in_features
    gone = {0: [0, 5, 7], 1: [1, 2, 3], 2: [9, 10, 11]}
    silence(expected, path, gone)
    model.prune_channels(gone)
    np.testing.assert_allclose(scores(model), scores(expected), rtol=1e-4, atol=1e-5)
    assert numbers(model) < numbers(expected)
    assert loads_back(model, tmp_path)[blocks_of(model).width] == width - 3


@pytest.mark.parametrize("name", MADE)
def test_without_layers(name, tmp_path):
    model, expected = MADE[name](), MADE[name]()
    del layers_of(expected)[1]
    setattr(expected.config, blocks_of(expected).depth, 2)
    model.prune_layers([1])
    assert np.array_equal(scores(model), scores(expected))
    assert loads_back(model, tmp_path)[blocks_of(model).depth] == 2


def test_all_of_them_and_a_mask(tmp_path):
    """Heads get the numbers of their new layers, masks are cut with their weights, and the whole can be trained."""
    model = MADE["bert"]()
    prune.l1_unstructured(layers_of(model)[2].attention.output.dense, "weight", 0.5)
    model.prune_heads({0: [0], 2: [1, 2]})
    model.prune_channels({i: [0, 1] for i in range(3)})
    model.prune_layers([1])
    entries = loads_back(model, tmp_path)
    assert entries["pruned_heads"] == {"0": [0], "1": [1, 2]}
    assert (entries["num_hidden_layers"], entries["intermediate_size"]) == (2, 10)
    assert entries["pruning_config"]["parameters"] == ["bert.encoder.layer.1.attention.output.dense.weight"]
    loaded = BertForSequenceClassification.from_pretrained(tmp_path)
    dense = layers_of(loaded)[1].attention.output.dense
    assert prune.is_pruned(dense, "weight") and dense.weight_mask.shape == (16, 8)
    loaded(np.ones((2, 3), int), labels=[0, 1]).loss.backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in loaded.base_model.encoder.parameters())


def test_windows_stay_with_their_layers(tmp_path):
    """Of a model whose first layers attend to all tokens and whose last to a window."""
    config = Qwen2Config(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=12,
        use_sliding_window=True,
        sliding_window=2,
        max_window_layers=2,
    )
    model = Qwen2ForCausalLM(config, rng=0)
    model.prune_layers([0])
    assert model.config.windows == [None, 2]
    loads_back(model, tmp_path)


def test_generation_without_heads():
    model = MADE["gpt2"]().eval()
    model.prune_heads({0: [1], 1: [0, 2]})
    ids = np.array([[3, 4, 5]])
    found = model.generate(ids, max_new_tokens=4)
    whole = ids
    for _ in range(4):
        with mg.no_grad():
            whole = np.concatenate([whole, model(whole).logits.numpy()[:, -1:].argmax(-1)], 1)
    assert np.array_equal(np.asarray(found), whole)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda m: m.prune_heads({0: [4]}), "layer 0 has the heads 0, 1, 2, 3, and no head 4"),
        (lambda m: m.prune_heads({3: [0]}), "pruned_heads names layer 3; expected a whole number from 0 to 2"),
        (lambda m: m.prune_heads({0: range(4)}), "layer 0 would be left without a head: keep one"),
        (lambda m: m.prune_heads({0: ["a"]}), "pruned_heads has 'a'; expected whole numbers"),
        (lambda m: m.prune_channels({0: [1]}), "would lose 1, 0, 0 channels, .* remove as many from each layer"),
        (lambda m: m.prune_channels({i: [12] for i in range(3)}), "layer 0 has the channels 0 to 11"),
        (lambda m: m.prune_channels({i: range(12) for i in range(3)}), "one at least must stay"),
        (lambda m: m.prune_layers([3]), "has the layers 0 to 2, of which one at least must stay"),
        (lambda m: m.prune_layers([0, 1, 2]), "one at least must stay; 0, 1, 2 were to be removed"),
    ],
)
def test_bad_input(call, told):
    model = MADE["bert"]()
    before = scores(model)
    with pytest.raises(ValueError, match=told):
        call(model)
    assert np.array_equal(scores(model), before) and "pruned_heads" not in model.config.rest


def test_a_model_with_adapters_keeps_its_parts():
    model = MADE["bert"]()
    get_peft_model(model, LoraConfig(2, target_modules=["query"]), rng=0)
    with pytest.raises(ValueError, match=r"a model with adapters keeps its layers, .* type model.merge_and_unload\(\)"):
        model.prune_heads({0: [1]})
    model.unload()
    model.prune_heads({0: [1]})


def test_new_tokens_beside_masks():
    model = MADE["bert"]()
    prune.l1_unstructured(layers_of(model)[0].output.dense, "weight", 0.5)
    model.resize_token_embeddings(33)
    assert model.bert.embeddings.word_embeddings.weight.shape == (33, 16) and scores(model).shape == (2, 2)
    prune.l1_unstructured(model.bert.embeddings.word_embeddings, "weight", 0.5)
    with pytest.raises(ValueError, match="word_embeddings.weight has a mask, of its present size"):
        model.resize_token_embeddings(40)


def test_a_list_where_a_dict_belongs():
    with pytest.raises(
        TypeError, match=r"pruned_heads is \[0, 1\]; expected a dict of lists by the number of the layer"
    ):
        MADE["bert"]().prune_heads([0, 1])


def test_families_of_another_form():
    with pytest.raises(ValueError, match="LlamaForCausalLM cannot lose heads, which share keys and values"):
        MADE["llama"]().prune_heads({0: [0]})
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2), rng=0)
    resnet = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4), rng=0)
    for model in (t5, resnet):
        with pytest.raises(ValueError, match="cannot lose layers, heads or channels: expected a model of one stack"):
            model.prune_layers([0])
    config = GPT2Config(vocab_size=9, n_embd=8, n_layer=2, n_head=2, scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(ValueError, match="a layer depends on its number"):
        GPT2LMHeadModel(config, rng=0).prune_layers([0])


@pytest.mark.parametrize("entry", [{"0": [9]}, {"7": [0]}, {"x": [0]}, [1], {"0": "1"}, {"0": [0.5]}])
def test_a_damaged_entry_is_refused(entry, tmp_path):
    MADE["bert"]().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pruned_heads": entry}))
    with pytest.raises(ValueError, match=r"pruned_heads|has the heads"):
        BertForSequenceClassification.from_pretrained(tmp_path)
