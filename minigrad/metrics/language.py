"""How well a language model foretells text: perplexity of a token, bits for a byte."""

import math


def perplexity(loss: float) -> float:
    """The exponential of the mean cross-entropy of the tokens, in nats: as if it chose among so many equally often."""
    try:
        return math.exp(loss)  # nan of nan: a model that has diverged
    except OverflowError:
        return math.inf


def bits_per_byte(loss: float, tokens: int, bytes: int) -> float:
    """The cross-entropy in bits for each byte of UTF-8, by which models with different tokens can be compared.

    Args:
        loss: the mean over the tokens, in nats.
        tokens: how many tokens that mean is over.
        bytes: how long the text of these tokens is in UTF-8.
    """
    if tokens < 1 or bytes < 1:
        raise ValueError(f"there are {tokens} tokens and {bytes} bytes; expected at least one of each")
    return loss * tokens / bytes / math.log(2)
