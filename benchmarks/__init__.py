"""Every claim about speed, as a paired comparison that one command reruns: `python -m benchmarks`."""
