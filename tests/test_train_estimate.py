"""What a run is said to need is what it needs: sizes that are published, and memory that is measured."""

import json
from dataclasses import replace

import pytest

from minigrad import cli
from minigrad.distributed.network import LINKS, Network
from minigrad.pretrained import BertConfig, GPT2Config, ResNetConfig
from minigrad.tasks import task_class
from minigrad.train import TrainingArguments, estimate

NETWORK = Network(LINKS["nvlink"], LINKS["infiniband400"])
DEVICE = estimate.DEVICES["a100"]
BERT = BertConfig(vocab_size=8000, hidden_size=384, intermediate_size=1536, num_hidden_layers=4, num_attention_heads=6)
GPT = GPT2Config(vocab_size=8000, n_embd=384, n_layer=4, n_head=6, bos_token_id=0, eos_token_id=0)


@pytest.mark.parametrize(
    ("name", "parameters"), [("bert-base", 109_514_298), ("gpt2", 124_439_808), ("llama-7b", 6_738_415_616)]
)
def test_published_models_have_their_published_sizes_and_take_no_memory(name, parameters):
    model = estimate.sized(*estimate.config_named(name, None))
    assert sum(p.size for p in model.parameters()) == parameters
    assert not any(any(p.data.strides) for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "task", "batch", "length", "recompute"),
    [(BERT, "text-classification", 8, 100, False), (GPT, "text-generation", 4, 128, True)],
)
def test_activations_are_those_of_the_model_itself(config, task, batch, length, recompute, monkeypatch):
    args = TrainingArguments(per_device_train_batch_size=batch, gradient_checkpointing=recompute)
    monkeypatch.setattr(estimate, "SMALL", 5e9)  # so that it is extrapolated, though the model is small
    found = estimate.activation_bytes(config, task_class(task), args, length)
    expected = estimate.measured(config, task_class(task), args, length, 1.0)
    for name in found._fields:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=0.1), name


def test_a_parabola_is_carried_on():
    assert estimate.at_one([3 * x * x - 2 * x + 7 for x in (0.1, 0.2, 0.3)], 0.1) == pytest.approx(8)


def told(ranks, stage, **options):
    args = TrainingArguments(zero_stage=stage, **options)
    activations = estimate.Activations(500.0, 1000.0, 600.0)
    model = estimate.sized(GPT, task_class("text-generation"))
    return estimate.estimate(model, args, activations, ranks, 0.01, NETWORK)


def test_stages_share_out_what_they_say():
    size = told(1, 0).weights
    assert told(1, 0).state == told(4, 0).state == pytest.approx(2 * size, rel=1e-3)
    assert told(4, 1).state == pytest.approx(2 * size / 4, rel=0.3) and told(4, 1).gradients == size
    assert told(4, 2).gradients == told(4, 1).state / 2
    assert told(1024, 1).state > 2 * size / 20, "no rank has less than the largest parameter of all takes"
    assert told(4, 0, optim="sgd").state == 0


def test_communication_is_that_of_the_network_and_hidden_up_to_the_last_sum():
    assert told(1, 0).communication == told(1, 0).hidden == 0
    two = told(2, 0)
    assert 0 < two.hidden < two.communication and two.step == two.compute + two.communication - two.hidden
    assert two.communication == pytest.approx(two.weights / LINKS["nvlink"].bandwidth, rel=0.5)
    assert told(2, 1).communication > two.communication


def test_more_texts_take_more_time_and_16_bits_less():
    args = TrainingArguments(per_device_train_batch_size=4)
    model = estimate.sized(BERT, task_class("fill-mask"))
    once = estimate.operations(model, BERT, args, 64)
    linear = sum(p.size for name, p in model.named_parameters() if p.ndim == 2 and "embeddings" not in name)
    linear += BERT.vocab_size * BERT.hidden_size  # the head, which shares the embeddings
    attention = BERT.num_hidden_layers * 2 * 64 * BERT.hidden_size
    assert once == pytest.approx(4 * 64 * 3 * 2 * (linear + attention), rel=0.02)
    assert estimate.operations(model, BERT, replace(args, gradient_checkpointing=True), 64) == pytest.approx(
        once * 4 / 3
    )
    half = replace(args, bf16=True)
    assert estimate.speed_of(DEVICE, half) > estimate.speed_of(DEVICE, args)


def test_what_cannot_be_estimated_is_refused():
    args = TrainingArguments()
    with pytest.raises(ValueError, match="the model takes texts of up to 512 tokens, not 600"):
        estimate.activation_bytes(BERT, task_class("fill-mask"), args, 600)
    with pytest.raises(ValueError, match="kind 'resnet' cannot be estimated; expected a Transformer of texts"):
        estimate.activation_bytes(ResNetConfig(), task_class("image-classification"), args, 8)
    for given in ({"device": "h300"}, {"link": "string"}, {"ranks": "0"}, {"ranks": "two"}):
        usual = {"task": None, "ranks": "1", "batch_size": 1, "length": 8, "device": "a100", "link": None}
        with pytest.raises(ValueError, match="expected"):
            estimate.report("gpt2", **usual | {"link_inside": None, "ranks_per_machine": 8} | given)


@pytest.mark.slow
def test_the_command_prints_a_line_for_each_number_of_ranks(tmp_path, capsys):
    sizes = {
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": 1,  # which is no stack to recompute
        "num_attention_heads": 2,
        "vocab_size": 99,
    }
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    assert cli.main(["plan", str(tmp_path), "--ranks", "1,8", "--batch", "2", "--length", "16", "--device", "t4"]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.split() and line.split()[0] in ("1", "8")]
    assert [row[0] for row in rows] == ["1", "8"] and "text-classification" in out and "16 GiB" in out
    assert cli.main(["plan", str(tmp_path), "--device", "t5"]) == 2
    assert "device is 't5'; expected here (this machine) or one of" in capsys.readouterr().err
