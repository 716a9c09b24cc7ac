"""Prompts for tiny models, as token ids, of different lengths."""

PROMPTS = [[5, 9, 40, 77], [8], [100, 30, 31, 30, 31, 30], list(range(20, 45))]
NEW = 24  # tokens of an answer
