"""How many answers one request may ask for (``n``)."""

MAX_CHOICES = 8
"""The gateway refuses more, and so does the worker: each answer is a sequence with memory of its own."""
