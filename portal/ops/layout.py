"""Where things lie in the data folder, and the secrets that are made there once.

This module is read by the settings, so it imports nothing of Django.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SECRETS: dict[str, Callable[[], str]] = {
    "django_secret_key": lambda: secrets.token_urlsafe(50),
    "identity_keys": lambda: f"k1:{secrets.token_hex(32)}",
    "salt_secret": lambda: secrets.token_hex(32),
    "secrets_keys": lambda: f"s1:{secrets.token_hex(32)}",
    "metrics_token": lambda: secrets.token_urlsafe(32),
    "postgres_password": lambda: secrets.token_hex(24),
    "redis_password": lambda: secrets.token_hex(24),
}


@dataclass(frozen=True)
class Layout:
    """The data folder's parts. ``data`` is absolute."""

    data: Path

    @classmethod
    def of(cls, data: Path | str) -> "Layout":
        return cls(Path(data).expanduser().resolve())

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def redis(self) -> Path:
        return self.data / "redis"

    def prepare(self) -> None:
        """Make the folders; those that hold secrets are for their owner only."""
        self.data.mkdir(parents=True, exist_ok=True)
        for folder in (self.secrets, self.run, self.logs, self.redis):
            folder.mkdir(mode=0o700, exist_ok=True)
        # The console's static files are looked for there even while none were collected.
        (self.data / "static").mkdir(exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write ``text`` so that nobody else can read it and no reader ever sees half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def ensure_secrets(layout: Layout) -> None:
    """Make each secret that is not there yet; one that is there never changes."""
    for name, make in SECRETS.items():
        path = layout.secrets / name
        if not path.exists():
            write_private(path, make() + "\n")


def environment_secret(env: Mapping[str, str], name: str) -> str | None:
    """``NAME``, or the text of the file that ``NAME_FILE`` names; None if neither is set."""
    if path := env.get(f"{name}_FILE"):
        return Path(path).read_text().strip()
    return env.get(name) or None


def read_secret(data: Path | str, name: str) -> str | None:
    """A secret's text, or None before the first ``up`` in this data folder."""
    return _read_line(Layout.of(data).secrets / name)


def read_run_file(data: Path | str, name: str) -> str | None:
    """What the running ``up`` wrote as ``name`` (``database_url``, ``redis_url``), or None."""
    return _read_line(Layout.of(data).run / name)


def _read_line(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
