"""What every test of the portal needs."""

from pathlib import Path

import pytest
from django.conf import settings


@pytest.fixture(scope="session", autouse=True)
def _static_folder() -> None:
    """``manage.py up`` makes it; without it the static files' middleware warns."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
