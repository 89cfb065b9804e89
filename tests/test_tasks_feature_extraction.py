"""Vectors of texts: those of sentence-transformers' directories, on the command line and in Python."""

import json

import numpy as np
import pytest
import tiny_bert

from minigrad.cli import main
from minigrad.train import finetune, pipeline

pytest.importorskip("tokenizers")
TEXTS = ["the old oven", "salt", "mast and wind and rope"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert.save_model(tmp_path_factory.mktemp("model"))


def test_a_vector_for_each_token_or_text(model):
    features = pipeline("feature-extraction", model)
    tokens = [np.array(one) for one in features(TEXTS)]
    assert [one.shape for one in tokens] == [(1, 5, 16), (1, 3, 16), (1, 7, 16)]
    alone = np.array(features(TEXTS[1]))
    np.testing.assert_allclose(alone, tokens[1], atol=1e-6)  # no padding is left, nor does it matter
    for pooling, of in (("mean", lambda x: x.mean(1)), ("cls", lambda x: x[:, 0]), ("max", lambda x: x.max(1))):
        wanted = np.concatenate([of(one) for one in tokens])
        np.testing.assert_allclose(features(TEXTS, pooling=pooling, normalize=False), wanted, atol=1e-6)
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        np.testing.assert_allclose(features(TEXTS, pooling=pooling), wanted, atol=1e-6)


def test_a_directory_of_sentence_transformers_says_how(model):
    (model / "1_Pooling").mkdir(exist_ok=True)
    steps = [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Pooling"}]
    (model / "modules.json").write_text(json.dumps(steps))
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 16}
    (model / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 4}))
    try:
        task = pipeline("feature-extraction", model).task
        assert task.of_texts == {"pooling": "cls", "normalize": False} and task.max_length == 4
        assert pipeline("feature-extraction", model, max_length=6).task.max_length == 6
        (model / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_weightedmean_tokens": True}))
        with pytest.raises(ValueError, match="chooses pooling_mode_weightedmean_tokens; expected one of"):
            pipeline("feature-extraction", model)
        for damaged in ("{", "3", '["a"]', '[{"type": 3}]'):
            (model / "modules.json").write_text(damaged)
            with pytest.raises(ValueError, match="modules.json is damaged: expected a list of steps"):
                pipeline("feature-extraction", model)
    finally:
        for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
            (model / name).unlink()
        (model / "1_Pooling").rmdir()


def test_the_command_line(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wanted = pipeline("feature-extraction", model)(TEXTS, pooling="mean")
    assert main(["embed", str(model), *TEXTS]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    np.testing.assert_allclose([line["embedding"] for line in lines], wanted, atol=1e-6)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    assert main(["embed", str(model), "--file", "texts.txt", "--output", "vectors.npy"]) == 0
    assert capsys.readouterr().out == "3 vectors of 16 numbers written to vectors.npy\n"
    found = np.load("vectors.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    for typed, told in (
        (["--output", "vectors.csv", "a"], "--output is vectors.csv; expected a name that ends in .npy or .jsonl"),
        (["--output", "vectors.npy", "a"], "vectors.npy exists already"),
        ([], "expected either texts in quotes or --file FILE"),
        (["--problem-type", "regression", "a"], "feature-extraction has no --problem-type"),
    ):
        assert main(["embed", str(model), *typed]) == 2
        assert told in capsys.readouterr().err


def test_it_is_not_trained(model, tmp_path):
    with pytest.raises(ValueError, match="feature-extraction is not trained, it takes a model as it is; expected one"):
        finetune(model, [("a", "b")], output=tmp_path / "out", task="feature-extraction")


def test_the_search_command(model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    assert main(["search", str(model), TEXTS[1], "--file", "texts.txt", "--top-k", "2"]) == 0
    told = capsys.readouterr().out
    query, first, second = told.splitlines()
    assert query == TEXTS[1] and first == f"   1.000  {TEXTS[1]}" and float(second.split()[0]) < 1
    assert main(["embed", str(model), "--file", "texts.txt", "--output", "vectors.npy"]) == 0
    capsys.readouterr()
    command = ["search", str(model), TEXTS[1], "--top-k", "2", "--vectors", "vectors.npy", "--file"]
    assert main([*command, "texts.txt"]) == 0 and capsys.readouterr().out == told
    (tmp_path / "more.txt").write_text("\n".join([*TEXTS, "one more"]) + "\n")
    assert main([*command, "more.txt"]) == 2
    assert f"{len(TEXTS)} vectors and more.txt {len(TEXTS) + 1} texts" in capsys.readouterr().err
