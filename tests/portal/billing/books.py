"""What the tests of the books start from: tenants with prices, and requests as their events tell them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import redis
from django.conf import settings

from gateway_hooks.contract import keys
from gateway_hooks.contract.usage import EngineEvent, GatewayEvent, UsageEvent, WorkerInterval, encode_event
from portal.billing.models import PriceBook, Rate
from portal.fleet.models import NodeRate, Pool
from portal.tenants.models import App, Tenant
from portal.tiers.models import Tier

MODEL = "demo-model"
START = datetime(2026, 11, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def database_url() -> str:
    """The tests' database, for processes of their own: pytest-django named it after the configured one."""
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**settings.DATABASES["default"])


def make_pool(name: str = "main", *, hourly: str | None = "3.60") -> Pool:
    pool = Pool.objects.create(name=name, base_model=MODEL, model="/models/demo")
    if hourly is not None:
        NodeRate.objects.create(pool=pool, hourly_rate=Decimal(hourly), effective_from=LONG_AGO)
    return pool


def make_tenant(pool: Pool, name: str = "Acme", **fields: Any) -> Tenant:
    tier, _made = Tier.objects.get_or_create(slug="standard", defaults={"name": "Standard"})
    slug = name.lower().replace(" ", "-")
    return Tenant.objects.create(name=name, slug=slug, tier=tier, pool=pool, **fields)


def make_app(tenant: Tenant, name: str = "chat") -> App:
    return App.objects.create(tenant=tenant, name=name)


def make_book(
    *rates: tuple[str, str, str],
    effective_from: datetime = LONG_AGO,
    published: bool = True,
    base_model: str = MODEL,
    name: str = "November",
    currency: str = "USD",
    tier: Tier | None = None,
    tenant: Tenant | None = None,
) -> PriceBook:
    """One rate per triple of prices: input, cached input, output."""
    book = PriceBook.objects.create(name=name, effective_from=effective_from, currency=currency)
    for given, cached, output in rates:
        add_rate(book, given, cached, output, base_model=base_model, tier=tier, tenant=tenant)
    if published:
        PriceBook.objects.filter(pk=book.pk).update(published_at=effective_from)
        book.refresh_from_db()
    return book


def add_rate(book: PriceBook, given: str, cached: str, output: str, **scope: Any) -> Rate:
    return Rate.objects.create(
        book=book,
        base_model=scope.pop("base_model", MODEL),
        input_price=Decimal(given),
        cached_input_price=Decimal(cached),
        output_price=Decimal(output),
        **scope,
    )


def gateway_event(tenant: Tenant | None, request_id: str, **fields: Any) -> GatewayEvent:
    given = {
        "event_id": f"g-{request_id}",
        "request_id": request_id,
        "gateway_id": "gateway-1",
        "ts": NOW,
        "endpoint": "chat.completions",
        "stream": False,
        "outcome": "completed",
        "http_status": 200,
        "tenant_id": str(tenant.pk) if tenant else None,
        "alias": "support",
        "base_model": MODEL,
        "worker_id": "worker-1",
        "forwarded": True,
        "prompt_tokens": 100,
        "cached_tokens": 40,
        "completion_tokens": 20,
    }
    return GatewayEvent(**(given | fields))


def engine_event(tenant: Tenant, request_id: str, **fields: Any) -> EngineEvent:
    given = {
        "event_id": f"e-{request_id}",
        "request_id": request_id,
        "worker_id": "worker-1",
        "boot_id": "boot-1",
        "pool_id": str(tenant.pool_id),
        "ts": NOW,
        "finished_at": NOW + timedelta(seconds=1),
        "tenant_id": str(tenant.pk),
        "app_id": "",
        "key_id": "",
        "alias": "support",
        "base_model": MODEL,
        "adapter_version_id": None,
        "adapter_digest": None,
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "cached_tokens": 40,
        "completion_tokens": 20,
        "prefill_ns": 100_000_000,
        "decode_ns": 400_000_000,
        "queue_ns": 0,
        "steps": 21,
    }
    return EngineEvent(**(given | fields))


def interval(pool: Pool, start: datetime, seconds: float, **fields: Any) -> WorkerInterval:
    given = {
        "event_id": f"i-{fields.get('worker_id', 'worker-1')}-{start.isoformat()}",
        "worker_id": "worker-1",
        "boot_id": "boot-1",
        "pool_id": str(pool.pk),
        "start": start,
        "end": start + timedelta(seconds=seconds),
        "startup_ns": 0,
        "busy_ns": 0,
        "steps": 0,
    }
    return WorkerInterval(**(given | fields))


def send(client: "redis.Redis", *events: UsageEvent | bytes) -> None:
    """Put events on the streams as gateways and workers do; bytes go to the gateways' one as they are."""
    for event in events:
        stream = keys.GATEWAY_EVENTS if isinstance(event, GatewayEvent | bytes) else keys.ENGINE_EVENTS
        raw = event if isinstance(event, bytes) else encode_event(event)
        client.xadd(stream, {keys.EVENT_FIELD: raw})


def hold(client: "redis.Redis", tenant: Tenant, request_id: str, micro: int, *scopes: str) -> list[str]:
    """A hold as the gateway's admission writes it; returns its spend keys."""
    names = [keys.spend(str(tenant.pk), scope, "2026-11") for scope in scopes or ("tenant",)]
    for name in names:
        client.incrby(name, micro)
    client.hset(keys.holds(str(tenant.pk)), request_id, msgspec.json.encode({"keys": names, "micro": micro}))
    return names
