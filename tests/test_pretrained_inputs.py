"""What users pass to a model that reads text: accepted in every form that is meant, refused in every other."""

import numpy as np
import pytest

from minigrad.pretrained.inputs import padding_mask, token_ids
from minigrad.tensor import Tensor


@pytest.mark.parametrize("given", [[[1, 2]], np.array([[1, 2]], np.uint8), Tensor(np.array([[1, 2]]))])
def test_ids_of_every_kind(given):
    np.testing.assert_array_equal(token_ids(given, 2), [[1, 2]])


@pytest.mark.parametrize(
    ("ids", "error", "told"),
    [
        ([1, 2], ValueError, r"input_ids must be integers of shape \(batch, tokens\), these are int64 of shape \(2,\)"),
        ([[1.0]], TypeError, "these are float64"),
        (
            [[1, 2, 3]],
            ValueError,
            "3 tokens long, but this model reads at most 2: call the tokenizer with max_length=2",
        ),
        (None, ValueError, "input_ids must be integers"),
    ],
)
def test_other_ids_are_refused(ids, error, told):
    with pytest.raises(error, match=told):
        token_ids(ids, 2)


def test_the_name_of_the_argument_is_told():
    with pytest.raises(ValueError, match="decoder_input_ids must be integers"):
        token_ids([1], name="decoder_input_ids")


def test_masks_become_booleans_for_every_head_and_query():
    mask = padding_mask([[1, 1], [1, 0]], (2, 2))
    assert mask.shape == (2, 1, 1, 2) and mask.dtype == bool and mask[1, 0, 0].tolist() == [True, False]
    assert padding_mask(None, (2, 2)) is padding_mask(np.ones((2, 2)), (2, 2)) is None  # nothing to hide
    with pytest.raises(ValueError, match=r"attention_mask has shape \(2, 2\), but input_ids \(2, 3\)"):
        padding_mask([[1, 1], [1, 0]], (2, 3))
