"""Dates written in words to dates in numbers, by a small T5 begun at random: files, scores, answers."""

import datetime
import json
import random

import numpy as np
import pytest

from minigrad import cli, metrics
from minigrad.pretrained import T5Config, T5ForConditionalGeneration, train_tokenizer
from minigrad.tasks.text_to_text import Pair, TextToText
from minigrad.train import finetune, pipeline

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.slow


def dates(number):
    """Made here, with a seed: such as ("7 March 2019", "2019-03-07")."""
    days = random.Random(0).sample(range(36_500), number)
    found = [datetime.date(1950, 1, 1) + datetime.timedelta(day) for day in days]
    return [(f"{date.day} {date:%B} {date.year}", date.isoformat()) for date in found]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("t5")
    tokenizer = train_tokenizer([" ".join(pair) for pair in dates(300)], directory, "char", 80)
    sizes = {"d_model": 48, "d_kv": 12, "d_ff": 96, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 4}
    config = T5Config(vocab_size=len(tokenizer), dropout_rate=0.0, **sizes)
    T5ForConditionalGeneration(config, rng=0).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def trained(tmp_path_factory, model):
    root = tmp_path_factory.mktemp("dates")
    lines = [json.dumps({"source": source, "target": target}) for source, target in dates(500)]
    (root / "dates.jsonl").write_text("\n".join(lines))
    out = root / "out"
    options = {
        "per_device_train_batch_size": 16,
        "max_length": 24,
        "max_target_length": 12,
        "num_train_epochs": 5,
        "learning_rate": 5e-3,
    }
    return out, finetune(model, root / "dates.jsonl", output=out, task="text2text-generation", **options)


def test_dates(trained):
    out, trainer = trained
    best = trainer.best
    assert best["eval_loss"] < 1.6 and 0 <= best["eval_exact_match"] <= 1  # 3.7 without learning
    write = pipeline("text2text-generation", out)
    sources, targets = zip(*dates(500)[:20])
    answers = [answer["generated_text"] for answer in write(list(sources))]
    assert sum(answer[:2] in ("19", "20") for answer in answers) >= 15 and max(map(len, answers)) <= 12
    assert sum(a[:2] == b[:2] for a, b in zip(answers, targets)) >= 10
    (alone,) = write(sources[0])
    assert alone["generated_text"] == answers[0]
    (short,) = write(sources[0], max_new_tokens=4)
    assert answers[0].startswith(short["generated_text"]) and len(short["generated_text"]) <= 4


def test_scores_are_those_of_what_is_written(trained, tmp_path):
    out, _ = trained
    pairs = dates(500)[:12]
    scores = pipeline(None, out).evaluate(pairs)
    written = [answer["generated_text"] for answer in pipeline(None, out)([source for source, _ in pairs])]
    targets = [target for _, target in pairs]
    assert scores["exact_match"] == np.mean([a == b for a, b in zip(written, targets)])
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    assert scores["chrf"] == pytest.approx(metrics.chrf(targets, written))
    assert scores["bleu"] == pytest.approx(metrics.bleu(targets, written)) and scores["rougeL"] >= 0


def test_the_command_line(trained, tmp_path, capsys):
    out, _ = trained
    assert cli.main(["generate", str(out), "7 March 2019"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "7 March 2019" and len(told) == 2
    (tmp_path / "a.csv").write_text("question;answer\n7 March 2019;2019-03-07\n")
    columns = ["--source-column", "question", "--target-column", "answer"]
    assert cli.main(["evaluate", str(out), "--file", str(tmp_path / "a.csv"), *columns]) == 0
    assert capsys.readouterr().out.startswith("text2text-generation  loss")
    assert cli.main(["predict", str(out), "--file", str(tmp_path / "a.csv"), "--source-column", "question"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "7 March 2019"


def test_targets_end_and_sources_have_their_prefix(model):
    task = TextToText(source_prefix="1 ", max_length=24, max_target_length=6)
    t5 = T5ForConditionalGeneration.from_pretrained(model)
    task.attach(t5, task.load_processor(model))
    data = task.encode([Pair("7 May 1950", "1950"), Pair("8 May 1950", "1950-05-08")])
    end = task.processor.eos_token_id
    assert data[0]["labels"][-1] == end and data[0]["labels"].count(end) == 1 and len(data[1]["labels"]) == 6
    assert task.processor.decode(data[0]["input_ids"]) == "1 7 May 1950"
    later = TextToText(max_length=24)  # remembered by the model
    later.attach(t5, task.processor)
    assert later.encode([Pair("7 May 1950", None)], labelled=False)[0]["input_ids"] == data[0]["input_ids"]
    assert later.longest == 6
    batch = task.collator()([data[0], data[1]])
    assert batch["labels"].shape == (2, 6) and batch["labels"][0, -1] == -100


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.jsonl", '{"source": "a"}\n', "a.jsonl:1: no target column"),
        ("a.jsonl", '{"source": "a", "target": "b"}\n{"source": "", "target": "b"}\n', "a.jsonl:2: the source is ''"),
        ("a.jsonl", '{"source": "a", "target": 5}\n', "a.jsonl:1: the target is 5; expected a text"),
        ("a.csv", "source,target\na,b,c\n", "a.csv:2: expected 2 fields"),
        ("a.csv", "source,target\n", "a.csv:1: the file holds no example; expected a source and a target"),
        ("a.docx", "", "a.docx: cannot tell the format from the name"),
    ],
)
def test_damaged_files_are_refused_and_nothing_is_written(model, tmp_path, capsys, name, content, text):
    (tmp_path / name).write_text(content)
    args = ["finetune", str(model), "--task", "text2text-generation", "--train", str(tmp_path / name)]
    assert cli.main([*args, "--output", str(tmp_path / "out")]) == 2
    assert text in capsys.readouterr().err.splitlines()[-1] and not (tmp_path / "out").exists()
