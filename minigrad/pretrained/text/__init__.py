"""Tokenizers, which turn text into token ids and back, and text generation."""
