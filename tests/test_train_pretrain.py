import json

import numpy as np
import pytest
import tiny_bert

from minigrad import cli
from minigrad.pretrained import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    GPT2Config,
    ResNetConfig,
)
from minigrad.train import finetune, pretrain

pytest.importorskip("tokenizers")
SIZES = {
    "vocab_size": 120,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
}
QUICK = {"max_length": 16, "num_train_epochs": 2, "learning_rate": 1e-2, "report_to": "none", "disable_tqdm": True}
WORDS = " ".join([*tiny_bert.WORDS.values(), tiny_bert.OTHERS]).split()


@pytest.fixture
def prose(tmp_path):
    """Two files whose lines are words in a fixed order, begun anywhere: each word tells the next."""
    rng, folder = np.random.default_rng(0), tmp_path / "prose"
    folder.mkdir()
    for name in ("one.txt", "two.txt"):
        lines = [" ".join(WORDS[(at + i) % len(WORDS)] for i in range(12)) for at in rng.integers(0, 20, 120)]
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_begun_from_a_configuration_and_then_fine_tuned(prose, tmp_path):
    out = tmp_path / "out"
    trainer = pretrain(BertConfig(**SIZES), [prose / "one.txt", prose / "two.txt"], output=out, **QUICK)
    first, last = trainer.history[0]["loss"], trainer.best["eval_loss"]
    assert last < 0.8 * first
    tokenizer = AutoTokenizer.from_pretrained(out)
    config = AutoModelForMaskedLM.from_pretrained(out).config
    assert tokenizer.vocab_size == config.vocab_size <= 120 and config.pad_token_id == tokenizer.pad_token_id
    finetune(out, tiny_bert.examples(24), output=tmp_path / "classes", num_train_epochs=1, disable_tqdm=True)
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "classes").config.num_labels == 3


@pytest.mark.slow
def test_it_is_finetune_of_what_is_continued(prose, tmp_path):
    model = tiny_bert.save_model(tmp_path / "model")
    options = {**QUICK, "num_train_epochs": 1, "seed": 3}
    pretrain(model, prose, output=tmp_path / "a", **options)
    finetune(model, prose, output=tmp_path / "b", task="fill-mask", **options)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_causal_model_from_a_directory_without_weights(prose, tmp_path):
    source = tmp_path / "sizes"
    source.mkdir()
    entries = GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, n_positions=32).to_dict()
    (source / "config.json").write_text(json.dumps(entries))
    trainer = pretrain(source / "config.json", prose / "one.txt", output=tmp_path / "out", **QUICK)
    assert type(trainer.model).__name__ == "GPT2LMHeadModel"
    assert trainer.model.config.eos_token_id == AutoTokenizer.from_pretrained(tmp_path / "out").eos_token_id


@pytest.mark.slow
def test_a_run_that_was_begun_resumes_exactly(prose, tmp_path, capsys):
    config = tmp_path / "sizes"
    BertConfig(**SIZES)
    config.mkdir()
    (config / "config.json").write_text(json.dumps(BertConfig(**SIZES).to_dict()))
    text = [str(prose / "one.txt")]
    command = ["pretrain", str(config), "--text", *text, "--output", str(tmp_path / "out"), "--max-length", "16"]
    assert cli.main([*command, "--epochs", "1"]) == 0
    assert cli.main(["verify-resume", str(tmp_path / "out"), "--steps", "2"]) == 0, capsys.readouterr()


def test_another_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match="family resnet does not learn from texts alone; expected one of .*bert"):
        pretrain(ResNetConfig(), "a.txt", output=tmp_path / "out")


def test_an_output_that_holds_a_model_is_left_alone(prose, tmp_path):
    out = tiny_bert.save_model(tmp_path / "out")
    with pytest.raises(FileExistsError, match="already holds a model"):
        pretrain(BertConfig(**SIZES), prose, output=out)
    assert not (out / ".begun").exists()
