"""What ``up`` starts: the services, their commands, and the environment they share."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from portal.ops import probes
from portal.ops.claim import MARK
from portal.ops.embedded import (
    initialise_postgres,
    postgres_answers,
    postgres_server,
    postgres_url,
    redis_answers,
    redis_server,
    redis_url,
)
from portal.ops.layout import Layout, environment_secret
from portal.ops.ports import Wanted, embedded_port
from portal.ops.services import Service

CELERY_NODE = "celery@tenantry-up"
WORKER_ID = "local-1"
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - only compared with
DRAIN_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the person chose. Ports of embedded servers are None where any free one will do."""

    data: Path
    host: str
    portal_port: int
    gateway_port: int
    worker_port: int
    postgres_port: int | None
    redis_port: int | None
    json_file: Path | None
    demo: bool

    def wanted_ports(self) -> list[Wanted]:
        return [
            Wanted("the portal", self.host, self.portal_port, "--portal-port"),
            Wanted("the gateway", self.host, self.gateway_port, "--gateway-port"),
            Wanted("the worker", "127.0.0.1", self.worker_port, "--worker-port"),
        ]

    @property
    def urls(self) -> dict[str, str]:
        shown = ANY_ADDRESS.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return {
            "console": f"http://{shown}:{self.portal_port}",
            "gateway": f"http://{shown}:{self.gateway_port}",
            "worker": f"http://127.0.0.1:{self.worker_port}",
        }


@dataclass(frozen=True, kw_only=True)
class Stores:
    """PostgreSQL and Redis: where they are, and the services that run the embedded ones."""

    database_url: str
    redis_url: str
    services: tuple[Service, ...]


def plan_stores(options: Options, layout: Layout, env: Mapping[str, str]) -> Stores:
    """Make the embedded servers' folders where the environment names no server of its own."""
    services: list[Service] = []
    database, broker = environment_secret(env, "DATABASE_URL"), environment_secret(env, "REDIS_URL")
    if not database:
        port = embedded_port(layout.data / "ports.json", "postgres", asked=options.postgres_port)
        initialise_postgres(layout)
        database = postgres_url(layout, port=port)
        services.append(_postgres(layout, port, database))
    if not broker:
        port = embedded_port(layout.data / "ports.json", "redis", asked=options.redis_port)
        broker = redis_url(layout, port=port)
        services.append(_redis(layout, port, broker))
    return Stores(database_url=database, redis_url=broker, services=tuple(services))


def _postgres(layout: Layout, port: int, url: str) -> Service:
    server = postgres_server(layout, port=port)
    return Service(
        name="postgres",
        command=server.command,
        ready=lambda: postgres_answers(url),
        patience=90,
        grace=15,
        stop_signal=server.stop_signal,
        user=server.user,
    )


def _redis(layout: Layout, port: int, url: str) -> Service:
    server = redis_server(layout, port=port)
    return Service(name="redis", command=server.command, ready=lambda: redis_answers(url), patience=60)


def environment(options: Options, layout: Layout, stores: Stores, env: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process: the caller's, and what the data folder adds to it."""
    ours = {
        "DATABASE_URL": stores.database_url,
        "REDIS_URL": stores.redis_url,
        "TENANTRY_DATA": str(layout.data),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "PYTHONUNBUFFERED": "1",
        MARK: str(layout.run),
    }
    defaults = {
        "TENANTRY_ADAPTER_STORE": str(layout.data / "adapters"),
        "TENANTRY_DRAIN_LIMIT_SECONDS": str(DRAIN_SECONDS),
    }
    if options.host not in ANY_ADDRESS:
        defaults["TENANTRY_ALLOWED_HOSTS"] = f"localhost,127.0.0.1,[::1],{options.host}"
    made = {**defaults, **env, **ours}
    secrets = {
        "TENANTRY_IDENTITY_KEYS": "identity_keys",
        "TENANTRY_SALT_SECRET": "salt_secret",
        "TENANTRY_SECRET_KEY": "django_secret_key",
        "TENANTRY_SECRETS_KEYS": "secrets_keys",
        "TENANTRY_METRICS_TOKEN": "metrics_token",
    }
    for name, file in secrets.items():
        if not env.get(name) and not env.get(f"{name}_FILE"):
            made[f"{name}_FILE"] = str(layout.secrets / file)
    return made


def plan_product(options: Options, layout: Layout, stores: Stores) -> tuple[Service, ...]:
    """The worker comes last, so that it is the first to end: it drains while all else still runs."""
    return (*_console(options, layout, stores), _gateway(options), _worker(options, stores))


def _console(options: Options, layout: Layout, stores: Stores) -> tuple[Service, ...]:
    python, broker = sys.executable, stores.redis_url
    bind = f"[{options.host}]" if ":" in options.host else options.host
    gunicorn = (
        "-m",
        "gunicorn",
        "--bind",
        f"{bind}:{options.portal_port}",
        "--workers",
        "1",
        "--threads",
        "8",
    )
    celery = ("-m", "celery", "-A", "workers")
    return (
        Service(
            name="portal",
            command=(python, *gunicorn, "portal.wsgi:application"),
            ready=lambda: probes.http_ok(f"{options.urls['console']}/healthz"),
            patience=120,
        ),
        Service(
            name="celery",
            command=(python, *celery, "worker", "--hostname", CELERY_NODE, "--loglevel", "INFO"),
            ready=lambda: probes.celery_answers(broker, CELERY_NODE),
            patience=120,
        ),
        Service(
            name="beat",
            command=(python, *celery, "beat", "--schedule", str(layout.run / "beat"), "--pidfile", ""),
            ready=lambda: probes.celery_works(broker, CELERY_NODE),
            patience=150,
        ),
    )


def _gateway(options: Options) -> Service:
    url = options.urls["gateway"]
    listen = ("--host", options.host, "--port", str(options.gateway_port))
    return Service(
        name="gateway",
        command=(sys.executable, "-m", "gateway_hooks", *listen),
        ready=lambda: probes.http_ok(f"{url}/readyz"),
        patience=180,
        grace=13,
        environment={"TENANTRY_GATEWAY_URL": url},
    )


def _worker(options: Options, stores: Stores) -> Service:
    probe = probes.WorkerReady(stores.redis_url, WORKER_ID)
    serve = ("serve", "--pool", "default", "--worker-id", WORKER_ID, "--port", str(options.worker_port))
    return Service(
        name="worker",
        command=(sys.executable, "-m", "inference", *serve),
        ready=probe.ready,
        starting=probe.starting,
        patience=float(os.environ.get("TENANTRY_WORKER_START_SECONDS") or 900),
        grace=DRAIN_SECONDS + 10,
    )
