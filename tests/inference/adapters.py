"""Adapters for tests: the demo adapter with something changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from gateway_hooks.contract.artifacts import CONFIG_FILE, WEIGHTS_FILE
from inference.demo_model import voices

Change = Callable[[Path], object]


def changed_adapter(folder: Path, change: Change) -> Path:
    """A copy of Acme's adapter at ``folder``, after ``change``."""
    shutil.copytree(voices.adapter_folder("acme-health"), folder)
    change(folder)
    return folder


def config(**changes: object) -> Change:
    """Other values in adapter_config.json."""

    def change(folder: Path) -> None:
        path = folder / CONFIG_FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def weights(edit: Callable[[bytes], bytes]) -> Change:
    """Other bytes in adapter_model.safetensors."""

    def change(folder: Path) -> None:
        path = folder / WEIGHTS_FILE
        path.write_bytes(edit(path.read_bytes()))

    return change
