"""Language models learnt from the standard library's prose, in models begun at random, to numbers and to text."""

import json
import math
from pydoc_data.topics import topics

import numpy as np
import pytest

from minigrad import cli
from minigrad.data.blocks import TextSpan
from minigrad.pretrained import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    train_tokenizer,
)
from minigrad.tasks.language_modeling import CausalLanguageModeling, MaskedLanguageModeling, WordBlocks
from minigrad.train import finetune, pipeline

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.slow
PROSE = [text for _, text in sorted(topics.items())][:12]
QUICK = {"num_train_epochs": 2, "learning_rate": 3e-3, "max_length": 64, "per_device_train_batch_size": 16}


@pytest.fixture(scope="module")
def prose(tmp_path_factory):
    path = tmp_path_factory.mktemp("prose") / "prose.txt"
    path.write_text("\n\n".join(PROSE), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    directory = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_tokenizer(PROSE, directory, "bpe", 400)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_embd=48, n_layer=2, n_head=4)
    GPT2LMHeadModel(config, rng=0).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bert")
    tokenizer = train_tokenizer(PROSE, directory, "wordpiece", 400, lowercase=True)
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **sizes)
    BertForMaskedLM(config, rng=0).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def causal(tmp_path_factory, gpt, prose):
    out = tmp_path_factory.mktemp("out") / "causal"
    return out, finetune(gpt, prose, output=out, task="text-generation", **QUICK)


def test_a_causal_language_model(causal, prose):
    out, trainer = causal
    best = trainer.best
    assert best["eval_loss"] < 5.2  # log 400 = 6.0 without learning
    assert best["eval_perplexity"] == pytest.approx(math.exp(best["eval_loss"]), rel=1e-4)
    data, text = trainer.eval_dataset, prose.read_bytes()
    bits = best["eval_loss"] * data.tokens / data.bytes / math.log(2)
    assert best["eval_bits_per_byte"] == pytest.approx(bits, rel=1e-4) and 1 < bits < 4
    assert 0.15 < data.bytes / len(text) <= 0.2 and trainer.train_dataset.bytes + data.bytes == len(text)
    assert "bits_per_byte" in (out / "evaluation.txt").read_text()


def test_text_is_written_on(causal, capsys):
    out, _ = causal
    write = pipeline("text-generation", out)
    texts = ["The assignment", "A much longer text, in which the statement"]
    answers = write(texts, max_new_tokens=8)
    assert [answer[0]["generated_text"].startswith(text) for answer, text in zip(answers, texts)] == [True, True]
    (alone,) = write(texts[0], max_new_tokens=8)
    assert alone["generated_text"] == answers[0][0]["generated_text"]
    (rest,) = write(texts[0], max_new_tokens=8, return_full_text=False)
    assert texts[0] + rest["generated_text"] == alone["generated_text"]
    drawn = [write(texts[0], max_new_tokens=8, do_sample=True, seed=s)[0]["generated_text"] for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert cli.main(["generate", str(out), texts[0], "--max-new-tokens", "8"]) == 0
    assert capsys.readouterr().out.strip() == alone["generated_text"].strip()


def test_the_loss_is_that_of_the_model_block_by_block(causal, tmp_path):
    out, _ = causal
    (tmp_path / "a.txt").write_text(PROSE[3], encoding="utf-8")
    scores = pipeline(None, out).evaluate(tmp_path / "a.txt", batch_size=4)
    task = CausalLanguageModeling(max_length=64)
    model = AutoModelForCausalLM.from_pretrained(out)
    task.attach(model, task.load_processor(out))
    blocks = task.encode([TextSpan(tmp_path / "a.txt")])
    model.eval()
    ids = [blocks[i]["input_ids"][None] for i in range(len(blocks))]
    each = [float(model(row, labels=row).loss.numpy()) for row in ids]
    count = [row.size - 1 for row in ids]
    assert scores["loss"] == pytest.approx(np.average(each, weights=count), rel=1e-5)
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"]), rel=1e-5)


@pytest.mark.parametrize("whole", [False, True])
def test_a_masked_language_model(bert, prose, tmp_path, whole, capsys):
    out = tmp_path / "masked"
    trainer = finetune(
        bert, prose, output=out, task="fill-mask", whole_word_mask=whole, **(QUICK | {"num_train_epochs": 1})
    )
    best = trainer.best
    assert best["eval_loss"] < 5.8 and best["eval_accuracy"] > 0.02
    assert best["eval_perplexity"] == pytest.approx(math.exp(best["eval_loss"]), rel=1e-4)
    again = trainer.evaluate()
    assert again["eval_loss"] == pytest.approx(best["eval_loss"], rel=1e-6)  # the same tokens are masked
    if whole:
        return
    fill = pipeline("fill-mask", out)
    (first, *others) = answers = fill("The [MASK] is a statement.", top_k=3)
    assert len(answers) == 3 and first["score"] >= others[0]["score"] and isinstance(first["token"], int)
    assert first["token_str"] in first["sequence"] and "[CLS]" not in first["sequence"]
    two = fill(["a [MASK] and a [MASK].", "one [MASK]"], top_k=2)
    assert [len(two[0]), len(two[0][0]), len(two[1])] == [2, 2, 2] and "[MASK]" in two[0][0][0]["sequence"]
    with pytest.raises(ValueError, match=r"text 1 has no \[MASK\]"):
        fill("nothing is missing")
    assert cli.main(["evaluate", str(out), "--file", str(prose)]) == 0
    assert capsys.readouterr().out.splitlines()[-5:]


def test_texts_from_other_sources(gpt, tmp_path):
    task = CausalLanguageModeling(max_length=32)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in PROSE[:6]))
    rows = task.read(tmp_path / "a.jsonl")
    assert rows == PROSE[:6]
    train, held_out = task.split(rows, 0.3, 0)
    assert len(train) + len(held_out) == 6 and not set(train) & set(held_out)
    (tmp_path / "b.txt").write_text("one\n" * 50)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.md").write_text("two\n" * 50)
    assert [span.path.name for span in task.read(tmp_path)] == ["b.txt", "c.md"]
    assert task.read(["a text", "another"]) == ["a text", "another"]
    task.attach(AutoModelForCausalLM.from_pretrained(gpt), task.load_processor(gpt))
    blocks = task.encode(["one two three " * 20, "four " * 20])
    path = blocks.path
    assert path.is_file() and "tokens in" in task.note(blocks)
    text = task.processor.decode(np.concatenate([blocks[i]["input_ids"] for i in range(len(blocks))]))
    assert text == "one two three " * 20 + "<|endoftext|>" + "four " * 20 + "<|endoftext|>"
    del blocks
    assert not path.exists()


def test_special_tokens_stand_around_each_block_of_a_masked_model(bert):
    from minigrad.pretrained import AutoModelForMaskedLM

    task = MaskedLanguageModeling(max_length=16)
    task.attach(AutoModelForMaskedLM.from_pretrained(bert), task.load_processor(bert))
    item = task.encode(PROSE[:2]).dataset[1]["input_ids"]
    tokens = task.processor.convert_ids_to_tokens(item)
    assert len(item) == 16 and tokens[0] == "[CLS]" and tokens[-1] == "[SEP]" and "[CLS]" not in tokens[1:]


def test_whole_words_by_the_marks_of_a_vocabulary(bert, gpt, tmp_path):
    def words(directory):
        task = CausalLanguageModeling(max_length=64)
        task.processor = task.load_processor(directory)
        blocks = task.packed(["unusual statements are unusual"])
        offsets = WordBlocks(blocks, task.processor)[0]["offset_mapping"]
        tokens = task.processor.convert_ids_to_tokens(blocks[0]["input_ids"])
        begins = [True, *(offsets[1:, 0] != offsets[:-1, 1])]
        found = []
        for token, new in zip(tokens, begins):
            found += [token] if new else []
            found[-1] += "" if new else token
        return [word.replace("##", "").replace("Ġ", "").replace("<|endoftext|>", "") for word in found]

    assert words(bert) == words(gpt) == ["unusual", "statements", "are", "unusual"]
    train_tokenizer(PROSE, tmp_path, "char", 200)
    with pytest.raises(ValueError, match="no token of the vocabulary begins with ##"):
        words(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.txt", b"fine\ncaf\xe9\n" * 30, "a.txt:2: not UTF-8"),
        ("a.txt", b"one single line", "has no line break after which the last 20% could be held out"),
        ("a.txt", b"", "a.txt is empty: expected text"),
        ("b.txt", None, "b.txt: no such file"),
        ("a.jsonl", b'{"txt": "a"}\n', "a.jsonl:1: no text column"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_and_nothing_is_written(gpt, tmp_path, capsys, name, content, text):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    args = ["finetune", str(gpt), "--task", "text-generation", "--train", str(tmp_path / name), "--max-length", "64"]
    assert cli.main([*args, "--output", str(tmp_path / "out")]) == 2
    assert text in capsys.readouterr().err.splitlines()[-1] and not (tmp_path / "out").exists()
