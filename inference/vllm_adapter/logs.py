"""Our lines in vLLM's processes: vLLM configures its own loggers only, and ours would be silent."""

import logging
import sys

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def speak() -> None:
    """Let loggers below ``inference`` write to standard error, once per process."""
    ours = logging.getLogger("inference")
    if not ours.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(_FORMAT))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
        ours.propagate = False
