"""Examples and the batches made of them: reading files, splitting, shuffling, padding.  Plain NumPy, no Tensors."""

from .docstrings import stdlib_docstrings
from .loader import DataLoader, Dataset, IterableDataset, Subset
from .readers import Example, read_examples
from .split import split
from .text import DataCollatorWithPadding, TextDataset, label_ids, label_names
