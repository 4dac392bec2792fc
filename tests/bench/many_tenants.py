"""Fills a registry with tenants as large customers of the platform have: for measurements only.

In the product's environment: ``manage.py shell -c "from tests.bench.many_tenants import seed; seed(10000)"``.
"""

import hashlib

from django.db import transaction

from portal.adapters.models import Alias
from portal.core import clock
from portal.snapshots.services import publish_after_commit
from portal.tenants.models import ApiKey, App, Tenant

BATCH = 1000


@transaction.atomic
def seed(count: int) -> None:
    """``count`` tenants like the first one, each with an app, a key and an alias; then publish."""
    like = Tenant.objects.order_by("created_at").first()
    if like is None:
        message = "there is no tenant to be like"
        raise ValueError(message)
    tenants = [
        Tenant(name=f"Bench {number}", slug=f"bench-{number}", tier=like.tier, pool=like.pool)
        for number in range(count)
    ]
    apps = [App(tenant=tenant, name="bench") for tenant in tenants]
    issued = [
        ApiKey(
            id=f"{number:012d}",
            sha256=hashlib.sha256(str(number).encode()).hexdigest(),
            app=app,
            created_at=clock.now(),
        )
        for number, app in enumerate(apps)
    ]
    Tenant.objects.bulk_create(tenants, batch_size=BATCH)
    App.objects.bulk_create(apps, batch_size=BATCH)
    ApiKey.objects.bulk_create(issued, batch_size=BATCH)
    Alias.objects.bulk_create([Alias(tenant=tenant, name="bench") for tenant in tenants], batch_size=BATCH)
    publish_after_commit()
