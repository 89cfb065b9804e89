"""Bottleneck adapters: where they stand, what they compute, and that files keep them."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.finetune import BottleneckConfig, PeftModel, get_peft_model
from minigrad.pretrained import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    T5Config,
    T5Model,
)

BERT = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
IDS = np.arange(1, 7).reshape(2, 3)


def bert():
    return BertForSequenceClassification(BertConfig(**BERT), rng=0).eval()


def test_the_formula():
    model = nn.Sequential(nn.Linear(6, 8, rng=0))
    config = BottleneckConfig(target_modules=["0"], bottleneck_size=3, non_linearity="tanh", scaling=0.5)
    x = np.random.default_rng(0).standard_normal((4, 6)).astype("f4")
    before = model(x).numpy()
    get_peft_model(model, config, rng=0)
    np.testing.assert_array_equal(model(x).numpy(), before)
    layer = model[0]
    down, up = layer.adapter_down["default"], layer.adapter_up["default"]
    for p in up.parameters():
        p.copy_(np.random.default_rng(1).standard_normal(p.shape))
    inner = np.tanh(before @ down.weight.numpy().T + down.bias.numpy())
    wanted = before + 0.5 * (inner @ up.weight.numpy().T + up.bias.numpy())
    np.testing.assert_allclose(model(x).numpy(), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="it cannot be merged into a weight"):
        model.merge_adapter()
    np.testing.assert_allclose(model(x).numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "houlsby", "pfeiffer"),
    [
        (bert, ["attention.output.dense", "output.dense"], ["output.dense"]),
        (
            lambda: GPT2Model(GPT2Config(n_embd=8, n_head=2, n_layer=2, vocab_size=20), rng=0),
            ["attn.c_proj", "mlp.c_proj"],
            ["mlp.c_proj"],
        ),
        (lambda: LlamaModel(LlamaConfig(**BERT), rng=0), ["self_attn.o_proj", "mlp.down_proj"], ["mlp.down_proj"]),
        (
            lambda: T5Model(T5Config(d_model=8, d_kv=4, d_ff=12, num_heads=2, num_layers=1, vocab_size=20), rng=0),
            ["SelfAttention.o", "EncDecAttention.o", "DenseReluDense.wo"],
            ["DenseReluDense.wo"],
        ),
    ],
)
def test_where_each_style_puts_them(make, houlsby, pfeiffer):
    for style, wanted in (("houlsby", houlsby), ("pfeiffer", pfeiffer)):
        model = make()
        ends = {path for path, m in model.named_modules() if isinstance(m, nn.Linear)}
        get_peft_model(model, BottleneckConfig(style=style, reduction_factor=4), rng=0)
        assert set(model.targeted_module_names) <= ends
        tails = {
            ".".join(path.split(".")[-len(end.split(".")) :])
            for path in model.targeted_module_names
            for end in wanted
            if path.endswith(end)
        }
        assert tails == set(wanted)
        if style == "pfeiffer":
            assert not any(
                "attention.output" in path or "Attention" in path or "attn" in path
                for path in model.targeted_module_names
            )


def test_saved_and_loaded(tmp_path):
    model = get_peft_model(bert(), BottleneckConfig(style="pfeiffer", task_type="SEQ_CLS", dropout=0.1), rng=0)
    for t in model._tensors("default").values():
        t.copy_(np.random.default_rng(0).standard_normal(t.shape))
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(bert(), tmp_path)
    assert again.peft_config["default"].style == "pfeiffer"
    np.testing.assert_array_equal(again(IDS).logits.numpy(), model.eval()(IDS).logits.numpy())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"style": "haulsby"}, "style is 'haulsby'; expected 'houlsby' or 'pfeiffer'"),
        ({"reduction_factor": 0}, "reduction_factor is 0; expected a number above 0"),
        ({"reduction_factor": "16"}, "reduction_factor is '16'; expected a number above 0"),
        ({"bottleneck_size": 2.5}, "bottleneck_size is 2.5; expected None or a number above 0"),
        ({"scaling": "a"}, "scaling is 'a'; expected a number"),
        ({"dropout": 1}, "dropout is 1; expected a probability below 1"),
        ({"non_linearity": "rellu"}, "non_linearity 'rellu' is not known.*did you mean 'relu'"),
    ],
)
def test_options_that_make_no_sense(options, told):
    with pytest.raises(ValueError, match=told):
        BottleneckConfig(**options)
