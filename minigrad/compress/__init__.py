"""Models that take less memory and less time: weights in 8 and in 4 bits, and what that costs in quality."""

from ..nn.quantized import QuantizationConfig
from .quantization import calibrate, dequantize, prepare_qat, quantize
from .report import Measured, Report, sensitivity
