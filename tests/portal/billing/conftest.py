from pathlib import Path

import pytest
from django.conf import settings


@pytest.fixture(autouse=True)
def static_root() -> None:
    """WhiteNoise warns, and warnings are errors, where the folder of collected files is missing."""
    Path(settings.STATIC_ROOT).mkdir(exist_ok=True)
