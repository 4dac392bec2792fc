"""Prompt tokens, counted before a worker sees them, with the model's own tokenizer and template."""
