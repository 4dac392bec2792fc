"""The adapter store's settings, read once at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

DEFAULT_MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class AdapterSettings:
    """``imports``: the only folder of this server from which adapters may be taken by path."""

    store: Path
    imports: Path
    max_bytes: int


def read_settings(env: Mapping[str, str] = os.environ) -> AdapterSettings:
    return AdapterSettings(
        store=Path(settings.ADAPTER_STORE),
        imports=Path(env.get("TENANTRY_ADAPTER_IMPORT", Path(settings.DATA_DIR) / "import")).resolve(),
        max_bytes=int(env.get("TENANTRY_ADAPTER_MAX_BYTES", DEFAULT_MAX_BYTES)),
    )
