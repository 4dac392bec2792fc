"""Adapter artifacts: two files in a folder that is named by its content.

``<store>/<digest>/adapter_config.json`` and ``adapter_model.safetensors``, read-only. The portal writes
a folder after all checks and never changes it; a worker recomputes the digest before it loads.
"""

import hashlib
from pathlib import Path

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
FILES = (CONFIG_FILE, WEIGHTS_FILE)
_CHUNK = 1 << 20


def artifact_digest(folder: Path) -> str:
    """SHA-256 (hex) over ``<sha256 of file>  <name>`` lines of the two files, sorted by name.

    Raises ``OSError`` where a file cannot be read.
    """
    whole = hashlib.sha256()
    for name in sorted(FILES):
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        whole.update(f"{digest.hexdigest()}  {name}\n".encode())
    return whole.hexdigest()


def artifact_folder(store: Path, digest: str) -> Path:
    """Where an artifact lies. ``digest`` must come from the snapshot or a signed identity."""
    if len(digest) != hashlib.sha256().digest_size * 2 or not set(digest) <= set("0123456789abcdef"):
        message = "not an artifact digest"
        raise ValueError(message)
    return store / digest
