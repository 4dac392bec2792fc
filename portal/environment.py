"""The portal's environment, read once at start into one typed object.

Every secret ``X``, the two URLs among them, may come from a file named by ``X_FILE``. Without
``DATABASE_URL`` and ``REDIS_URL`` the servers that ``manage.py up`` runs are found through the files it
leaves in ``<data>/run``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from portal.ops.layout import environment_secret, read_run_file, read_secret

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Environment:
    data: Path
    adapter_store: Path
    database_url: str | None
    redis_url: str | None
    secret_key: str | None
    debug: bool
    allowed_hosts: tuple[str, ...]
    trusted_origins: tuple[str, ...]
    https: bool
    secrets_keys: str | None
    """``kid:hex[,kid:hex…]``: the first seals issuers' shared secrets, all open them."""
    allow_private_jwks: bool


def read_environment(env: Mapping[str, str] = os.environ) -> Environment:
    data = Path(env.get("TENANTRY_DATA", CHECKOUT / "var")).resolve()
    return Environment(
        data=data,
        adapter_store=Path(env.get("TENANTRY_ADAPTER_STORE", data / "adapters")).resolve(),
        database_url=environment_secret(env, "DATABASE_URL") or read_run_file(data, "database_url"),
        redis_url=environment_secret(env, "REDIS_URL") or read_run_file(data, "redis_url"),
        secret_key=environment_secret(env, "TENANTRY_SECRET_KEY") or read_secret(data, "django_secret_key"),
        debug=env.get("TENANTRY_DEBUG") == "1",
        allowed_hosts=_list(env.get("TENANTRY_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")),
        trusted_origins=_list(env.get("TENANTRY_TRUSTED_ORIGINS", "")),
        https=env.get("TENANTRY_HTTPS") == "1",
        secrets_keys=environment_secret(env, "TENANTRY_SECRETS_KEYS") or read_secret(data, "secrets_keys"),
        allow_private_jwks=env.get("TENANTRY_ALLOW_PRIVATE_JWKS") == "1",
    )


def database_settings(url: str | None) -> dict[str, object]:
    """Django's settings for a ``postgresql://`` URL; without one, no database at all."""
    if url is None:
        return {"ENGINE": "django.db.backends.dummy"}
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        message = f"DATABASE_URL must start with postgresql://, not {parts.scheme}://"
        raise ImproperlyConfigured(message)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
