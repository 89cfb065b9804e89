"""Checkpoints: finding files of weights, their formats and names, and the report of what was loaded."""
