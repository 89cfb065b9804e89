"""GPT-2: what it is made of, what a file of it holds, and what it refuses.

(Its numbers beside transformers': tests/parity.)
"""

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim
from minigrad.pretrained import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
)

reference = pytest.importorskip("safetensors.numpy")
load_file, save_file = reference.load_file, reference.save_file

TINY = {
    "vocab_size": 40,
    "n_positions": 12,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "bos_token_id": None,
    "eos_token_id": None,
}
IDS = np.random.default_rng(0).integers(1, 40, (2, 6))


def model(kind=GPT2LMHeadModel, **config):
    return kind(GPT2Config(**TINY | config), rng=0).eval()


def test_no_token_sees_what_comes_after_it():
    lm, changed = model(), IDS.copy()
    changed[:, 4] = 0
    before, after = lm(IDS).logits.numpy(), lm(changed).logits.numpy()
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(-1).all()


def test_the_file_holds_matrices_turned_and_the_tied_one_once(tmp_path):
    lm = model()
    lm.save_pretrained(tmp_path)
    file = load_file(tmp_path / "model.safetensors")
    assert file["transformer.h.0.attn.c_attn.weight"].shape == (16, 48) and "lm_head.weight" not in file
    np.testing.assert_array_equal(
        file["transformer.h.1.mlp.c_proj.weight"].T, lm.transformer.h[1].mlp.c_proj.weight.numpy()
    )
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.transformer.wte.weight
    np.testing.assert_array_equal(again(IDS).logits.numpy(), lm(IDS).logits.numpy())
    np.testing.assert_allclose(
        AutoModel.from_pretrained(tmp_path)(IDS).last_hidden_state.numpy(),
        lm.transformer(IDS).last_hidden_state.numpy(),
        atol=1e-6,
    )


def test_masks_that_are_called_biases_are_passed_over(tmp_path):
    model().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    masks = {f"transformer.h.{i}.attn.bias": np.tri(12, dtype=np.float32)[None, None] for i in range(2)}
    save_file(load_file(file) | masks, file, {"format": "pt"})
    assert not AutoModelForCausalLM.from_pretrained(tmp_path).load_report.unused


def test_a_new_head_on_published_weights(tmp_path):
    model().save_pretrained(tmp_path)
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3, pad_token_id=0, rng=0)
    assert classifier.load_report.newly_initialised == ["score.weight"]
    padded = np.pad(IDS, ((0, 0), (0, 3)))
    logits = classifier(IDS).logits.numpy()
    np.testing.assert_allclose(classifier(padded, padded > 0).logits.numpy(), logits, atol=1e-6)
    assert logits.shape == (2, 3)


def test_first_weights_are_those_of_the_paper():
    lm = GPT2LMHeadModel(GPT2Config(**TINY | {"n_embd": 128, "n_layer": 8}), rng=0)
    deviation = {name: float(p.numpy().std()) for name, p in lm.named_parameters() if p.ndim == 2}
    assert 0.018 < deviation["transformer.h.0.attn.c_attn.weight"] < 0.022
    assert 0.0045 < deviation["transformer.h.0.mlp.c_proj.weight"] < 0.0055  # 0.02 / √(2 · 8)


def test_it_learns():
    lm = model().train()
    optimizer = optim.AdamW(lm.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = lm(IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] > 3 and losses[-1] < 1


@pytest.mark.parametrize("steps", [[6], [1] * 6, [3, 3], [2, 1, 3]])
def test_reading_in_parts(steps):
    lm, parts, at = model(), [], 0
    mask = np.array([[0, 0, 1, 1, 1, 1], [1] * 6])
    with mg.no_grad():
        cache = lm.new_cache(6)
        for n in steps:
            parts.append(lm(IDS[:, at : at + n], mask[:, : at + n], past_key_values=cache).logits.numpy())
            at += n
        whole = lm(IDS, mask).logits.numpy()
    np.testing.assert_allclose(np.concatenate(parts, 1)[mask > 0], whole[mask > 0], atol=1e-5)


def test_logits_to_keep():
    lm = model()
    np.testing.assert_allclose(lm(IDS, logits_to_keep=2).logits.numpy(), lm(IDS).logits.numpy()[:, -2:], atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"n_head": 3}, "n_embd 16 is not a multiple of n_head 3"),
        ({"activation_function": "jump"}, "activation_function 'jump'"),
        ({"n_layer": 0}, "n_layer is 0"),
        ({"rest": {"add_cross_attention": True}}, "add_cross_attention"),
    ],
)
def test_configurations_that_make_no_sense(wrong, told):
    with pytest.raises(ValueError, match=told):
        GPT2Config(**TINY | wrong)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: model()(np.ones((1, 13), int)), ValueError, "reads at most 12"),
        (lambda: model()([[40]]), IndexError, "id 40"),
        (lambda: model()(IDS, labels=IDS[:, :5]), ValueError, "labels have shape"),
        (lambda: model(GPT2ForSequenceClassification)(IDS), ValueError, "pad_token_id=tokenizer.pad_token_id"),
    ],
)
def test_inputs_that_do_not_fit(call, error, told):
    with pytest.raises(error, match=told):
        call()
