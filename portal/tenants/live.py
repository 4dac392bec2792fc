"""A tenant's figures of this very moment, from Redis. Each read says by ``None`` that Redis is away."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway_hooks.contract import keys
from gateway_hooks.contract.limits_view import Used, read_used, used_command
from gateway_hooks.contract.pool_view import PoolView, TenantInPool, read_pool_view
from portal.billing.months import day_of, month_of
from portal.core.redis import REDIS_AWAY, client
from portal.fleet.models import Pool
from portal.tenants.models import Tenant
from portal.tiers.models import BANDS, ServiceClass

logger = logging.getLogger(__name__)


def used_now(tenant: Tenant, scopes: Sequence[str], now: datetime) -> list[Used] | None:
    """The counters of ``scopes`` (``contract.keys``), in one round trip."""
    day, month = (of(now, tenant.billing_timezone) for of in (day_of, month_of))
    try:
        with client().pipeline(transaction=False) as pipeline:
            for scope in scopes:
                command = used_command(str(tenant.pk), scope, day=day, month=month)
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call] # redis publishes none
            answers: list[Any] = pipeline.execute()
    except REDIS_AWAY:
        logger.warning("limits in use are not known: Redis is away")
        return None
    return [read_used(answer) for answer in answers]


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A tenant's place in a full pool: its own values, or its tier's."""

    weight: int
    band: int
    depth: int
    wait_seconds: int


def promise_of(tenant: Tenant) -> Promise:
    def own(name: str) -> int:
        value = getattr(tenant, name)
        return int(getattr(tenant.tier, name) if value is None else value)

    return Promise(
        weight=own("weight"),
        band=BANDS[ServiceClass(tenant.service_class)],
        depth=own("queue_depth"),
        wait_seconds=own("queue_wait_seconds"),
    )


@dataclass(frozen=True, kw_only=True)
class Place:
    """A tenant in one pool's queue. ``ahead``: how many tenants have their turn before it."""

    pool: Pool
    view: PoolView
    tenant: TenantInPool | None
    ahead: int


def places(tenant: Tenant, pools: Sequence[Pool]) -> list[Place] | None:
    """Its place in each of ``pools``."""
    found = []
    for pool in pools:
        view = pool_now(pool)
        if view is None:
            return None
        waiting = [one.tenant_id for one in view.tenants if one.waiting]
        mine = next((one for one in view.tenants if one.tenant_id == str(tenant.pk)), None)
        ahead = waiting.index(mine.tenant_id) if mine is not None and mine.waiting else 0
        found.append(Place(pool=pool, view=view, tenant=mine, ahead=ahead))
    return found


def pool_now(pool: Pool) -> PoolView | None:
    try:
        return read_pool_view(client(), str(pool.pk))
    except REDIS_AWAY:
        logger.warning("the queue of pool %s is not known: Redis is away", pool.name)
        return None


def pools_of(tenant: Tenant) -> list[Pool]:
    """Where its requests may wait: its own pool, and those of its aliases."""
    others = Pool.objects.filter(alias__tenant=tenant).exclude(pk=tenant.pool_id).distinct().order_by("name")
    return [tenant.pool, *others]


TENANT = keys.TENANT_SCOPE
