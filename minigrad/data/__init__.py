"""Examples and the batches made of them: reading files, splitting, shuffling, padding.  Plain NumPy, no Tensors."""

from typing import Any

from ..elsewhere import missing
from . import image_transforms
from .blocks import TextBlocks, pack_texts, read_pieces
from .cleaning import Vocabulary, normalize_unicode, remove_stop_words, stop_words, strip_html
from .collators import DataCollatorForLanguageModeling, DataCollatorForSeq2Seq, DataCollatorForT5MLM, MaskedDataset
from .datasets import ConcatDataset, Dataset, IterableDataset, Subset, random_split
from .docstrings import stdlib_docstrings
from .entities import read_sentences
from .image_transforms import MaskedPatches, MixUp
from .images import ImageDataset, read_images
from .loader import DataLoader
from .questions import read_questions
from .readers import Example, read_examples
from .samplers import RandomSampler, Sampler, WeightedRandomSampler
from .split import split
from .text import DataCollatorWithPadding, TextDataset, label_ids, label_names
from .vectors import VectorIndex


def __getattr__(name: str) -> Any:
    raise missing(__name__, name)
