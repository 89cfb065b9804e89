"""Pictures as folders to a classifier, in Python and on the command line: UCI's digits, in a model begun at random."""

import json
import shutil

import numpy as np
import pytest

from minigrad import cli
from minigrad.data import ImageDataset
from minigrad.pretrained import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
)
from minigrad.tasks.image_classification import ImageClassification, Picture
from minigrad.train import finetune, pipeline

Image = pytest.importorskip("PIL.Image")
datasets = pytest.importorskip("sklearn.datasets")
pytestmark = pytest.mark.slow
STAGES = {"hidden_sizes": [16, 16, 32, 32], "depths": [1] * 4}
QUICK = {"num_train_epochs": 3, "learning_rate": 1e-2, "per_device_train_batch_size": 16}


@pytest.fixture(scope="module")
def digits():
    found = datasets.load_digits()
    return np.uint8(found.images * 15.9375), [str(i) for i in found.target]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, digits):
    root = tmp_path_factory.mktemp("digits")
    for i, (image, label) in enumerate(zip(*digits)):
        if i < 400:
            (root / label).mkdir(exist_ok=True)
            Image.fromarray(image).save(root / label / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("resnet")
    config = ResNetConfig(embedding_size=16, layer_type="basic", num_labels=10, **STAGES)
    ResNetForImageClassification(config, rng=0).save_pretrained(directory)
    AutoImageProcessor({"size": 32}).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def trained(tmp_path_factory, model, folders):
    out = tmp_path_factory.mktemp("out") / "digits"
    trainer = finetune(model, folders, output=out, task="image-classification", augmentation="affine", **QUICK)
    return out, trainer


def test_digits_in_folders(trained, folders, capsys):
    out, trainer = trained
    assert trainer.best["eval_accuracy"] > 0.7  # 0.1 by chance
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "evaluation.txt"} <= {
        file.name for file in out.iterdir()
    }
    assert json.loads((out / "config.json").read_text())["id2label"]["7"] == "7"
    classify = pipeline("image-classification", out)
    held_out = trainer.eval_dataset.images[:5]
    answers = classify([str(path) for path in held_out])
    assert [len(answer) for answer in answers] == [5] * 5
    assert sum(answer[0]["label"] == path.parent.name for answer, path in zip(answers, held_out)) >= 3
    alone = classify(held_out[0], top_k=None)
    assert alone[0]["label"] == answers[0][0]["label"] and sum(one["score"] for one in alone) == pytest.approx(1)
    scores = classify.evaluate(folders)
    assert scores["accuracy"] > 0.7 and "mcc" in scores


def test_the_command_line(trained, folders, tmp_path, capsys):
    out, _ = trained
    path = str(next((folders / "3").iterdir()))
    assert cli.main(["predict", str(out), path, "--top-k", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == path and len(told) == 3 and "%" in told[1]
    (tmp_path / "a.csv").write_text(f"path,label\n{path},3\n")
    assert cli.main(["predict", str(out), "--file", str(tmp_path / "a.csv")]) == 0
    assert json.loads(capsys.readouterr().out)["image"] == path
    assert cli.main(["evaluate", str(out), "--file", str(folders)]) == 0
    assert capsys.readouterr().out.startswith("image-classification  loss")


def test_pictures_in_a_list(model, digits, tmp_path):
    images, labels = digits
    pairs = list(zip(images[:60], labels))
    trainer = finetune(model, pairs, output=tmp_path / "a", task="image-classification", num_train_epochs=1)
    assert len(trainer.train_dataset) + len(trainer.eval_dataset) == 60
    assert (
        isinstance(trainer.train_dataset, ImageDataset)
        and trainer.train_dataset.transform is not trainer.eval_dataset.transform
    )


def test_the_test_part_of_a_directory_is_for_evaluation(folders, tmp_path):
    for part, names in (("train", "01"), ("test", "01")):
        for name in names:
            shutil.copytree(folders / name, tmp_path / part / name)
    task = ImageClassification()
    train, held_out = task.split(task.read(tmp_path), 0.2, 0)
    assert {one.image.parts[-3] for one in train} == {"train"} and {one.image.parts[-3] for one in held_out} == {"test"}
    (again,) = {one.image.parts[-3] for one in task.read(tmp_path)}  # as finetune(eval=...) and evaluate read it
    assert again == "test"
    with pytest.warns(UserWarning, match="2 of 2 evaluation pictures are also training pictures"):
        task.study(train[:2] + train[-2:], train[:1] + train[-1:], ResNetConfig())


def test_training_pictures_are_augmented_and_others_are_not(model, digits):
    task = ImageClassification(augmentation="crop,flip,rotate,affine,color")
    train = [Picture(image, label) for image, label in zip(*digits)][:20]
    held_out = [Picture(image, label) for image, label in zip(*digits)][20:30]
    changes = task.study(train, held_out, ResNetConfig())
    task.attach(AutoModelForImageClassification.from_pretrained(model, **changes), task.load_processor(model))
    augmented, plain = task.encode(train), task.encode(held_out)
    assert augmented[0]["pixel_values"].shape == plain[0]["pixel_values"].shape == (3, 32, 32)
    np.testing.assert_array_equal(plain[3]["pixel_values"], plain.at_epoch(5)[3]["pixel_values"])
    assert not np.array_equal(augmented[3]["pixel_values"], augmented.at_epoch(5)[3]["pixel_values"])
    none = ImageClassification(augmentation="none", processor=task.processor)
    assert none.augmented() is task.processor
    # Apart from the crop and its like, what a picture goes through is what the processor does.
    flip = ImageClassification(augmentation="flip", processor=task.processor).augmented()
    expected = task.processor(digits[0][0])["pixel_values"][0]
    assert any(np.allclose(flip(digits[0][0], seed), expected, atol=1e-6) for seed in range(6))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        ("cut", "0.png was not read as a picture"),
        ("one class", "all 3 training pictures have the label '0': expected two labels or more"),
        ("augmentation", "augmentation is 'spin'; expected 'none', or some of crop, flip"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_and_nothing_is_written(model, folders, tmp_path, capsys, make, text):
    for name in ("0", "1")[: 2 - (make == "one class")]:
        (tmp_path / "p" / name).mkdir(parents=True)
        for i, file in enumerate(sorted((folders / name).iterdir())[:4]):
            shutil.copy(file, tmp_path / "p" / name / f"{i}.png")
    if make == "cut":
        whole = (tmp_path / "p" / "0" / "0.png").read_bytes()
        (tmp_path / "p" / "0" / "0.png").write_bytes(whole[: len(whole) // 2])
    more = ["--augmentation", "spin"] if make == "augmentation" else []
    args = ["finetune", str(model), "--task", "image-classification", "--train", str(tmp_path / "p"), *more]
    assert cli.main([*args, "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert text in told.replace("--augmentation is", "augmentation is") and not (tmp_path / "out").exists()
