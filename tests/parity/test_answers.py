"""Pipelines beside those of transformers, with the same model directories: the same answers, entry by entry."""

from pydoc_data.topics import topics

import numpy as np
import pytest

from minigrad.pretrained import (
    AutoImageProcessor,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    ResNetConfig,
    ResNetForImageClassification,
    train_tokenizer,
)
from minigrad.train import pipeline

transformers = pytest.importorskip("transformers")
pytest.importorskip("tokenizers")
TEXTS = [text for _, text in sorted(topics.items())][:5]


def same(ours, theirs):
    """Equal but for the last digits of scores."""
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            same(one, other)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            same(ours[name], theirs[name])
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-3)
    else:
        assert ours == theirs


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bert")
    size = len(train_tokenizer(TEXTS, directory, "wordpiece", 400, lowercase=True))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    model = BertForMaskedLM(BertConfig(vocab_size=size, max_position_embeddings=64, **sizes), rng=0)
    weights = model.bert.embeddings.word_embeddings.weight.data
    weights *= 30  # so that scores differ by more than their last digits
    model.save_pretrained(directory)
    return directory


def test_fill_mask(bert):
    ours, theirs = pipeline("fill-mask", bert), transformers.pipeline("fill-mask", str(bert))
    text = "The [MASK] statement, in a class."
    same(ours(text), theirs(text))
    same(ours([text, "A [MASK] list"], top_k=2), theirs([text, "A [MASK] list"], top_k=2))
    same(ours("The [MASK] is a [MASK]."), theirs("The [MASK] is a [MASK]."))


def test_text_generation(tmp_path):
    size = len(train_tokenizer(TEXTS, tmp_path, "bpe", 400))
    config = GPT2Config(vocab_size=size, n_positions=64, n_embd=32, n_layer=2, n_head=4, eos_token_id=0, bos_token_id=0)
    model = GPT2LMHeadModel(config, rng=0)
    model.transformer.wte.weight.data *= 30
    model.save_pretrained(tmp_path)
    ours, theirs = pipeline("text-generation", tmp_path), transformers.pipeline("text-generation", str(tmp_path))
    options = {"max_new_tokens": 9, "do_sample": False}
    same(ours("The class", **options), theirs("The class", **options))
    texts = ["The class", "A longer statement about"]
    same(ours(texts, **options), theirs(texts, **options))
    same(ours("The class", return_full_text=False, **options), theirs("The class", return_full_text=False, **options))


def test_image_classification(tmp_path):
    image = pytest.importorskip("PIL.Image")
    labels = {i: f"class {i}" for i in range(7)}
    stages = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "layer_type": "basic"}
    ResNetForImageClassification(ResNetConfig(id2label=labels, **stages), rng=0).save_pretrained(tmp_path)
    AutoImageProcessor({"size": 32}).save_pretrained(tmp_path)
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path in paths:
        image.fromarray(rng.integers(0, 256, (50, 40, 3), np.uint8)).save(path)
    try:
        theirs = transformers.pipeline("image-classification", str(tmp_path))
    except ImportError as error:  # their processors need torchvision
        pytest.skip(str(error).strip().partition("\n")[0])
    ours = pipeline("image-classification", tmp_path)
    same(ours(paths[0]), theirs(paths[0]))
    same(ours(paths, top_k=2), theirs(paths, top_k=2))
