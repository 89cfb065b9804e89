"""Quantised models: loaded, saved, calibrated, trained, adapted; and what is refused."""

import copy
import json

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import losses, nn, optim
from minigrad.compress import QuantizationConfig, calibrate, dequantize, prepare_qat, quantize
from minigrad.finetune import IA3Config, LoraConfig, PeftModel, get_peft_model
from minigrad.nn.quantized import Quantized, QuantizedEmbedding, QuantizedLinear
from minigrad.pretrained import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)
from minigrad.pretrained.checkpoint.safetensors import read
from minigrad.tensor import Tensor

KINDS = pytest.mark.parametrize("kind", ["int8", "int4"])
IDS = np.array([[3, 5, 7, 9], [2, 4, 6, 8]])
BERT = BertConfig(
    vocab_size=30, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, num_labels=3
)
GPT2 = GPT2Config(
    vocab_size=30, n_embd=32, n_layer=2, n_head=2, n_positions=20, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
)
FAMILIES = {
    "bert": lambda: BertForSequenceClassification(BERT, rng=0),
    "bert, words": lambda: BertForMaskedLM(BERT, rng=0),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig.from_dict(BERT.to_dict() | {"model_type": "roberta"}), rng=0),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=30, dim=32, n_layers=1, n_heads=2, hidden_dim=40)
    ),
    "gpt2": lambda: GPT2LMHeadModel(GPT2, rng=0),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(vocab_size=30, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=40),
        rng=0,
    ),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2), rng=0
    ),
    "vit": lambda: ViTForImageClassification(
        ViTConfig(
            image_size=8, patch_size=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
        ),
        rng=0,
    ),
}


def answer(model):
    model.eval()
    if isinstance(model, ViTForImageClassification):
        return model(np.linspace(-1, 1, 384, dtype="f4").reshape(2, 3, 8, 8)).logits.numpy()
    if isinstance(model, T5ForConditionalGeneration):
        return model(IDS, decoder_input_ids=IDS).logits.numpy()
    out = model(IDS)
    return (out.last_hidden_state if not hasattr(out, "logits") else out.logits).numpy()


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_saved_and_loaded_as_it_is(family, kind, tmp_path):
    model = FAMILIES[family]()
    model.save_pretrained(tmp_path / "floats")
    floats = answer(model)
    quantised = quantize(model, kind)
    found = answer(quantised)
    assert 0 < abs(found - floats).max() < (0.1 if kind == "int8" else 0.6) * abs(floats).max()
    quantised.save_pretrained(tmp_path / kind)
    again = type(model).from_pretrained(tmp_path / kind)
    assert again.quantization == quantised.quantization
    np.testing.assert_allclose(answer(again), found, rtol=1e-5, atol=1e-6)
    while_loading = type(model).from_pretrained(tmp_path / "floats", quantize=kind)
    for name, t in again.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), while_loading.state_dict()[name].numpy())
    dequantize(again).save_pretrained(tmp_path / "back")
    entries = json.loads((tmp_path / "back/config.json").read_text())
    assert "quantization_config" not in entries
    np.testing.assert_allclose(answer(type(model).from_pretrained(tmp_path / "back")), found, rtol=1e-3, atol=1e-4)


@KINDS
def test_files_say_what_they_hold_and_are_as_small(kind, tmp_path):
    config = GPT2Config(vocab_size=2000, n_embd=128, n_layer=2, n_head=2, n_positions=16)
    model = GPT2LMHeadModel(config, rng=0)
    model.save_pretrained(tmp_path / "floats")
    quantize(model, kind).save_pretrained(tmp_path / kind)
    entries = json.loads((tmp_path / kind / "config.json").read_text())
    expected = {"quant_method": "minigrad", "weights": kind, "activations": None, "modules_to_not_convert": []}
    assert entries["quantization_config"] == expected | ({"group_size": 64} if kind == "int4" else {})
    floats, few = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("floats", kind))
    assert few / floats < {"int8": 0.27, "int4": 0.16}[kind]
    arrays = read(tmp_path / kind / "model.safetensors")
    assert arrays["transformer.h.0.attn.c_attn.qweight"].dtype == {"int8": np.int8, "int4": np.uint8}[kind]
    assert not any(name.startswith("lm_head") for name in arrays)  # it is the embedding


def test_a_base_model_is_loaded_into_one_with_a_head_and_the_other_way_round(tmp_path):
    quantize(BertModel(BERT, rng=0)).save_pretrained(tmp_path / "base")
    model = BertForSequenceClassification.from_pretrained(tmp_path / "base", rng=0)
    assert isinstance(model.bert.encoder.layer[0].intermediate.dense, QuantizedLinear)
    assert type(model.classifier) is nn.Linear and "classifier.weight" in model.load_report.newly_initialised
    quantize(GPT2LMHeadModel(GPT2, rng=0)).save_pretrained(tmp_path / "lm")
    assert isinstance(GPT2Model.from_pretrained(tmp_path / "lm").wte, QuantizedEmbedding)


def test_modules_that_keep_their_floats_do_so_in_the_file(tmp_path):
    config = QuantizationConfig("int4", "dynamic", ["transformer.h.0.**"])
    model = quantize(GPT2LMHeadModel(GPT2, rng=0), config)
    assert type(model.transformer.h[0].mlp.c_fc) is nn.Linear
    found = answer(model)
    model.save_pretrained(tmp_path)
    again = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert type(again.transformer.h[0].mlp.c_fc) is nn.Linear and again.quantization == config
    assert again.transformer.h[1].mlp.c_fc.activations == "dynamic"
    np.testing.assert_allclose(answer(again), found, rtol=1e-5, atol=1e-6)


def test_activations_are_rounded_by_scales_of_their_own_or_calibrated_ones(tmp_path):
    floats = answer(GPT2LMHeadModel(GPT2, rng=0))
    dynamic = quantize(GPT2LMHeadModel(GPT2, rng=0), QuantizationConfig("int8", "dynamic"))
    weights = answer(quantize(GPT2LMHeadModel(GPT2, rng=0)))
    batches = [{"input_ids": IDS}, {"input_ids": IDS + 1}]
    static = quantize(GPT2LMHeadModel(GPT2, rng=0), QuantizationConfig("int8", "static"), batches)
    for model in (dynamic, static):
        found = answer(model)
        assert abs(found - weights).max() > 0 and abs(found - floats).max() < 0.1 * abs(floats).max()
    layer = static.transformer.h[0].attn.c_attn
    read_there = static.transformer.h[0].ln_1(static.transformer.wte(IDS) + static.transformer.wpe(np.arange(4)))
    assert layer.input_scale.item() >= abs(read_there.numpy()).max() / 127 * 0.999
    static.save_pretrained(tmp_path)
    np.testing.assert_allclose(answer(GPT2LMHeadModel.from_pretrained(tmp_path)), answer(static), rtol=1e-5, atol=1e-6)
    assert layer.hooks is None and not static.training


@pytest.mark.slow
@KINDS
def test_training_with_rounded_weights_makes_good_what_rounding_costs(kind):
    rng = np.random.default_rng(0)
    x, target = Tensor(rng.standard_normal((64, 64)).astype("f4")), rng.standard_normal((64, 8)).astype("f4")

    def trained(model, steps=150):
        optimizer = optim.Adam(model.parameters())
        for i in range(steps):
            loss = losses.mse_loss(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = 0.01 * (1 - i / steps)
            optimizer.step()
        return losses.mse_loss(model(x), target).item()

    model = nn.Sequential(nn.Linear(64, 16, rng=0), nn.Tanh(), nn.Linear(16, 8, rng=1))
    trained(model)
    afterwards = losses.mse_loss(quantize(copy.deepcopy(model), kind)(x), target).item()
    prepare_qat(model, kind)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    in_training = trained(model)
    quantize(model, kind)
    assert all(isinstance(m, Quantized) for m in model if not isinstance(m, nn.Tanh))
    assert losses.mse_loss(model(x), target).item() == pytest.approx(in_training, rel=1e-4)
    assert in_training < 0.8 * afterwards


def test_a_step_of_training_with_rounded_weights_has_the_gradient_of_the_rounded_ones():
    layer = nn.Linear(64, 3, rng=0)
    prepare_qat(model := nn.Sequential(layer), QuantizationConfig("int4", "dynamic"))
    x = np.random.default_rng(0).standard_normal((5, 64)).astype("f4")
    y = model(Tensor(x))
    (y * y).sum().backward()
    weight, read_ = F.dequantize(*F.quantize(layer.weight.numpy(), "int4"), 64), F.fake_quantize(x)
    expected = 2 * (read_ @ weight.T + layer.bias.numpy()).T @ read_
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-4, atol=1e-4)


def classify(model, steps=40):
    optimizer = optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    labels = np.array([0, 2])
    model.train()
    for _ in range(steps):
        out = model(IDS, labels=labels)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
    model.eval()
    return model(IDS, labels=labels).loss.item()


@KINDS
def test_lora_on_a_quantised_base_learns_and_leaves_the_base_alone(kind, tmp_path):
    base = quantize(BertForSequenceClassification(BERT, rng=0), kind)
    numbers = {name: t.numpy().copy() for name, t in base.state_dict().items() if name.endswith("qweight")}
    before = answer(base)
    base.save_pretrained(tmp_path / "base")
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="SEQ_CLS"), rng=0)
    np.testing.assert_allclose(answer(model), before, rtol=1e-5, atol=1e-6)
    assert classify(model) < 0.1
    assert all(np.array_equal(model.state_dict()[name].numpy(), a) for name, a in numbers.items())
    model.save_pretrained(tmp_path / "adapter")
    stored = read(tmp_path / "adapter/adapter_model.safetensors")
    assert not any("qweight" in name or "scale" in name for name in stored)
    again = PeftModel.from_pretrained(
        BertForSequenceClassification.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    )
    np.testing.assert_allclose(answer(again), answer(model), rtol=1e-5, atol=1e-6)


def test_merging_into_a_quantised_base_is_refused_until_it_has_floats():
    model = get_peft_model(quantize(BertForSequenceClassification(BERT, rng=0)), LoraConfig(task_type="SEQ_CLS"), rng=0)
    classify(model, 3)
    found = answer(model)
    with pytest.raises(ValueError, match=r"type dequantize\(model\)") as refusal:
        model.merge_and_unload()
    assert "\n" not in str(refusal.value)
    np.testing.assert_array_equal(answer(model), found)  # nothing has changed
    merged = dequantize(model).merge_and_unload()
    assert type(merged.bert.encoder.layer[0].attention.self.query) is nn.Linear and merged.quantization is None
    np.testing.assert_allclose(answer(merged), found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [LoraConfig(use_dora=True, task_type="SEQ_CLS"), IA3Config(task_type="SEQ_CLS")])
def test_other_adapters_reckon_with_the_floats_that_the_numbers_stand_for(config):
    quantised = get_peft_model(quantize(BertForSequenceClassification(BERT, rng=0)), config, rng=0)
    floats = dequantize(quantize(BertForSequenceClassification(BERT, rng=0)))
    floats = get_peft_model(floats, config, rng=0)
    assert classify(quantised, 5) == pytest.approx(classify(floats, 5), rel=1e-3)


def test_bad_input_is_refused_in_a_line_that_says_what_to_type(tmp_path):
    model = quantize(GPT2LMHeadModel(GPT2, rng=0))
    model.save_pretrained(tmp_path / "int8")
    static = QuantizationConfig("int8", "static")
    adapted = get_peft_model(BertForSequenceClassification(BERT, rng=0), LoraConfig())
    config = tmp_path / "int8/config.json"
    for call, match in (
        (
            lambda: calibrate(quantize(GPT2LMHeadModel(GPT2, rng=0), static), []),
            "no batch to calibrate on: give a list",
        ),
        (lambda: calibrate(model, [{"input_ids": IDS}]), "no layer of this model has static activations: type"),
        (lambda: quantize(GPT2LMHeadModel(GPT2, rng=0), "int8", [IDS]), "batches are for static activations: type"),
        (lambda: quantize(adapted), r"type model.merge_and_unload\(\)"),
        (lambda: prepare_qat(adapted), r"type model.merge_and_unload\(\)"),
        (lambda: model.resize_token_embeddings(40), "resize the model that it was made from"),
        (lambda: GPT2LMHeadModel.from_pretrained(tmp_path / "int8", quantize="int4"), "leave out quantize"),
        (lambda: GPT2LMHeadModel.from_pretrained(tmp_path / "int8", quantize="int3"), "'int8' or 'int4'"),
    ):
        with pytest.raises(ValueError, match=match) as refusal:
            call()
        assert "\n" not in str(refusal.value)
    entries = json.loads(config.read_text())
    for changed, match in (
        ({"quant_method": "gptq"}, "gptq"),
        ({"quant_method": "minigrad", "weights": "int4"}, "does not fit|in the file"),
        ({"quant_method": "minigrad", "weights": "int2"}, "int2"),
        ({"quant_method": "minigrad", "weights": ["int8"]}, "int8"),
        (None, "qweight as int8|quantised"),
    ):
        config.write_text(json.dumps(entries | {"quantization_config": changed}))
        with pytest.raises(ValueError, match=match):
            GPT2LMHeadModel.from_pretrained(tmp_path / "int8")
