"""Text into token ids and back, and models that write it."""
