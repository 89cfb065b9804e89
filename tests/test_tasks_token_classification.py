"""Entities from a file to a model, its scores and its answers.  (The data are made from the manual's text by rules.)"""

import json

import numpy as np
import pytest
import tiny_bert
import tiny_tokenizers

from minigrad.cli import main
from minigrad.metrics import entities_of, entity_scores
from minigrad.pretrained import AutoConfig, AutoModel, BertConfig, BertModel, RobertaConfig
from minigrad.tasks.token_classification import TokenClassification
from minigrad.train import finetune, pipeline

pytestmark = pytest.mark.slow  # it trains models

pytest.importorskip("tokenizers")
QUICK = {"task": "token-classification", "learning_rate": 2e-2, "per_device_train_batch_size": 8}


def sentences(marks="BI"):
    """Texts whose words of a class are entities: neighbours of one class are one."""
    made = []
    for text, label in tiny_bert.examples(48):
        words, own = text.split(), tiny_bert.WORDS[label].split()
        inside = [word in own for word in words]
        tags = []
        for i, is_own in enumerate(inside):
            first, last = not (i and inside[i - 1]), not (i + 1 < len(words) and inside[i + 1])
            mark = marks[0] if first else marks[1]
            if len(marks) == 4 and last:
                mark = "S" if first else "E"
            tags.append(f"{mark}-{label}" if is_own else "O")
        made.append((words, tags))
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_bert.save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "out"
    finetune(base, sentences(), output=out, num_train_epochs=14, **QUICK)
    return out


def test_a_list_of_sentences_becomes_a_model_that_finds_entities(tuned):
    assert AutoConfig.from_pretrained(tuned).id2label[0] == "O"
    report = (tuned / "evaluation.txt").read_text()
    assert "micro average" in report and "accuracy of the words" in report
    pipe = pipeline("ner", tuned)
    scores = pipe.evaluate(sentences())
    assert scores["f1"] > 0.9 and scores["accuracy"] > 0.9 and 0 < scores["loss"] < 1
    assert {kind: counts[1] for kind, counts in scores["counts"].items()} == {"cooking": 40, "music": 40, "sailing": 40}


def test_scores_are_those_of_the_answers(tuned):
    pipe, true = pipeline("token-classification", tuned), sentences()
    found = []
    for words, _ in true:
        (answer,) = pipe(words, is_split_into_words=True, ignore_labels=[])
        assert [one["word"] for one in answer] == words  # each word is one token here
        found.append([one["entity"] for one in answer])
    expected = entity_scores([tags for _, tags in true], found)
    scores = pipe.evaluate(true)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


def test_texts_longer_than_the_model_are_read_in_windows(tuned):
    whole = pipeline("ner", tuned)
    long = " of ".join(" ".join(words) for words, _ in sentences())  # hundreds of words; the model reads 128 tokens
    found = whole(long, aggregation_strategy="first")
    assert len(found) > 60 and [one["start"] for one in found] == sorted(one["start"] for one in found)
    assert all(long[one["start"] : one["end"]] == one["word"] for one in found) and found[-1]["end"] > 0.9 * len(long)
    short = pipeline("ner", tuned, max_length=6)  # 4 words, so that each window begins where a phrase does
    assert short.evaluate(sentences())["f1"] > 0.9
    tokens = short(long, ignore_labels=[])
    assert [one["word"] for one in tokens] == long.split()


def test_a_word_longer_than_the_model_counts_once(tmp_path):
    """The windows within it have no label that counts, and the rows of the others stay theirs."""
    base = tiny_tokenizers.word_pieces(tmp_path)
    config = BertConfig(
        vocab_size=len(tiny_tokenizers.WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    BertModel(config, rng=0).save_pretrained(base)
    rows = [(["hello", "b" * 60, "world"], ["B-A", "O", "B-B"]), (["world", "hello"], ["O", "B-A"])]
    trainer = finetune(base, rows, rows[::-1], output=tmp_path / "out", num_train_epochs=1, max_length=8, **QUICK)
    task, dataset = trainer.task, trainer.eval_dataset
    assert all(any(label != -100 for label in labels) for labels in dataset.columns["label"])
    assert len(dataset) < len(task.encode(dataset.examples, labelled=False)) > 8
    pipe = pipeline(model=tmp_path / "out", max_length=8)
    scores = [pipe.evaluate(rows, batch_size=size) for size in (1, 2, 64)]
    for one in scores[1:]:
        assert {name: one[name] for name in ("f1", "accuracy", "counts")} == {
            name: scores[0][name] for name in ("f1", "accuracy", "counts")
        }


def test_strategies(tuned):
    pipe = pipeline("ner", tuned)
    words, tags = sentences()[-6]
    text, kinds = " ".join(words), [kind for kind, _, _ in entities_of(tags)]
    for strategy in ("simple", "first", "average", "max"):
        groups = [one["entity_group"] for one in pipe(text, aggregation_strategy=strategy)]
        assert groups == kinds
    assert pipe([text], aggregation_strategy="first") == [pipe(text, aggregation_strategy="first")]
    with pytest.raises(ValueError, match="aggregation_strategy is 'last'; expected one of none, simple, first"):
        pipe(text, aggregation_strategy="last")
    with pytest.raises(TypeError, match="text 2 is '3', a int; expected a str that is not empty"):
        pipe([text, 3])


def test_bioes(base, tmp_path):
    trainer = finetune(base, sentences("BIES"), output=tmp_path / "out", num_train_epochs=14, **QUICK)
    assert trainer.best["eval_f1"] > 0.5
    words, tags = sentences("BIES")[6]
    found = pipeline(model=tmp_path / "out")(" ".join(words), aggregation_strategy="first")
    assert [one["word"] for one in found] == [" ".join(words[a : b + 1]) for _, a, b in entities_of(tags)]


def test_the_models_own_order_of_tags_stays(tuned, tmp_path, capsys):
    two = [(words, tags) for words, tags in sentences() if not any(tag.endswith("music") for tag in tags)]
    before = AutoConfig.from_pretrained(tuned).id2label
    more = finetune(tuned, two, output=tmp_path / "out", num_train_epochs=1, **QUICK | {"learning_rate": 1e-9})
    assert more.model.config.id2label == before and more.best["eval_f1"] > 0.8
    assert "newly initialised" not in capsys.readouterr().out


def test_word_pieces_and_byte_pairs(tmp_path):
    """A word's label is that of its first token; RoBERTa's tokenizer takes each word with the space before it."""
    base = tiny_tokenizers.byte_pairs(tmp_path, "roberta")
    task = TokenClassification(max_length=16)
    tokenizer = task.load_processor(base)
    config = RobertaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=20,
        type_vocab_size=1,
    )
    AutoModel.from_config(config, rng=0).save_pretrained(base)
    rows = [(["hello", "world", "xyz"], ["B-A", "O", "B-B"]), (["world", "hello"], ["O", "B-A"])] * 4
    trainer = finetune(base, rows, rows, output=tmp_path / "out", num_train_epochs=1, max_length=16, **QUICK)
    item = trainer.train_dataset[0]
    names = trainer.model.config.id2label
    tokens = tokenizer.convert_ids_to_tokens(item["input_ids"])
    labelled = {token: names[i] for token, i in zip(tokens, item["label"]) if i != -100}
    assert list(labelled.values()) == ["B-A", "O", "B-B"] and all(token.startswith("Ġ") for token in labelled)
    found = pipeline(model=tmp_path / "out")("hello world", ignore_labels=[])
    assert [(one["start"], one["end"]) for one in found] == [(0, 5), (6, 11)]


@pytest.mark.parametrize(
    "rows, told",
    [
        ([("Ada came", ["O"])], "example 1 is .*; expected a pair of lists, words and as many tags"),
        ([(["Ada"], ["O", "O"])], "expected a pair of lists, words and as many tags"),
        ([(["Ada"], ["PER"])], 'example 1: the tag is "PER"; expected O, or B-'),
        ([(["Ada", ""], ["O", "O"])], "example 1: a word is ''; expected a text that is not empty"),
        (
            [(["Ada"], ["O"]), (["Eve"], ["O"])],
            "none of the 1 training texts has an entity; expected tags such as B-PER",
        ),
        ([], "the list of examples is empty"),
        ([(["Ada"], ["B-PER"])], "none of 1 examples can be held out: all are one text"),
    ],
)
def test_what_cannot_be_learnt_from(base, tmp_path, rows, told):
    with pytest.raises(ValueError, match=told):
        finetune(base, rows, output=tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore")
def test_tags_that_only_the_evaluation_has(base, tmp_path):
    rows = [(["oven", "salt"], ["B-X", "O"])]
    with pytest.raises(ValueError, match="the tag 'B-Y' .of 'oven soup'. is not among the 2 training tags O, B-X; add"):
        finetune(base, rows, [(["oven", "soup"], ["B-Y", "O"])], output=tmp_path / "out", **QUICK)
    with pytest.raises(ValueError, match="scheme is 'BILOU'; expected one of 'BIO', 'BIOES'"):
        finetune(base, rows, output=tmp_path / "out", scheme="BILOU", **QUICK)


def test_warnings(base, tmp_path, recwarn):
    rows = [(["oven", "salt"], ["B-x", "B-X"]), (["the", "mast"], ["O", "B-y"])]
    finetune(base, rows, rows[:1], output=tmp_path / "out", num_train_epochs=1, **QUICK)
    told = [str(warning.message) for warning in recwarn if warning.category is UserWarning]
    assert "the labels 'X' and 'x' differ only by case or white space" in " ".join(told)
    assert "1 of 1 evaluation texts are also training texts" in " ".join(told)
    assert "there is no evaluation example of y" in told


def test_the_command_line(base, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["\n".join(f"{word} {tag}" for word, tag in zip(*row)) for row in sentences()]
    (tmp_path / "train.conll").write_text("\n\n".join(lines) + "\n")
    typed = f"finetune {base} --task token-classification --train train.conll --output out --epochs 5 --lr 2e-2"
    assert main([*typed.split(), "--batch-size", "8"]) == 0
    assert main("evaluate out --file train.conll --output scores.json".split()) == 0
    told = capsys.readouterr().out
    assert "token-classification  loss " in told and json.loads((tmp_path / "scores.json").read_text())["f1"] > 0.3
    assert main(["predict", "out", "the oven flour and the violin"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("the oven flour and the violin\n") and "%  cooking: " in told
    assert main("predict out --file train.conll --output answers.jsonl".split()) == 0
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 48 and set(rows[-1]["entities"][0]) == {"entity_group", "score", "word", "start", "end"}
    assert main(["predict", "out", "oven", "--context", "x"]) == 2
    assert "token-classification has no --context: leave it out" in capsys.readouterr().err
    assert main([*typed.split(), "--text-column", "x"]) == 2
    assert (
        "token-classification has no --text-column; expected one of --max-length, --scheme" in capsys.readouterr().err
    )


def test_entities_of_the_manual(tmp_path):
    """Names of exceptions and methods, and versions, found by rules, of which a model learns most from 150 texts."""
    made_models = pytest.importorskip("made_models")
    base = made_models.manual_reader(tmp_path / "base")
    rows = made_models.made_data.entities(200)
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = QUICK | {"learning_rate": 5e-3, "num_train_epochs": 8, "max_length": 96}
    trainer = finetune(base, tmp_path / "train.jsonl", output=tmp_path / "out", **given)
    assert trainer.best["eval_f1"] > 0.5 and np.isfinite(trainer.best["eval_loss"])
