"""Is this gradient right, and if not, why not?  For minigrad's own ops and for whatever its users write."""

from .check import gradcheck
from .errors import GradientError, KinkWarning, Report

__all__ = ["GradientError", "KinkWarning", "Report", "gradcheck"]
