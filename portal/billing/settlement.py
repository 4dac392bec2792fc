"""Keeps the gateway's money counters in Redis honest: settles holds, and raises what Redis forgot."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar, cast
from uuid import UUID

from gateway_hooks.contract import keys
from gateway_hooks.contract.settlement import DAY_KEPT_SECONDS, SETTLE, SPEND_KEPT_SECONDS
from portal.billing.spending import Scope, spent_by_scope
from portal.core.redis import client as redis_client
from portal.tenants.models import Tenant

BATCH = 500
"""So many keys are asked for at once: more would keep Redis from the gateways' decisions."""

_RAISE_TENANT = """
-- KEYS[1] says that the tenant's counters are known   KEYS[2..] its spend keys
-- ARGV[i*2-1], ARGV[i*2]: micro-currency known to the ledger and seconds to keep, of KEYS[i+1]
-- One step, so that no counter is called known that was lost a moment after it was raised.
for i = 2, #KEYS do
  local known, kept = tonumber(ARGV[i * 2 - 3]), ARGV[i * 2 - 2]
  if tonumber(redis.call('GET', KEYS[i]) or '0') < known then redis.call('SET', KEYS[i], ARGV[i * 2 - 3]) end
  redis.call('EXPIRE', KEYS[i], kept)
end
redis.call('SET', KEYS[1], 1)
"""

_T = TypeVar("_T")


def settle_holds(settlements: Iterable[tuple[str, str, int]]) -> int:
    """Settle (tenant id, request id, micro-currency) each; how many still had a hold."""
    connected = redis_client()
    script = connected.register_script(SETTLE)
    with connected.pipeline(transaction=False) as pipeline:
        for tenant_id, request_id, micro in settlements:
            script(keys=[keys.holds(tenant_id)], args=[request_id, micro], client=pipeline)
        return sum(int(answer) for answer in pipeline.execute())


def raise_spend_floor(now: datetime) -> int:
    """Lift every counter of the running day and month that is below the ledger; how many were.

    Tenants, apps and keys have one each. Reads first, since hardly ever anything is to be done.
    """
    spent = spent_by_scope(Tenant.objects.all(), now)
    low: dict[Scope, int] = {}
    for part in _parts(list(spent)):
        held = cast("list[bytes | None]", redis_client().mget([scope.key for scope in part]))
        low |= {
            scope: spent[scope] for scope, raw in zip(part, held, strict=True) if int(raw or 0) < spent[scope]
        }
    _raise(_by_tenant(low))
    return len(low)


def make_spend_known(now: datetime) -> int:
    """The same for tenants whose counters Redis does not have, new ones or after a loss; how many tenants.

    Until then a gateway refuses whoever of them has a spend limit.
    """
    unknown = _unknown(list(Tenant.objects.order_by().values_list("pk", flat=True)))
    for part in _parts(unknown):
        spent = _by_tenant(spent_by_scope(Tenant.objects.filter(pk__in=part), now))
        _raise({tenant_id: spent.get(tenant_id, {}) for tenant_id in part})
    return len(unknown)


def _unknown(tenant_ids: Sequence[UUID]) -> list[UUID]:
    """One question per ``BATCH`` where all are known, which is nearly always."""
    connected = redis_client()
    found: list[UUID] = []
    for part in _parts(tenant_ids):
        names = [keys.spend_known(str(pk)) for pk in part]
        if connected.exists(*names) == len(names):
            continue
        held = cast("list[bytes | None]", connected.mget(names))
        found += [pk for pk, raw in zip(part, held, strict=True) if raw is None]
    return found


def _raise(spent: Mapping[UUID, Mapping[Scope, int]]) -> None:
    """One script per tenant, so that gateways have their turn in between."""
    connected = redis_client()
    script = connected.register_script(_RAISE_TENANT)
    for part in _parts(list(spent)):
        with connected.pipeline(transaction=False) as pipeline:
            for tenant_id in part:
                scopes = spent[tenant_id]
                names = [keys.spend_known(str(tenant_id)), *(scope.key for scope in scopes)]
                values = [value for scope, micro in scopes.items() for value in (micro, _kept(scope))]
                script(keys=names, args=values, client=pipeline)
            pipeline.execute()


def _kept(scope: Scope) -> int:
    """Seconds: a day's key is dropped sooner than a month's."""
    return DAY_KEPT_SECONDS if len(scope.period) == len("2026-01-31") else SPEND_KEPT_SECONDS


def _by_tenant(spent: Mapping[Scope, int]) -> dict[UUID, dict[Scope, int]]:
    found: dict[UUID, dict[Scope, int]] = defaultdict(dict)
    for scope, micro in spent.items():
        found[scope.tenant_id][scope] = micro
    return found


def _parts(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
