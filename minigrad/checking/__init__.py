"""Does a gradient agree with finite differences?  For minigrad's own ops and for whatever its users write."""
from .check import GradientError, gradcheck

__all__ = ["GradientError", "gradcheck"]
