"""A BERT of random weights that reads the manual of the standard library, for tasks on the data that examples make."""

import sys
from pathlib import Path

from minigrad.pretrained import BertConfig, BertModel
from minigrad.pretrained.text.training import train_tokenizer

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import made_data  # noqa: E402  (found by the line above)


def manual_reader(directory: Path) -> Path:
    """A model directory without a head, whose word pieces are trained on the paragraphs."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(made_data.paragraphs(), directory, "wordpiece", vocab_size=1000)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=128,
        initializer_range=0.15,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config, rng=0).save_pretrained(directory)
    return directory
