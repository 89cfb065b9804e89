"""BitFit: the biases alone are trained, saved and switched."""

import numpy as np
import pytest

from minigrad.finetune import BitFitConfig, PeftModel, get_peft_model
from minigrad.pretrained import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaModel

BERT = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
IDS = np.arange(1, 7).reshape(2, 3)


def bert():
    return BertForSequenceClassification(BertConfig(**BERT), rng=0).eval()


def test_biases_alone_are_trained_and_come_back(tmp_path):
    model = bert()
    before = model(IDS).logits.numpy()
    get_peft_model(model, BitFitConfig(), rng=0)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in bert().named_parameters() if name.endswith(".bias")}
    for t in model._tensors("default").values():
        t.copy_(np.random.default_rng(0).standard_normal(t.shape))
    after = model(IDS).logits.numpy()
    assert not np.allclose(before, after)
    with model.disable_adapter():
        np.testing.assert_array_equal(model(IDS).logits.numpy(), before)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(bert(), tmp_path)
    np.testing.assert_array_equal(again(IDS).logits.numpy(), after)
    np.testing.assert_array_equal(again.merge_and_unload()(IDS).logits.numpy(), after)
    np.testing.assert_array_equal(model.unload()(IDS).logits.numpy(), before)


def test_of_some_layers_and_with_the_head():
    model = get_peft_model(bert(), BitFitConfig(layers_to_transform=[1], task_type="SEQ_CLS"), rng=0)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith(("bert.encoder.layer.1.", "classifier.")) for name in trained)
    assert {"classifier.weight", "bert.encoder.layer.1.output.LayerNorm.bias"} <= trained


def test_a_model_without_biases_is_refused():
    with pytest.raises(ValueError, match="LlamaModel has no bias to train: use LoraConfig or IA3Config"):
        get_peft_model(LlamaModel(LlamaConfig(**BERT), rng=0), BitFitConfig())
