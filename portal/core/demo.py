"""The demo: two tenants on one pool, made through the same services and checks as real ones.

``TENANTRY_DEMO_MODEL``, a folder or a Hugging Face id, is served instead of the demo's own model: then
without its adapters, which fit no other.

Run again, it adds what is missing and touches nothing that is there.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from portal.adapters.models import Adapter, AdapterVersion, Alias
from portal.adapters.services import create_adapter, register_version, set_alias
from portal.adapters.sources import Folder
from portal.billing.models import PriceBook, Rate
from portal.core.services import sync_roles
from portal.environment import CHECKOUT
from portal.fleet.models import NodeRate, Pool
from portal.fleet.services import kv_bytes_of, set_node_rate
from portal.tenants.configurations import publish, save_draft
from portal.tenants.models import Tenant
from portal.tenants.services import create_app, create_tenant, issue_key
from portal.tiers.models import Tier

BASE_MODEL = "tenantry-demo"
MODEL_HOME = CHECKOUT / "inference" / "demo_model"
ADMIN = "admin"

TIERS: Mapping[str, Mapping[str, Any]] = {
    "Starter": {
        "description": "To try things out.",
        "requests_per_minute": 60,
        "tokens_per_minute": 30_000,
        "concurrency": 4,
        "monthly_spend_limit": Decimal(20),
        "max_output_tokens": 256,
        "request_timeout_seconds": 60,
    },
    "Business": {
        "description": "For products in daily use.",
        "requests_per_minute": 600,
        "tokens_per_minute": 300_000,
        "concurrency": 32,
        "max_output_tokens": 512,
        "weight": 2,
        "clamp_output": True,
        "alert_percentages": [50, 80, 100],
    },
    "Enterprise": {
        "description": "For the largest customers.",
        "requests_per_minute": 3_000,
        "tokens_per_minute": 2_000_000,
        "concurrency": 128,
        "max_output_tokens": 1_024,
        "weight": 4,
    },
}


# Nothing here changes what the demo's adapters answer.
CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    "acme-health": {
        "bounds": {"temperature": {"high": 1.0}},
        "stop": ["<|end_of_record|>"],
        "pii": {
            "entities": {
                "EMAIL_ADDRESS": "mask",
                "PHONE_NUMBER": "mask",
                "CREDIT_CARD": "mask",
                "IBAN_CODE": "mask",
                "US_SSN": "mask",
                "UK_NHS": "mask",
                "API_KEY": "redact",
                "PRIVATE_KEY": "block",
            },
        },
    },
}


@dataclass(frozen=True)
class DemoTenant:
    key: str
    name: str
    slug: str
    tier: str
    app: str
    details: Mapping[str, Any] = field(default_factory=dict)


TENANTS = (
    DemoTenant(
        "acme",
        "Acme Health",
        "acme-health",
        "business",
        "Patient assistant",
        {"monthly_spend_limit": Decimal(50), "service_class": "premium_shared", "region": "EU"},
    ),
    DemoTenant("globex", "Globex Shop", "globex-shop", "enterprise", "Shop assistant", {"region": "US"}),
)


@dataclass
class Seeded:
    """What was made, with the secrets that are shown once. All empty where everything was there."""

    admin: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value}


@transaction.atomic
def seed(now: datetime) -> Seeded:
    made = Seeded()
    sync_roles()
    _admin(made)
    tiers = {tier.slug: tier for tier in _tiers()}
    pool = _pool(now)
    _prices(pool, now)
    for demo in TENANTS:
        if not Tenant.objects.filter(slug=demo.slug).exists():
            _tenant(demo, tiers[demo.tier], pool, now, made)
    return made


def _admin(made: Seeded) -> None:
    if not User.objects.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(12)
        User.objects.create_superuser(ADMIN, password=password)
        made.admin = {"username": ADMIN, "password": password}


def _tiers() -> list[Tier]:
    return [
        Tier.objects.get_or_create(slug=name.lower(), defaults={"name": name, **values})[0]
        for name, values in TIERS.items()
    ]


def _pool(now: datetime) -> Pool:
    base_model, model = demo_model(os.environ.get("TENANTRY_DEMO_MODEL"))
    pool, _ = Pool.objects.get_or_create(
        name="default",
        defaults={
            "base_model": base_model,
            "model": model,
            "kv_bytes_per_token": kv_bytes_of(model),
        },
    )
    if not NodeRate.objects.filter(pool=pool).exists():
        set_node_rate(
            pool=pool,
            hourly_rate=Decimal("2.50"),
            currency="USD",
            effective_from=_month_start(now),
            now=now,
        )
    return pool


def demo_model(chosen: str | None) -> tuple[str, str]:
    """(the name to serve it by, what vLLM loads). A folder is named in full: the worker may run elsewhere."""
    if not chosen:
        return BASE_MODEL, str(MODEL_HOME / "base")
    folder = Path(chosen).expanduser()
    model = str(folder.resolve()) if folder.is_dir() else chosen
    return Path(model).name, model


def _prices(pool: Pool, now: datetime) -> None:
    if PriceBook.objects.exists():
        return
    book = PriceBook.objects.create(name="List prices", currency="USD", effective_from=_month_start(now))
    Rate.objects.create(
        book=book,
        base_model=pool.base_model,
        input_price=Decimal("0.50"),
        cached_input_price=Decimal("0.10"),
        output_price=Decimal("1.50"),
    )
    PriceBook.objects.filter(pk=book.pk).update(published_at=now)  # last: a published book never changes


def _month_start(now: datetime) -> datetime:
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _tenant(demo: DemoTenant, tier: Tier, pool: Pool, now: datetime, made: Seeded) -> None:
    tenant = create_tenant(name=demo.name, slug=demo.slug, tier=tier, pool=pool, **demo.details)
    app = create_app(tenant=tenant, name=demo.app)
    made.keys[demo.key] = issue_key(app=app, now=now, user=None, name="First key").secret
    set_alias(tenant=tenant, name="base", version=None)
    voice = _voice(tenant, now) if pool.base_model == BASE_MODEL else None
    set_alias(tenant=tenant, name="assistant", version=voice)
    _configure(tenant, now)
    made.aliases[demo.key] = sorted(Alias.objects.filter(tenant=tenant).values_list("name", flat=True))


def _configure(tenant: Tenant, now: datetime) -> None:
    if content := CONFIGURATIONS.get(tenant.slug):
        note = "Personal data is masked before the model sees it."
        draft = save_draft(tenant=tenant, content=dict(content), now=now, user=None, note=note)
        publish(draft=draft, now=now, user=None)


def _voice(tenant: Tenant, now: datetime) -> AdapterVersion:
    adapter: Adapter = create_adapter(tenant=tenant, name="voice", description=f"Answers as {tenant.name}.")
    folder: Path = MODEL_HOME / "adapters" / tenant.slug
    return register_version(adapter=adapter, source=Folder(folder), user=None, now=now, note="Demo")
