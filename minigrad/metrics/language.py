"""Scores of language models: perplexity per token and bits per byte."""

import math


def perplexity(loss: float) -> float:
    """exp(loss) for the mean cross-entropy per token in nats: how many equally likely tokens have that loss."""
    try:
        return math.exp(loss)  # nan stays nan: the model has diverged
    except OverflowError:
        return math.inf


def bits_per_byte(loss: float, tokens: int, bytes: int) -> float:
    """The cross-entropy in bits per byte of UTF-8, by which models with different vocabularies can be compared.

    Args:
        loss: the mean cross-entropy per token, in nats.
        tokens: the number of tokens that the mean is over.
        bytes: the length of their text in UTF-8.

    Raises ValueError unless there is at least one token and one byte.
    """
    if tokens < 1 or bytes < 1:
        raise ValueError(f"there are {tokens} tokens and {bytes} bytes; expected at least one of each")
    return loss * tokens / bytes / math.log(2)
