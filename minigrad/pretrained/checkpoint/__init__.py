"""Files of weights: where they lie, in which format, under which names, and what became of each."""
