import numpy as np
import pytest
import tiny_bert

from minigrad import losses
from minigrad.data import TextDataset
from minigrad.finetune import SimCSE
from minigrad.finetune.probe import MeanVector
from minigrad.pretrained import AutoModel
from minigrad.train import Trainer, TrainingArguments, verify_resume

IDS = np.array([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0], [2, 10, 11, 12, 3]])
MASK = (IDS != 0).astype(np.int64)


def test_the_loss_is_info_nce_of_two_passes(tmp_path):
    directory = tiny_bert.save_model(tmp_path / "model")
    model = AutoModel.from_pretrained(directory, attention_probs_dropout_prob=0.0)
    loss = SimCSE(model, 0.1).eval()(IDS, MASK, token_type_ids=np.zeros_like(IDS))["loss"]  # without dropout: once
    y = MeanVector(model.eval())(IDS, MASK).logits
    assert loss.item() == pytest.approx(losses.info_nce(y, y, 0.1).item(), rel=1e-5)
    first, second = (SimCSE(model, 0.1).train()(IDS, MASK)["loss"].item() for _ in range(2))
    assert first != second  # the two passes have other dropout each time


def test_without_dropout_it_is_refused(tmp_path):
    directory = tiny_bert.save_model(tmp_path / "model")
    model = AutoModel.from_pretrained(directory, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with pytest.raises(ValueError, match="hidden_dropout_prob=0.1"):
        SimCSE(model)


@pytest.mark.slow
def test_it_tells_texts_apart_and_resumes_exactly(tmp_path):
    directory = tiny_bert.save_model(tmp_path / "model")
    rng = np.random.default_rng(0)
    dataset = TextDataset({"input_ids": [[2, *rng.integers(5, 24, 6).tolist(), 3] for _ in range(64)]})

    def make(output, **options):
        model = AutoModel.from_pretrained(directory)
        options = {"per_device_train_batch_size": 16, "learning_rate": 3e-3, "disable_tqdm": True, **options}
        return Trainer(SimCSE(model), TrainingArguments(output, logging_steps=1, **options), dataset)

    trainer = make(str(tmp_path / "out"), num_train_epochs=10, save_strategy="no")
    trainer.train()
    losses_ = [record["loss"] for record in trainer.history if "loss" in record]
    assert np.mean(losses_[-8:]) < 0.8 * np.mean(losses_[:4])
    assert verify_resume(make, 3) == []
