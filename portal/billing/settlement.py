"""Keeps the gateway's money counters in Redis honest: settles holds, and raises what Redis forgot."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar, cast
from uuid import UUID

from gateway_hooks.contract import keys
from gateway_hooks.contract.settlement import DAY_KEPT_SECONDS, SETTLE, SPEND_KEPT_SECONDS
from portal.billing.losses import countable
from portal.billing.spending import Scope, spent_by_scope
from portal.core.redis import client as redis_client
from portal.tenants.models import Tenant

BATCH = 500
"""So many keys are asked for at once: more would keep Redis from the gateways' decisions."""

_RAISE = """
-- ARGV[j], ARGV[j+1]: micro-currency known to the ledger and seconds to keep, of KEYS[i]
local function raise(i, j)
  while i <= #KEYS do
    if tonumber(redis.call('GET', KEYS[i]) or '0') < tonumber(ARGV[j]) then
      redis.call('SET', KEYS[i], ARGV[j])
    end
    redis.call('EXPIRE', KEYS[i], ARGV[j + 1])
    i, j = i + 1, j + 2
  end
end
"""

_RAISE_FLOOR = _RAISE + "raise(1, 1)"
"""KEYS: spend keys of one tenant."""

_MAKE_KNOWN = (
    _RAISE
    + """
-- KEYS[1] says that the tenant's counters are known   KEYS[2] when they were lost   KEYS[3..] its spend keys
-- ARGV[1] what KEYS[2] was when this was decided, or '': lost once more since then, it waits once more
-- One step, so that no counter is called known that was lost a moment after it was raised.
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
raise(3, 2)
redis.call('SET', KEYS[1], 1)
redis.call('DEL', KEYS[2])
return 1
"""
)

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
    _raise_floor(_by_tenant(low))
    return len(low)


def make_spend_known(now: datetime) -> int:
    """The same for tenants whose counters Redis does not have, and they are known; how many tenants.

    A new tenant's at once; after a loss only those of whose earlier requests nothing is awaited any more.
    Until then a gateway refuses whoever of them has a spend limit.
    """
    unknown = _unknown(list(Tenant.objects.order_by().values_list("pk", flat=True)))
    made = 0
    for part in _parts(unknown):
        # Before the ledger is read: what ends meanwhile is in it.
        marks = countable(part, now)
        spent = _by_tenant(spent_by_scope(Tenant.objects.filter(pk__in=list(marks)), now)) if marks else {}
        made += _make_known(marks, spent)
    return made


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


def _raise_floor(spent: Mapping[UUID, Mapping[Scope, int]]) -> None:
    """One script per tenant, so that gateways have their turn in between."""
    script = redis_client().register_script(_RAISE_FLOOR)
    for part in _parts(list(spent)):
        with redis_client().pipeline(transaction=False) as pipeline:
            for tenant_id in part:
                names = [scope.key for scope in spent[tenant_id]]
                script(keys=names, args=_values(spent[tenant_id]), client=pipeline)
            pipeline.execute()


def _make_known(marks: Mapping[UUID, str], spent: Mapping[UUID, Mapping[Scope, int]]) -> int:
    script = redis_client().register_script(_MAKE_KNOWN)
    with redis_client().pipeline(transaction=False) as pipeline:
        for tenant_id, mark in marks.items():
            scopes, name = spent.get(tenant_id, {}), str(tenant_id)
            names = [keys.spend_known(name), keys.spend_lost(name), *(scope.key for scope in scopes)]
            script(keys=names, args=[mark, *_values(scopes)], client=pipeline)
        return sum(int(answer) for answer in pipeline.execute())


def _values(scopes: Mapping[Scope, int]) -> list[int]:
    return [value for scope, micro in scopes.items() for value in (micro, _kept(scope))]


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
