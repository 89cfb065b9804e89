"""Smaller and faster models: fewer bits, weights and parts pruned, students of a teacher, and what that costs."""

from ..nn.quantized import QuantizationConfig
from .distillation import (
    DistillationTrainer,
    attention_loss,
    cosine_loss,
    distill,
    hidden_loss,
    soft_target_loss,
    student_of,
)
from .pruning import Pruning, channel_importance, head_importance, pruning_sensitivity, shrink
from .quantization import calibrate, dequantize, prepare_qat, quantize
from .report import Measured, Report, sensitivity
