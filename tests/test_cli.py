"""What a user types and sees: the main job, and for bad input one line that helps, status 2 and no file touched."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import tiny_bert

import minigrad
from minigrad.cli import as_typed, context_of, main
from minigrad.train import Trainer, finetune

pytest.importorskip("tokenizers")
QUICK = ["--epochs", "2", "--batch-size", "8", "--lr", "1e-2"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory to work in that holds a model, `base`, and examples, `train.csv`."""
    monkeypatch.chdir(tmp_path)
    tiny_bert.save_model(tmp_path / "base")
    tiny_bert.save_csv(tmp_path / "train.csv", tiny_bert.examples())
    return tmp_path


@pytest.fixture
def tuned(place, capsys):
    """The same after a run, whose result is in `out`."""
    assert main(["finetune", "base", "--train", "train.csv", "--output", "out", *QUICK]) == 0
    capsys.readouterr()
    return place


def everything(place):
    return {path.relative_to(place): path.read_bytes() if path.is_file() else None for path in place.rglob("*")}


def test_finetune_then_predict(place, capsys):
    assert (
        main(["finetune", "base", "--train", "train.csv", "--output", "out", *QUICK, "--freeze", "bert.embeddings.**"])
        == 0
    )
    told = capsys.readouterr().out
    assert "verdict: 23 of 25 weights loaded" in told and "macro average" in told
    assert 'To use it, type: minigrad predict out "a sentence of your own"' in told
    assert main(["predict", "out", "the old violin", "salt", "--top-k", "2"]) == 0
    assert re.fullmatch(r"the old violin\n( +[\d.]+%  \w+\n){2}salt\n( +[\d.]+%  \w+\n){2}", capsys.readouterr().out)


def test_adapters_and_then_predict(place, capsys):
    assert main(["finetune", "base", "--train", "train.csv", "--output", "out", *QUICK, "--lora", "2"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"default +all-linear +7 ", told) and "classifier.weight" in told
    assert main(["predict", "out", "the old violin", "--top-k", "1"]) == 0


@pytest.mark.parametrize(("typed", "rate"), [("", 2e-4), ("--lora 8", 2e-3), ("--lora 8 --lr 0.5", 0.5)])
def test_the_usual_rate_depends_on_lora(typed, rate, place, monkeypatch):
    got = {}
    monkeypatch.setattr("minigrad.cli.finetune", wraps(finetune)(lambda **arguments: got.update(arguments)))
    assert main(["finetune", "base", "--train", "a.csv", "--output", "out", *typed.split()]) == 0
    assert got["learning_rate"] == rate


def test_every_option_reaches_its_argument(place, monkeypatch):
    got = {}
    monkeypatch.setattr("minigrad.cli.finetune", wraps(finetune)(lambda **arguments: got.update(arguments)))
    typed = (
        "finetune base --train a.csv --eval b.csv --output out --eval-fraction 0.3 --overwrite --text-column t "
        "--label-column l --max-length 9 --epochs 4 --batch-size 5 --gradient-accumulation-steps 6 --lr 0.7 "
        "--warmup-ratio 0.8 --weight-decay 0.9 --max-grad-norm 2 --logging-steps 3 --metric-for-best-model loss "
        "--seed 7 --fp16 --bf16 --find-lr --zero-stage 1 --resume true --save-strategy epoch "
        "--ignore-mismatched-sizes --freeze x --freeze y --lora 4"
    )
    assert main(typed.split()) == 0
    assert got == {
        "model_dir": "base",
        "train": "a.csv",
        "eval": "b.csv",
        "output": "out",
        "eval_fraction": 0.3,
        "overwrite": True,
        "text_column": "t",
        "label_column": "l",
        "max_length": 9,
        "num_train_epochs": 4,
        "per_device_train_batch_size": 5,
        "gradient_accumulation_steps": 6,
        "learning_rate": 0.7,
        "warmup_ratio": 0.8,
        "weight_decay": 0.9,
        "max_grad_norm": 2.0,
        "logging_steps": 3,
        "metric_for_best_model": "loss",
        "seed": 7,
        "fp16": True,
        "bf16": True,
        "find_lr": True,
        "zero_stage": 1,
        "resume_from_checkpoint": "true",
        "save_strategy": "epoch",
        "ignore_mismatched_sizes": True,
        "freeze": ["x", "y"],
        "lora": 4,
    }


@pytest.mark.parametrize(
    "typed",
    [
        "--num-epochs 4 --learning-rate 0.7 --per-device-train-batch-size 5",
        "--num_train_epochs=4 --learning_rate=0.7 --per_device_train_batch_size=5",
        "--num-train-epochs 4 --lr 0.7 --batch_size 5",
    ],
)
def test_options_may_have_the_names_of_their_arguments(monkeypatch, typed):
    got = {}
    monkeypatch.setattr("minigrad.cli.finetune", wraps(finetune)(lambda **arguments: got.update(arguments)))
    assert main([*"finetune base --train a_b.csv --output out_1 --eval=c_d.csv".split(), *typed.split()]) == 0
    names = "num_train_epochs", "learning_rate", "per_device_train_batch_size", "train", "output", "eval", "max_length"
    assert [got[name] for name in names] == [4, 0.7, 5, "a_b.csv", "out_1", "c_d.csv", 128]


def test_python_m_minigrad_is_the_command_line(tuned):
    """With its answers, its errors and its exit status."""

    def run(*typed):
        return subprocess.run(
            [sys.executable, "-m", *typed],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(Path(minigrad.__file__).parent.parent)},
        )

    done = run("minigrad", "predict", "out", "soup")
    assert done.returncode == 0 and re.fullmatch(r"soup\n( +[\d.]+%  \w+\n){3}", done.stdout)
    assert done.stdout == run("minigrad.cli", "predict", "out", "soup").stdout
    done = run("minigrad", "predict", "out")
    assert done.returncode == 2 and done.stderr == "minigrad: error: expected either texts in quotes or --file FILE\n"


def test_a_warning_is_one_line_on_the_error_channel(place, capsys):
    rows = (place / "train.csv").read_text()
    (place / "train.csv").write_text(rows.replace(",", ";"))
    assert main([*FINETUNE.split(), *QUICK, "--eval", "train.csv"]) == 0
    out, error = capsys.readouterr()
    assert [line for line in error.splitlines() if "minigrad" in line] == [
        "minigrad: warning: train.csv: the fields are separated by semicolons, not by commas",
        "minigrad: warning: 48 of 48 evaluation texts are also training texts: "
        "the scores on them say nothing about new texts",
    ]
    assert "macro average" in out and "warning" not in out


def test_predict_a_file(tuned, capsys):
    texts = [example.text for example in tiny_bert.examples(5)]
    (tuned / "texts.txt").write_text("\n".join(texts) + "\n\n")
    (tuned / "texts.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    assert main(["predict", "out", "--file", "texts.txt", "--output", "answers.jsonl"]) == 0
    assert capsys.readouterr().out == "5 answers written to answers.jsonl\n"
    assert main(["predict", "out", "--file", "texts.jsonl", "--text-column", "body"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answers == [json.loads(line) for line in (tuned / "answers.jsonl").read_text().splitlines()]
    assert [answer["text"] for answer in answers] == texts
    assert all(answer["label"] == max(answer["scores"], key=answer["scores"].get) for answer in answers)
    assert sum(answers[0]["scores"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "typed", ["predict --top-k 1 out soup mast", "predict out --top-k 1 soup mast", "predict out soup --top-k 1 mast"]
)
def test_texts_may_stand_before_and_after_options(tuned, capsys, typed):
    assert main(typed.split()) == 0
    assert re.fullmatch(r"soup\n +[\d.]+%  \w+\nmast\n +[\d.]+%  \w+\n", capsys.readouterr().out)


def test_what_questions_are_about_is_a_text_or_a_file_that_is_there(tmp_path):
    (tmp_path / "page.txt").write_text("Ada came.")
    assert context_of("Ada, and/or Eve") == "Ada, and/or Eve" and context_of("Ada") == "Ada"
    assert context_of(str(tmp_path / "page.txt")) == "Ada came." and context_of("Ada " * 999) == "Ada " * 999
    for name in (str(tmp_path), "no.txt", "no/page", str(tmp_path / "nothing")):
        with pytest.raises(FileNotFoundError, match=f"--context {name}: no such file; expected a text, or the name"):
            context_of(name)
    for nothing in (None, "", " "):
        with pytest.raises(ValueError, match="there is no context for the question: add --context TEXT or FILE"):
            context_of(nothing)


def test_version_and_help(capsys):
    for argv, told in (
        (["--version"], f"minigrad {minigrad.__version__}\n"),
        (["finetune", "--help"], "(default: 0.2)"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0 and told in capsys.readouterr().out


def truncate(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def configure(place, **entries):
    path = place / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def shards(**entries):
    """A way to spoil a place: an index of shards instead of one file of weights."""

    def spoil(place):
        (place / "base" / "model.safetensors").rename(place / "base" / "1.safetensors")
        write("base/model.safetensors.index.json", json.dumps(entries))(place)

    return spoil


def lose_the_tokenizer(place):
    (place / "base" / "vocab.txt").unlink()


def leave_only_a_pickle(place):
    (place / "base" / "model.safetensors").unlink()
    (place / "base" / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))


def write(name, text):
    """A way to spoil a place: put a file there."""

    def spoil(place):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(text.encode("latin1"))

    return spoil


FINETUNE = "finetune base --train train.csv --output new "
SPOILT = {  # what is done to the place, and what `finetune` then says
    "truncated checkpoint": (
        lambda place: truncate(place / "base" / "model.safetensors", 12000),
        r"base/model.safetensors is truncated or corrupt: found 12000 bytes, expected \d+; copy it again",
    ),
    "wrong-shaped checkpoint": (
        lambda place: configure(place, intermediate_size=20),
        r"base does not fit the model: .*dense.weight is \(16, 16\) in the file, \(20, 16\) in",
    ),
    "unknown model_type": (
        lambda place: configure(place, model_type="mamba"),
        "type 'mamba', which .* does not know: choose one of 'bert'",
    ),
    "damaged configuration": (
        write("base/config.json", "{"),
        "base/config.json is not JSON .*: repair it, or copy it again",
    ),
    "a size in quotes": (
        lambda place: configure(place, hidden_size="16"),
        "hidden_size is '16' in .*; expected a whole number, 1 or",
    ),
    "a size of zero": (
        lambda place: configure(place, num_attention_heads=0),
        "num_attention_heads is 0 in .*; expected a whole num",
    ),
    "a rate in quotes": (
        lambda place: configure(place, hidden_dropout_prob="0"),
        "hidden_dropout_prob is '0' in .*expected a number",
    ),
    "damaged index": (
        shards(weight_map=["1.safetensors"]),
        'index.json has no usable "weight_map": expected one such as .*copy',
    ),
    "missing shard": (
        shards(weight_map={"a": "1.safetensors", "b": "2.safetensors"}),
        "base lacks 2.safetensors: expected all 2 files that model.safetensors.index.json lists; copy what is",
    ),
    "a length in words": (
        write("base/tokenizer_config.json", '{"model_max_length": "big"}'),
        "model_max_length is 'big' in the tokenizer_config.json of base; expected a number, 1 or more",
    ),
    "another model's tokenizer": (
        write("base/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n" + "\n".join(map(str, range(30)))),
        "tokenizer in base has 34 tokens, but config.json has vocab_size 25: expected no more than",
    ),
    "unknown model_type, no tokenizer": (
        lambda place: (configure(place, model_type="mamba"), lose_the_tokenizer(place)),
        "type 'mamba', which .* does not know",
    ),
    "a pickle, no tokenizer": (lambda place: (leave_only_a_pickle(place), lose_the_tokenizer(place)), "was not loaded"),
    "a pickle": (leave_only_a_pickle, "base/pytorch_model.bin was not loaded, and nothing in it was executed"),
    "no tokenizer": (
        lose_the_tokenizer,
        "base has no tokenizer: expected tokenizer.json, vocab.txt or vocab.json; copy",
    ),
    "empty training file": (
        write("train.csv", ""),
        "train.csv:1: the file holds no example; expected a text and a label",
    ),
    "nothing but column names": (
        write("train.csv", "text,label\n"),
        "train.csv:1: the file holds no example; expected a text",
    ),
    "not UTF-8": (
        write("train.csv", "text,label\ncaf\xe9,a\n"),
        "train.csv:2: not UTF-8: byte 0xe9 at offset 14; if it is latin1, type: iconv -f latin1",
    ),
    "a comma too many": (
        write("train.csv", "text,label\na, b,c\n"),
        "train.csv:2: expected 2 fields, .* got 3; put a text",
    ),
    "only one label": (
        write("train.csv", "text,label\na,x\nb,x\nc,x\n"),
        "training texts have the label 'x': expected two",
    ),
    "output holds something else": (
        write("new/thesis.tex", "Chapter 1"),
        "new holds something other than a model .thesis.tex.: pass a new or an empty directory",
    ),
    "output is a file": (write("new", "Chapter 1"), "new is a file: expected a directory to save to; pass a new name"),
}
TYPED = {  # what is typed in a place as it should be, and what is said
    FINETUNE.replace("base", "bose"): "there is no directory bose",
    FINETUNE.replace(
        "train.csv", "tarin.csv"
    ): "tarin.csv: no such file; expected a .csv or .jsonl file with a text and a label",
    FINETUNE.replace(
        "new", "base"
    ): "base already holds a model.* left unchanged: pass another directory, or --overwrite to",
    FINETUNE
    + "--eval eval.jsonl": "eval.jsonl: no such file; expected a .csv or .jsonl file with a text and a label column",
    FINETUNE
    + "--eval other.csv": "label 'gardening' .of 'soup'. is not among the 3 training labels .* add training examples",
    FINETUNE + "--text-column body": "no text column 'body'; the columns are .*: name one of them with --text-column",
    FINETUNE + "--epochs 0": "--epochs is 0; expected a finite number above 0",
    FINETUNE + "--lr nan": "--lr is nan; expected a finite number from 0",
    FINETUNE + "--lr inf": "--lr is inf; expected a finite number from 0",
    FINETUNE.replace("train.csv", "."): "[.] is a directory; expected a .csv or .jsonl file",
    FINETUNE.replace("train.csv", "half.jsonl"): r"half.jsonl:1: '.ud800' at character 3 is not UTF-8",
    FINETUNE + "--eval-fraction 1": "--eval-fraction is 1.0; expected a number between 0 and 1",
    FINETUNE + "--max-length 200": "--max-length is 200; this model reads at most 128 tokens",
    FINETUNE + "--max-length 2": "--max-length=2 leaves no room beside 2 special tokens: pass 3 or more",
    FINETUNE
    + "--freeze bert.embedings.**": r"'bert.embedings.\*\*' matches no parameter .* nearest names are bert.embeddings",
    FINETUNE
    + "--freeze **": "no parameter is left to train: freeze fewer, such as 'bert.[*]{2}', which leaves the classifier",
    "predict base": "expected either texts in quotes or --file FILE",
    "predict base soup": "base was not fine-tuned, it has no classifier.weight.* "
    "type: minigrad finetune base --train FILE",
    "predict bose soup": "there is no directory bose, and no model of that name could be read",
    "predict base/nope soup": "there is no directory base/nope: expected one with config.json and model.safetensors",
    "predict base soup caf\udce9": r"text 2: '.udce9' at character 4 is not UTF-8: expected whole characters",
    "predict base soup --top-k 0": "--top-k is 0; expected 1 or more",
    "evaluate base --file train.csv --batch-size 0": "--batch-size is 0; expected 1 or more",
    "predict base --file .": ". is a directory; expected a",
    "predict base --file texts.txt": "texts.txt: no such file; expected a text on each line",
    "predict base --file empty.txt": "empty.txt is empty: expected a text on each line",
    "predict base soup --output train.csv": "train.csv exists already and was not overwritten: "
    "pass another name to --output",
    FINETUNE.replace("base", "train.csv"): "train.csv is a file: expected the directory that holds config.json",
    FINETUNE.replace("new", "train.csv/a/b"): "train.csv is a file, so train.csv/a/b cannot be created in it",
    FINETUNE.replace("new", "base") + "--overwrite": "base is the model itself, which would be lost: pass another",
    "search base soup --file train.csv --vectors no.npy": "no.npy: no such file; expected the .npy file that minigrad",
    "search base soup --file train.csv --vectors empty.txt": "empty.txt holds no vectors: expected the .npy file",
    "search base soup --file train.csv --vectors one.npy": "one.npy holds no vectors: expected the .npy file",
    "search base soup --file empty.txt --top-k 0": "--top-k is 0; expected 1 or more",
    "predict base soup --output no/answers.jsonl": "there is no directory no to write answers.jsonl in: make it first",
}


def assert_refused(place, capsys, typed, told):
    before = everything(place)
    assert main(typed.split()) == 2
    out, error = capsys.readouterr()
    assert not out and error.startswith("minigrad: error: ") and error.count("\n") == 1 and re.search(told, error), (
        error
    )
    assert everything(place) == before


@pytest.mark.parametrize("case", SPOILT)
def test_bad_files_get_one_line_and_status_2_and_nothing_is_touched(place, capsys, case):
    spoil, told = SPOILT[case]
    spoil(place)
    assert_refused(place, capsys, FINETUNE + "--overwrite", told)


@pytest.mark.parametrize("typed", TYPED)
def test_bad_arguments_get_one_line_and_status_2_and_nothing_is_touched(place, capsys, typed):
    write("other.csv", "text,label\nsoup,gardening\n")(place)
    write("empty.txt", "\n")(place)
    write("half.jsonl", r'{"text": "a \ud800", "label": "x"}')(place)
    np.save(place / "one.npy", np.float32(3))
    assert_refused(place, capsys, typed, TYPED[typed])


@pytest.mark.parametrize(
    "typed, told",
    [
        ("", "minigrad: error: the following arguments are required: COMMAND"),
        ("finetune base", "minigrad finetune: error: the following arguments are required: --train, --output"),
        (FINETUNE + "--batch-size 1.5", "minigrad finetune: error: argument --batch-size: invalid int value: '1.5'"),
        (
            "finetune base --lerning-rate 3",
            "minigrad finetune: error: there is no option --lerning-rate; the nearest is --learning-rate",
        ),
        (
            "finetune base --train a.csv --output_dir out",
            "minigrad finetune: error: there is no option --output-dir; the nearest is --output",
        ),
        (
            FINETUNE + "--epoch=3 --batchsize=3",
            "minigrad finetune: error: there is no option --batchsize; the nearest is --batch-size",
        ),
        ("predict base soup --topk 3", "minigrad predict: error: there is no option --topk; the nearest is --top-k"),
        ("doctor --qqq", "minigrad doctor: error: there is no option --qqq"),
        ("finetune m -lr 1", "minigrad finetune: error: there is no option -lr; the nearest is --lr"),
        ("--verison", "minigrad: error: there is no option --verison; the nearest is --version"),
        ("finetun m", "minigrad: error: there is no command finetun; the nearest is finetune"),
        ("predict base --top", "minigrad predict: error: argument --top-k: expected one argument"),
    ],
)
def test_what_cannot_be_parsed_gets_one_line_and_status_2(capsys, typed, told):
    with pytest.raises(SystemExit) as stop:
        main(typed.split())
    assert stop.value.code == 2 and capsys.readouterr().err == f"{told}; type {told.split(':')[0]} --help\n"


def test_without_the_text_extra(place, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert_refused(
        place, capsys, FINETUNE, r'text needs the tokenizers library .*: pip install "minigrad-learn\[text\]"'
    )


def test_a_second_run_needs_leave_to_replace_the_first(tuned, capsys):
    again = ["finetune", "base", "--train", "train.csv", "--output", "out", "--seed", "1", *QUICK]
    before = everything(tuned)
    assert main(again) == 2 and "--overwrite to replace it" in capsys.readouterr().err
    assert everything(tuned) == before
    assert main([*again, "--overwrite"]) == 0
    assert everything(tuned).keys() == before.keys() and everything(tuned) != before


@pytest.mark.parametrize("args", [["--version"], ["finetune", "--help"], ["predict"]], ids=" ".join)
def test_python_m_minigrad_is_the_command(args, capsys):
    try:
        status = main(args)
    except SystemExit as stop:
        status = stop.code
    done = subprocess.run([sys.executable, "-m", "minigrad", *args], capture_output=True, encoding="utf-8", timeout=120)
    shown = capsys.readouterr()
    assert (done.returncode, done.stdout, done.stderr) == (status or 0, shown.out, shown.err)


def test_an_interruption_tells_the_option_to_go_on_with(place, capsys, monkeypatch):
    take_step, steps = Trainer.take_step, []

    def interrupted(trainer, items):
        take_step(trainer, items)
        steps.append(trainer.step)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "take_step", interrupted)
    assert main([*FINETUNE.split(), *QUICK]) == 130
    said = capsys.readouterr().err
    assert "checkpoint-3: to resume, add --resume true to the same command" in said
    assert "finetune(" not in said and "resume_from" not in said
    assert main([*FINETUNE.split(), *QUICK, "--resume", "true"]) == 0
    assert steps == [*range(1, 11)]  # none was made twice


def test_an_interruption_leaves_the_best_model_and_says_so(place, capsys, monkeypatch):
    evaluate, calls = Trainer.evaluate, []

    def interrupted(trainer):
        calls.append(trainer)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(trainer)

    monkeypatch.setattr(Trainer, "evaluate", interrupted)
    assert main([*FINETUNE.split(), *QUICK]) == 130
    assert (
        capsys.readouterr().err
        == "\nminigrad: interrupted at step 10 of 10; the best model so far, of epoch 1, is in new\n"
    )
    assert main(["predict", "new", "soup"]) == 0
    assert main([*FINETUNE.split(), *QUICK]) == 2
    assert (
        "maybe of an interrupted run; it was left unchanged: pass another directory, or --overwrite"
        in capsys.readouterr().err
    )


def test_only_names_of_arguments_become_options():
    assert as_typed("lora is -1; or pass overwrite=True") == "--lora is -1; or pass --overwrite"
    for kept in ("found lora, seed and 2 more", "the columns are 'text', 'text_column'", "lora is a file: expected"):
        assert as_typed(kept) == kept
