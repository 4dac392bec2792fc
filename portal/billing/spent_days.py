"""Keeps what was spent by day and scope, in the transaction of the ledger entries that it sums.

Limits are looked at twice a minute; a month of entries is not to be summed each time. The day is that of
the tenant's zone at the time of writing, and the zone is kept with it: whoever moved to another zone lately
is summed from the ledger (``spending``).
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_CEILING
from uuid import UUID

from django.db import connection

from portal.billing.models import LedgerEntry
from portal.billing.months import day_of
from portal.tenants.models import Tenant

MICRO = 1_000_000

_Key = tuple[UUID, UUID | None, str, str, date]
"""(tenant, app, key, zone, day)."""

_ADD = """
INSERT INTO billing_spentday AS known (tenant_id, app_id, key_id, zone, day, micro)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::date[], %s::bigint[])
ON CONFLICT (tenant_id, app_id, key_id, zone, day) DO UPDATE SET micro = known.micro + EXCLUDED.micro
"""


def add_spent(entries: Iterable[LedgerEntry]) -> None:
    """Count entries that are written in the running transaction. Those without a price cost nothing."""
    priced = [entry for entry in entries if entry.rate_id is not None]
    if not priced:
        return
    ids = {entry.tenant_id for entry in priced}
    zones = dict(Tenant.objects.filter(pk__in=ids).values_list("pk", "billing_timezone"))
    sums: Counter[_Key] = Counter()
    for entry in priced:
        zone = zones[entry.tenant_id]
        day = date.fromisoformat(day_of(entry.ts, zone))
        sums[entry.tenant_id, entry.app_id, entry.key_id, zone, day] += micro_counted(entry)
    # In one order, so that two raters never wait for each other in a ring.
    rows = sorted(sums.items(), key=lambda item: tuple(map(str, item[0])))
    columns = [list(column) for column in zip(*(key for key, _ in rows), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [*columns, [micro for _, micro in rows]])


def micro_counted(entry: LedgerEntry) -> int:
    """What the gateway would have counted: rounded up to a micro."""
    return int((entry.amount * MICRO).to_integral_value(ROUND_CEILING))
