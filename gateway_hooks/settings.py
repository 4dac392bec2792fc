"""What one gateway process is told by its environment, read once at start."""

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from gateway_hooks.contract.identity import IdentityError, Keyring, parse_keyring
from gateway_hooks.contract.sealing import SealingError, SealingKeys, parse_sealing_keys
from gateway_hooks.errors import SettingsError
from gateway_hooks.identity.address import Network, parse_networks

MIN_SALT_BYTES = 32
DEFAULT_BODY_LIMIT = 2 * 1024 * 1024
_NO_KEYS = SealingKeys({})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``gateway_id`` names this process for its whole life; ``url`` is where it listens.

    ``trusted_proxies`` may say in ``X-Forwarded-For`` who asks; nobody else is believed. Without
    ``sealing_keys`` no token issuer with a shared secret is served. ``tokenizers`` holds a folder per base
    model whose own folder is not on this host. Without ``metrics_token`` there are no metrics for anybody,
    without ``ner_model`` (a spaCy package or folder) no policy that asks for the deeper tier is served.
    """

    data: Path
    redis_url: str
    keyring: Keyring = field(repr=False)
    salt_secret: bytes = field(repr=False)
    url: str
    gateway_id: str
    sealing_keys: SealingKeys = field(default=_NO_KEYS, repr=False)
    trusted_proxies: tuple[Network, ...] = ()
    tokenizers: Path | None = None
    metrics_token: str | None = field(default=None, repr=False)
    ner_model: str | None = None
    body_limit: int = DEFAULT_BODY_LIMIT
    redis_timeout: timedelta = timedelta(milliseconds=500)
    redis_pause: timedelta = timedelta(milliseconds=500)
    snapshot_poll: timedelta = timedelta(seconds=1)
    workers_poll: timedelta = timedelta(milliseconds=500)
    record_interval: timedelta = timedelta(seconds=2)
    lease_renewal: timedelta = timedelta(seconds=5)
    metrics_interval: timedelta = timedelta(seconds=2)
    connect_timeout: timedelta = timedelta(seconds=2)
    body_timeout: timedelta = timedelta(seconds=30)
    drain_timeout: timedelta = timedelta(seconds=2)

    @property
    def folder(self) -> Path:
        """Snapshot, workers and spools; shared by all gateway processes of this data folder."""
        return self.data / "gateway"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises ``SettingsError`` for what is missing or malformed."""
        try:
            keyring = parse_keyring(_secret(environment, "TENANTRY_IDENTITY_KEYS"))
        except IdentityError as error:
            message = f"TENANTRY_IDENTITY_KEYS: {error}"
            raise SettingsError(message) from error
        return cls(
            data=Path(environment.get("TENANTRY_DATA", "./var")),
            redis_url=_secret(environment, "REDIS_URL"),
            keyring=keyring,
            salt_secret=_salt(_secret(environment, "TENANTRY_SALT_SECRET")),
            sealing_keys=_sealing_keys(environment, "TENANTRY_SECRETS_KEYS"),
            trusted_proxies=_networks(environment, "TENANTRY_TRUSTED_PROXIES"),
            tokenizers=_folder(environment, "TENANTRY_TOKENIZERS"),
            metrics_token=_optional_secret(environment, "TENANTRY_METRICS_TOKEN"),
            ner_model=environment.get("TENANTRY_NER_MODEL") or None,
            url=environment.get("TENANTRY_GATEWAY_URL", "http://127.0.0.1"),
            gateway_id=new_gateway_id(),
            body_limit=_bytes(environment, "TENANTRY_BODY_LIMIT", DEFAULT_BODY_LIMIT),
        )


def new_gateway_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def _folder(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name)
    return Path(value) if value else None


def _optional_secret(environment: Mapping[str, str], name: str) -> str | None:
    if environment.get(name) or environment.get(f"{name}_FILE"):
        return _secret(environment, name)
    return None


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        message = f"{name} is not set"
        raise SettingsError(message)
    return value


def _bytes(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name, str(default))
    if not value.isdecimal() or int(value) == 0:
        message = f"{name} is not a number of bytes"
        raise SettingsError(message)
    return int(value)


def _secret(environment: Mapping[str, str], name: str) -> str:
    """``NAME``, or the text of the file that ``NAME_FILE`` names."""
    path = environment.get(f"{name}_FILE")
    if not path:
        return _required(environment, name)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        message = f"{name}_FILE cannot be read: {error}"
        raise SettingsError(message) from error


def _salt(text: str) -> bytes:
    try:
        salt = bytes.fromhex(text)
    except ValueError as error:
        message = "TENANTRY_SALT_SECRET is not hex"
        raise SettingsError(message) from error
    if len(salt) < MIN_SALT_BYTES:
        message = f"TENANTRY_SALT_SECRET is shorter than {MIN_SALT_BYTES} bytes"
        raise SettingsError(message)
    return salt


def _sealing_keys(environment: Mapping[str, str], name: str) -> SealingKeys:
    if not environment.get(name) and not environment.get(f"{name}_FILE"):
        return _NO_KEYS
    try:
        return parse_sealing_keys(_secret(environment, name))
    except SealingError as error:
        message = f"{name}: {error}"
        raise SettingsError(message) from error


def _networks(environment: Mapping[str, str], name: str) -> tuple[Network, ...]:
    try:
        return parse_networks(environment.get(name, ""))
    except ValueError as error:
        message = f"{name} is no list of networks: {error}"
        raise SettingsError(message) from error
