"""Keeps the day summaries: sums each day whose sources have grown since it was summed.

Run it every few minutes. Events are only ever added, so a day with as many rows as when it was summed is
up to date. A late event shows in a month's figures once the next run has seen it.
"""

from datetime import date, datetime, timedelta

from django.db import connection, transaction

from portal.core.windows import floor
from portal.home.figures import DAY, midnight
from portal.home.models import DayCharge, DayFigures
from portal.home.quantiles import BIN_SQL
from portal.usage.paid import FAILED, OWN_REQUESTS, OWN_WORK

KEPT_DAYS = 62
"""A 30-day window, the one before it, and this month and the last."""

_Counts = tuple[int, int, int, int]
_LOCK = 0x746E_0010


@transaction.atomic
def summarise(now: datetime) -> list[date]:
    """Bring the summaries of whole days up to date; returns the days that were summed anew.

    One at a time: who comes while another one is at it has nothing to do.
    """
    today = floor(now, DAY)
    first = today - timedelta(days=KEPT_DAYS)
    if not _try_lock():
        return []
    there, summed = _source_counts(first, today), _summed_counts(first.date())
    days = [(first + timedelta(days=i)).date() for i in range(KEPT_DAYS)]
    due = [day for day in days if there.get(day, (0, 0, 0, 0)) != summed.get(day)]
    for day in due:
        _sum_day(day, there.get(day, (0, 0, 0, 0)))
    DayFigures.objects.filter(day__lt=first.date()).delete()
    DayCharge.objects.filter(day__lt=first.date()).delete()
    return due


def _try_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])


def _source_counts(first: datetime, end: datetime) -> dict[date, _Counts]:
    found: dict[date, list[int]] = {}
    for index, table in enumerate(_SOURCES):
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT (ts AT TIME ZONE 'UTC')::date, count(*) FROM {table}"  # noqa: S608 - constants
                " WHERE ts >= %s AND ts < %s GROUP BY 1",
                [first, end],
            )
            for day, count in cursor.fetchall():
                found.setdefault(day, [0, 0, 0, 0])[index] = count
    return {day: (c[0], c[1], c[2], c[3]) for day, c in found.items()}


def _summed_counts(first: date) -> dict[date, _Counts]:
    entries = dict(_pairs("SELECT day, sum(entries) FROM home_daycharge WHERE day >= %s GROUP BY 1", first))
    rows = DayFigures.objects.filter(tenant_id__isnull=True, day__gte=first)
    return {
        day: (gateway, engine, worker, int(entries.get(day, 0)))
        for day, gateway, engine, worker in rows.values_list(
            "day", "gateway_rows", "engine_rows", "worker_rows"
        )
    }


def _pairs(sql: str, *values: date) -> list[tuple[date, int]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def _sum_day(day: date, counts: _Counts) -> None:
    """Two rows of figures per tenant at most: its own, and everyone's."""
    start = midnight(day)
    end = start + DAY
    DayFigures.objects.filter(day=day).delete()
    DayCharge.objects.filter(day=day).delete()
    with connection.cursor() as cursor:
        cursor.execute(_TENANTS, [day, list(FAILED), start, end, start, end])
        cursor.execute(
            _EVERYONE, [day, *counts[:3], list(FAILED), start, end, start, end, start, end, start, end]
        )
        cursor.execute(_CHARGES, [day, start, end])


_SOURCES = ("usage_gatewayusage", "usage_engineusage", "usage_workertime", "billing_ledgerentry")
_SPAN = "ts >= %s AND ts < %s"
_GATEWAY = "count(*) AS requests, count(*) FILTER (WHERE outcome = 'rejected') AS rejected, count(*) FILTER (WHERE outcome = ANY(%s)) AS failed"  # noqa: E501
_ENGINE = (
    "sum(prompt_tokens) AS prompt_tokens, sum(cached_tokens) AS cached_tokens,"
    " sum(completion_tokens) AS completion_tokens, sum(prefill_ns + decode_ns) AS gpu_ns"
)
_SUMMED = (
    "coalesce(requests, 0), coalesce(rejected, 0), coalesce(failed, 0), coalesce(prompt_tokens, 0),"
    " coalesce(cached_tokens, 0), coalesce(completion_tokens, 0), coalesce(gpu_ns, 0)"
)
_COLUMNS = "requests, rejected, failed, prompt_tokens, cached_tokens, completion_tokens, gpu_ns"
_TENANTS = (
    f"INSERT INTO home_dayfigures (day, tenant_id, {_COLUMNS}, ttft, busy_ns, startup_ns, alive_ns,"  # noqa: S608
    " gateway_rows, engine_rows, worker_rows)"
    f" SELECT %s, tenant_id, {_SUMMED}, '{{}}', 0, 0, 0, 0, 0, 0"
    f" FROM (SELECT tenant_id, {_GATEWAY} FROM usage_gatewayusage"
    f" WHERE {_SPAN} AND {OWN_REQUESTS} AND tenant_id IS NOT NULL GROUP BY 1) g"
    f" FULL JOIN (SELECT tenant_id, {_ENGINE} FROM usage_engineusage WHERE {_SPAN} AND {OWN_WORK}"
    " GROUP BY 1) e"
    " USING (tenant_id)"
)
_EVERYONE = (
    f"INSERT INTO home_dayfigures (day, gateway_rows, engine_rows, worker_rows, {_COLUMNS}, ttft,"  # noqa: S608
    " busy_ns, startup_ns, alive_ns)"
    f" SELECT %s, %s, %s, %s, {_SUMMED}, coalesce(bins, '{{}}'), coalesce(busy, 0), coalesce(startup, 0),"
    " coalesce(alive, 0)"
    f" FROM (SELECT {_GATEWAY} FROM usage_gatewayusage WHERE {_SPAN} AND {OWN_REQUESTS}) g,"
    f" (SELECT {_ENGINE} FROM usage_engineusage WHERE {_SPAN} AND {OWN_WORK}) e,"
    " (SELECT sum(busy_ns) AS busy, sum(startup_ns) AS startup,"
    ' sum(extract(epoch FROM "end" - ts) * 1000000000) AS alive'
    f" FROM usage_workertime WHERE {_SPAN}) w,"
    " (SELECT jsonb_object_agg(bin, n) AS bins FROM"
    f" (SELECT {BIN_SQL} AS bin, count(*) AS n FROM usage_gatewayusage"
    f" WHERE {_SPAN} AND {OWN_REQUESTS} AND ttft_us IS NOT NULL GROUP BY 1) counted) h"
)
_CHARGES = (
    "INSERT INTO home_daycharge (day, tenant_id, currency, amount, entries)"  # noqa: S608
    " SELECT %s, tenant_id, currency, sum(input_amount + cached_input_amount + output_amount), count(*)"
    f" FROM billing_ledgerentry WHERE {_SPAN} GROUP BY 2, 3"
)
