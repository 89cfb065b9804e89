"""ViT that paints masked patches, beside transformers': the same reconstruction, loss and files."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from minigrad.pretrained import ViTConfig, ViTForImageClassification, ViTForMaskedImageModeling  # noqa: E402

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 12,
    "patch_size": 4,
    "encoder_stride": 4,
}


def test_reconstruction_loss_and_gradients(tmp_path):
    torch.manual_seed(0)
    theirs = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**SIZES))
    torch.nn.init.normal_(theirs.vit.embeddings.mask_token)
    theirs.eval().save_pretrained(tmp_path)
    ours = ViTForMaskedImageModeling.from_pretrained(tmp_path)
    assert not ours.load_report.newly_initialised and not ours.load_report.unused
    rng = np.random.default_rng(0)
    x, masked = rng.standard_normal((3, 3, 12, 12)).astype(np.float32), rng.random((3, 9)) < 0.5
    expected, found = theirs(torch.tensor(x), torch.tensor(masked)), ours(x, masked)
    np.testing.assert_allclose(found.reconstruction.numpy(), expected.reconstruction.detach().numpy(), atol=2e-6)
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)
    expected.loss.backward()
    found.loss.backward()
    own, compared = ours.state_dict(), set()
    for name, p in theirs.named_parameters():  # of those within the layers, transformers renames in memory
        if name in own and p.grad is not None:
            np.testing.assert_allclose(own[name].grad.numpy(), p.grad.numpy(), rtol=1e-3, atol=1e-6, err_msg=name)
            compared.add(name)
    assert {"vit.embeddings.mask_token", "vit.embeddings.cls_token", "decoder.0.weight", "decoder.0.bias"} <= compared


def test_it_goes_on_as_a_classifier_in_both(tmp_path):
    ours = ViTForMaskedImageModeling(ViTConfig(**SIZES), rng=0)
    ours.save_pretrained(tmp_path)
    x = np.random.default_rng(0).standard_normal((2, 3, 12, 12)).astype(np.float32)
    theirs = transformers.ViTModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    here = ViTForImageClassification.from_pretrained(tmp_path, rng=0).vit(x).last_hidden_state.numpy()
    np.testing.assert_allclose(here, theirs(torch.tensor(x)).last_hidden_state.detach().numpy(), atol=2e-6)
