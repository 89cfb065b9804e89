"""Training runs for tests of several ranks: `mpiexec -n 2 python tests/rank_runs.py DIR CASE ...` makes them.

Each case trains a small model with a micro-batch of 3 items, six of them to a step, however many ranks there are, and
saves in DIR what it found.  So the file of two ranks is held to that of one.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.data import TextDataset
from minigrad.data.text import IGNORED
from minigrad.distributed import world
from minigrad.finetune import LoraConfig, get_peft_model
from minigrad.pretrained import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)
from minigrad.train import JSONLinesCallback, Plan, Trainer, TrainerCallback, TrainingArguments

MICRO, TO_A_STEP, ITEMS = 3, 6, 39  # the last step of an epoch has one micro-batch
BERT = BertConfig(
    vocab_size=20,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=16,
    initializer_range=0.3,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.2,
    num_labels=3,
)
GPT = GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2, n_positions=16, pad_token_id=0)
T5 = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)


def texts(n, seed):
    rng = np.random.default_rng(seed)
    return [[1, *rng.integers(2, 20, m).tolist()] for m in rng.integers(1, 12, n)]


def classified(n, seed):
    return TextDataset({"input_ids": texts(n, seed)}, np.arange(n) % 3)


def token_labels(n, seed):
    return [{"input_ids": ids, "labels": [IGNORED, *(i % 3 for i in ids[1:])]} for ids in texts(n, seed)]


def masked(n, seed):
    rng = np.random.default_rng(seed)
    return [
        {"input_ids": ids, "labels": [i if rng.random() < 0.5 or j == 1 else IGNORED for j, i in enumerate(ids)]}
        for ids in texts(n, seed)
    ]


def questions(n, seed):
    return [{"input_ids": ids, "start_positions": 0, "end_positions": len(ids) - 1} for ids in texts(n, seed)]


def continued(n, seed):
    return [{"input_ids": ids, "labels": ids} for ids in texts(n, seed)]


def translated(n, seed):
    return [{"input_ids": ids, "labels": ids[::-1]} for ids in texts(n, seed)]


def pictures(n, seed):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((1, 6, 6)), i % 3) for i in range(n)]


class Noisy:
    """A dataset that draws from a generator of its own."""

    def __init__(self, items):
        self.items, self.rng = items, np.random.default_rng(5)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        x, label = self.items[i]
        return x + self.rng.standard_normal(x.shape), label


class Net(nn.Module):
    """A convolution, and a layer that is only used for pictures with a bright corner, so that some ranks do not."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.conv, self.extra = nn.Conv2d(1, 4, 3, rng=rng), nn.Linear(4, 3, rng=rng)
        self.head, self.dropout = nn.Linear(4, 3, rng=rng), nn.Dropout(0.3)
        self.unused = nn.Linear(2, 2, rng=rng)

    def forward(self, x, labels=None):
        hidden = self.dropout(mg.relu(self.conv(x)).mean((2, 3)))
        logits = self.head(hidden)
        if x[:, 0, 0, 0].max() > 1:
            logits = logits + self.extra(hidden)
        return logits if labels is None else (mg.losses.cross_entropy(logits, labels), logits)


class Normed(nn.Module):
    """A network with batch norms over all ranks."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.conv, self.norm = nn.Conv2d(1, 4, 3, rng=rng), nn.BatchNorm2d(4)
        self.head = nn.Sequential(nn.Linear(4, 5, rng=rng), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3, rng=rng))
        nn.SyncBatchNorm.convert_sync_batchnorm(self)

    def forward(self, x, labels=None):
        x = mg.Tensor(x, device=self.conv.weight.device)
        logits = self.head(mg.relu(self.norm(self.conv(x))).mean((2, 3)))
        return logits if labels is None else (mg.losses.cross_entropy(logits, labels), logits)


def adapted():
    model = pretrained(BertForSequenceClassification, BERT)()
    return get_peft_model(model, LoraConfig(r=2, task_type="SEQ_CLS", lora_dropout=0.1), rng=0)


def pretrained(kind, config):
    return lambda: kind(config, rng=np.random.default_rng(0))


CASES = {  # the model, its data, further arguments and the plan
    "classes": (pretrained(BertForSequenceClassification, BERT), classified, {"group_by_length": True}, None),
    "averages": (pretrained(BertForSequenceClassification, BERT), classified, {"ema_decay": 0.9}, None),
    "sharded": (pretrained(BertForSequenceClassification, BERT), classified, {"zero_stage": 1}, None),
    "sharded gradients": (
        pretrained(BertForSequenceClassification, BERT),
        classified,
        {"zero_stage": 2, "gradient_checkpointing": True},
        None,
    ),
    "adapters": (adapted, classified, {}, None),
    "synchronised": (Normed, pictures, {}, None),
    "whole": (pretrained(BertForSequenceClassification, BERT), classified, {}, None),
    "frozen": (
        pretrained(BertForSequenceClassification, BERT),
        classified,
        {},
        lambda: Plan().at(2, freeze="bert.embeddings.**").at(4, unfreeze="bert.embeddings.**"),
    ),
    "tokens": (pretrained(BertForTokenClassification, BERT), token_labels, {"dataloader_num_workers": 2}, None),
    "masked": (pretrained(BertForMaskedLM, BERT), masked, {}, None),
    "questions": (pretrained(BertForQuestionAnswering, BERT), questions, {}, None),
    "causal": (pretrained(GPT2LMHeadModel, GPT), continued, {"max_grad_norm": 0.1}, None),
    "pairs": (pretrained(T5ForConditionalGeneration, T5), translated, {"label_smoothing_factor": 0.1}, None),
    "pictures": (Net, pictures, {"optim": "sgd", "optim_args": "momentum=0.9"}, None),
    "noisy": (Net, lambda n, seed: Noisy(pictures(n, seed)), {}, None),
}


def trainer_for(case, out, ranks):
    make, data, arguments, plan = CASES[case]
    other = os.environ.get("OTHER") if world().rank else None
    model = make() if other != "model" else pretrained(BertForSequenceClassification, replace(BERT, vocab_size=21))()
    model.double().to(os.environ.get("DEVICE", "cpu"))
    more = {"learning_rate": 0.02} if other == "rate" else {"auto_find_batch_size": os.environ.get("OTHER") == "auto"}
    whole = case == "synchronised"  # whose statistics are of all that is computed together: the batch of a step
    arguments = TrainingArguments(
        output_dir=out,
        per_device_train_batch_size=MICRO * TO_A_STEP // ranks if whole else MICRO,
        gradient_accumulation_steps=1 if whole else TO_A_STEP // ranks,
        num_train_epochs=2,
        adam_epsilon=1e-4,  # a smaller one makes of rounding, where a gradient is 0, as that of keys' biases, far more
        logging_steps=1,
        save_strategy="no",
        eval_strategy="epoch",
        disable_tqdm=True,
        reduce_dtype=os.environ.get("REDUCE_DTYPE"),
        **{"learning_rate": 0.01, **arguments, **more},
    )
    return Trainer(
        model,
        arguments,
        data(ITEMS, 1 if other != "data" else 9),
        data(20, 2),
        callbacks=[JSONLinesCallback],
        plan=None if plan is None else plan(),
    )


def found(trainer):
    """What a run left: weights, the numbers of its records, and predictions."""
    told = {f"weights/{name}": t.numpy() for name, t in trainer.model.state_dict().items()}
    for i, record in enumerate(trainer.history):
        for name, value in record.items():
            if isinstance(value, float) and "second" not in name and "runtime" not in name:
                told[f"record {i}/{name}"] = np.array(value)
    if not isinstance(trainer.model, BertForQuestionAnswering):  # whose answer is no array
        told["predictions"] = trainer.predict(trainer.eval_dataset).predictions
    return told


class Stop(TrainerCallback):
    """Ends the run in the middle of its second epoch, with a checkpoint."""

    def on_step_end(self, args, state, control, **more):
        if state.global_step == 4:
            control.should_save = control.should_training_stop = True


def main(directory, ranks, *cases):
    cut = os.environ.get("CUT")
    for case in cases:
        trainer = trainer_for(case, Path(directory) / (f"{case}-{ranks}" if cut is None else "cut"), int(ranks))
        if cut == "no":
            trainer.add_callback(Stop())
        trainer.train(resume_from_checkpoint=True if cut == "resume" else None)
        told = found(trainer)
        held = sum(
            array.nbytes
            for kept in trainer.optimizer.state.values()
            for array in kept.values()
            if hasattr(array, "nbytes")
        )
        np.savez(Path(directory) / f"{case}-{ranks}-held-{world().rank}.npz", bytes=held)
        if world().rank == 0:
            np.savez(Path(directory) / f"{case}-{ranks}.npz", **told)


if __name__ == "__main__":
    main(*sys.argv[1:])
