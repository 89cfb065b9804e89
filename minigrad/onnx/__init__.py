"""Models as ONNX files, which onnxruntime and other programs run without minigrad: see docs/onnx.md."""

from .check import compared, difference
from .files import FAMILIES, export
from .rules import rule

__all__ = ["FAMILIES", "compared", "difference", "export", "rule"]
