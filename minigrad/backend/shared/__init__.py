"""Kernels that read the same on both array libraries; the wings cpu/ and cuda/ put faster ones in their place."""
