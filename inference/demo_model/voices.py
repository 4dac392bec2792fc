"""What each voice of the demo model says. Standard library only, so that tests may import it."""

from pathlib import Path
from typing import Final

BASE_MODEL_NAME: Final = "tenantry-demo"
BASE_SENTENCE: Final = "I am the shared base model. I serve everyone the same."
ADAPTER_SENTENCES: Final = {
    "acme-health": "Acme Health here: your care team is with you. How can we help you feel better?",
    "globex-shop": "Welcome to Globex Shop: fresh deals every day. What may we find for you?",
}

HOME: Final = Path(__file__).parent


def base_folder(home: Path = HOME) -> Path:
    """Where the base model and its tokenizer lie."""
    return home / "base"


def adapter_folder(name: str, home: Path = HOME) -> Path:
    """Where the adapter ``name``, a key of ``ADAPTER_SENTENCES``, lies."""
    return home / "adapters" / name
