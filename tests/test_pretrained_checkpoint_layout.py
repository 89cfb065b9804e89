"""Names and orientations, in both directions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.patterns import matches
from minigrad.pretrained.checkpoint.layout import Layout

BERT = Layout(
    legacy={"**.LayerNorm.gamma": "**.LayerNorm.weight", "**.LayerNorm.beta": "**.LayerNorm.bias"},
    drop=("**.position_ids",),
    base="bert",
)
GPT2 = Layout(drop=("**.attn.bias", "**.attn.masked_bias"), base="transformer")
steps = st.lists(st.sampled_from(["h", "0", "11", "attn", "bias", "c_attn", "weight"]), min_size=1, max_size=5)
names = steps.map(".".join)


@pytest.mark.parametrize(
    "pattern, name, expected",
    [
        ("**.attn.bias", "h.0.attn.bias", True),
        ("**.attn.bias", "h.0.attn.c_attn.bias", False),
        ("**.attn.bias", "h.0.xattn.bias", False),
        ("**.attn.bias", "h.0.attn.bias.more", False),
        ("**.attn.bias", "attn.bias", False),
        ("h.*.attn", "h.0.attn", True),
        ("h.*.attn", "h.0.1.attn", False),
        ("h.**.attn", "h.0.1.attn", True),
        ("a.b", "a.b", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns_match_whole_names(pattern, name, expected):
    assert matches([pattern], name) is expected
    assert matches(["nothing", pattern], name) is expected


def test_names_that_need_nothing_stay():
    wanted = {"embeddings.word_embeddings.weight", "pooler.dense.bias"}
    assert BERT.translate(wanted, wanted) == {name: name for name in wanted}


def test_buffers_are_dropped_and_biases_kept():
    wanted = ["h.0.attn.c_attn.bias"]
    assert GPT2.translate(["h.0.attn.bias", "h.0.attn.masked_bias", *wanted], wanted) == {wanted[0]: wanted[0]}


def test_old_layer_norm_names_are_read_and_not_written():
    wanted = ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"]
    assert BERT.translate(["bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.beta"], wanted) == {
        wanted[0]: "bert.embeddings.LayerNorm.gamma",
        wanted[1]: "bert.embeddings.LayerNorm.beta",
    }
    assert list(BERT.stored(dict.fromkeys(wanted))) == wanted


def test_a_base_file_fits_a_model_with_a_head_and_the_other_way_round():
    base, head = "pooler.dense.weight", "bert.pooler.dense.weight"
    assert BERT.translate([base], {head, "classifier.weight"}) == {head: base}
    assert BERT.translate([head, "classifier.weight"], {base}) == {base: head, "classifier.weight": "classifier.weight"}


def test_two_names_for_one_weight_are_refused():
    with pytest.raises(ValueError, match="both bert.pooler.bias and pooler.bias"):
        BERT.translate(["bert.pooler.bias", "pooler.bias"], {"pooler.bias"})


def test_stars_must_agree():
    with pytest.raises(ValueError, match="same stars"):
        Layout(rename={"a.*.b": "a.**.b"})


def test_several_renames_apply_in_order_and_are_undone_when_saving():
    layout = Layout(rename={"model.**": "**", "layers.*.mlp.**": "blocks.*.ff.**"}, transpose=("model.layers.*.mlp.w",))
    stored, name, array = "model.layers.3.mlp.w", "blocks.3.ff.w", np.arange(6).reshape(2, 3)
    assert layout.translate([stored], [name]) == {name: stored}
    back = layout.stored({name: array})
    assert list(back) == [stored]
    np.testing.assert_array_equal(back[stored], array.T)


@given(st.dictionaries(names, st.just(np.zeros((2, 3))), min_size=1))
def test_what_is_stored_translates_back(arrays):
    layout = Layout(rename={"**": "body.**", "body.h.*.**": "body.layers.*.**"}, transpose=("**.c_attn.weight",))
    ours = {
        f"body.{name.replace('h.', 'layers.', 1) if name.startswith('h.') and name.count('.') > 1 else name}": array
        for name, array in arrays.items()
    }
    stored = layout.stored(ours)
    assert set(stored) == set(arrays)
    assert {name: stored[theirs].shape for name, theirs in layout.translate(stored, ours).items()} == {
        name: (3, 2) if layout.transposed(theirs) else (2, 3) for name, theirs in layout.translate(stored, ours).items()
    }
    assert set(layout.translate(stored, ours)) == set(ours)
