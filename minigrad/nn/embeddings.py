"""Embeddings: a row of a table for each id, or the sum of the rows of a bag of ids."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..ops.index import padding_row
from ..tensor import as_array
from . import init
from .arguments import checked
from .module import Module, Parameter


class Embedding(Module):
    """A row of `weight` (num_embeddings, embedding_dim) for each integer id: (…) to (…, embedding_dim).

    First drawn from the standard normal distribution.  The row `padding_idx` starts at zero and gets no gradient.
    """

    @checked
    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *, rng: init.Rng = None
    ):
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.weight = Parameter(init.normal_(init.empty(num_embeddings, embedding_dim), rng=rng))
        if padding_idx is not None:
            self.padding_idx = padding_row("Embedding", padding_idx, num_embeddings)
            init.zeros_(self.weight[self.padding_idx].detach())

    def forward(self, ids: Any) -> Any:
        return F.embedding(ids, self.weight, self.padding_idx)

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """An Embedding whose rows are given, (num_embeddings, embedding_dim), and with `freeze` not trained.

        Raises:
            ValueError: they are not a matrix.
        """
        layer = cls(*_table_shape(cls, embeddings), padding_idx, rng=init.LATER)
        layer.weight = Parameter(as_array(embeddings), requires_grad=not freeze)
        return layer


def _table_shape(kind: type, embeddings: Any) -> tuple[int, int]:
    shape = tuple(as_array(embeddings).shape)
    if len(shape) != 2:
        raise ValueError(f"{kind.__name__}: the embeddings are (num_embeddings, embedding_dim), not {shape}")
    return shape


class EmbeddingBag(Module):
    """The sum, mean or maximum of the rows of `weight` for each bag of ids: (B, n), or (N,) with offsets, to (B, size).

    First drawn from the standard normal distribution.  `F.embedding_bag` documents the options.
    """

    @checked
    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        mode: str = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        rng: init.Rng = None,
    ):
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f"EmbeddingBag: mode={mode!r} is not known: type 'sum', 'mean' or 'max'")
        self.num_embeddings, self.embedding_dim, self.mode = num_embeddings, embedding_dim, mode
        self.include_last_offset, self.padding_idx = include_last_offset, padding_idx
        self.weight = Parameter(init.normal_(init.empty(num_embeddings, embedding_dim), rng=rng))
        if padding_idx is not None:
            self.padding_idx = padding_row("EmbeddingBag", padding_idx, num_embeddings)
            init.zeros_(self.weight[self.padding_idx].detach())

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            mode=self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        *,
        mode: str = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """An EmbeddingBag whose rows are given, (num_embeddings, embedding_dim), and with `freeze` not trained."""
        options = {"mode": mode, "include_last_offset": include_last_offset, "padding_idx": padding_idx}
        layer = cls(*_table_shape(cls, embeddings), **options, rng=init.LATER)
        layer.weight = Parameter(as_array(embeddings), requires_grad=not freeze)
        return layer
