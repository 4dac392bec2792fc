"""What the launcher reads from its environment, once, at start."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gateway_hooks.contract.identity import Keyring, parse_keyring
from inference.errors import InferenceError

GIB = 1 << 30


class SettingsError(InferenceError):
    """The environment lacks something or holds nonsense."""

    code = "settings_invalid"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``data`` is absolute; ``drain_notice`` is how long gateways get to notice that we drain."""

    redis_url: str
    data: Path
    adapter_store: Path
    keyring: Keyring
    device: str
    snapshot_wait: timedelta
    start_limit: timedelta
    hang_limit: timedelta
    drain_notice: timedelta
    drain_limit: timedelta
    interval: timedelta
    outbox_max_bytes: int
    max_body_bytes: int


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises ``SettingsError`` or ``IdentityError``, both with a code."""
    data = Path(environment.get("TENANTRY_DATA") or "var").expanduser().resolve()
    store = environment.get("TENANTRY_ADAPTER_STORE")
    return Settings(
        redis_url=secret(environment, "REDIS_URL"),
        data=data,
        adapter_store=Path(store).expanduser().resolve() if store else data / "adapters",
        keyring=parse_keyring(secret(environment, "TENANTRY_IDENTITY_KEYS")),
        device=environment.get("TENANTRY_DEVICE") or ("cuda" if Path("/dev/nvidiactl").exists() else "cpu"),
        snapshot_wait=_seconds(environment, "TENANTRY_SNAPSHOT_WAIT_SECONDS", 300),
        start_limit=_seconds(environment, "TENANTRY_WORKER_START_SECONDS", 900),
        hang_limit=_seconds(environment, "TENANTRY_WORKER_HANG_SECONDS", 30),
        drain_notice=_seconds(environment, "TENANTRY_DRAIN_NOTICE_SECONDS", 3),
        drain_limit=_seconds(environment, "TENANTRY_DRAIN_LIMIT_SECONDS", 60),
        interval=_seconds(environment, "TENANTRY_INTERVAL_SECONDS", 10),
        outbox_max_bytes=int(_number(environment, "TENANTRY_OUTBOX_MAX_BYTES", GIB)),
        max_body_bytes=int(_number(environment, "TENANTRY_WORKER_MAX_BODY_BYTES", 16 << 20)),
    )


def secret(environment: Mapping[str, str], name: str) -> str:
    """The value of ``name``, or the content of the file that ``<name>_FILE`` names."""
    if value := environment.get(name):
        return value
    if path := environment.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            message = f"{name}_FILE cannot be read: {error}"
            raise SettingsError(message) from error
    message = f"{name} (or {name}_FILE) is not set"
    raise SettingsError(message, code="settings_missing")


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        message = f"{name} is not a number: {text!r}"
        raise SettingsError(message) from error
    if value < 0:
        message = f"{name} is negative: {text}"
        raise SettingsError(message)
    return value


def _seconds(environment: Mapping[str, str], name: str, default: float) -> timedelta:
    return timedelta(seconds=_number(environment, name, default))
