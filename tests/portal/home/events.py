"""Events as ingestion would have stored them."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from portal.billing.models import LedgerEntry
from portal.billing.periods import period_for
from portal.tenants.models import Tenant
from portal.usage.models import EngineUsage, GatewayUsage, WorkerTime

_number = itertools.count(1)


def gateway(tenant: Tenant | None, ts: datetime, **fields: Any) -> GatewayUsage:
    number = next(_number)
    return GatewayUsage.objects.create(
        **{
            "event_id": f"g{number:08d}",
            "request_id": f"req-{number:08d}",
            "ts": ts,
            "ingested_at": ts,
            "payload": {"gateway_id": "gateway-1", "snapshot_version": 7, "forwarded": True},
            "tenant_id": tenant.pk if tenant else None,
            "endpoint": "chat.completions",
            "outcome": "completed",
            "http_status": 200,
            "stream": False,
            "prompt_tokens": 10,
            "cached_tokens": 0,
            "completion_tokens": 5,
            "ttft_us": 100_000,
            "duration_us": 500_000,
            **fields,
        }
    )


def engine(tenant: Tenant, ts: datetime, **fields: Any) -> EngineUsage:
    number = next(_number)
    return EngineUsage.objects.create(
        **{
            "event_id": f"e{number:08d}",
            "request_id": f"req-{number:08d}",
            "ts": ts,
            "ingested_at": ts,
            "payload": {},
            "tenant_id": tenant.pk,
            "worker_id": "worker-1",
            "boot_id": "boot",
            "pool_id": str(tenant.pool_id),
            "finish_reason": "stop",
            "finished_at": ts + timedelta(seconds=1),
            "prompt_tokens": 10,
            "cached_tokens": 4,
            "completion_tokens": 5,
            "prefill_ns": 1_000_000,
            "decode_ns": 2_000_000,
            "queue_ns": 500,
            **fields,
        }
    )


def worker(ts: datetime, *, seconds: int, busy_ns: int, startup_ns: int = 0) -> WorkerTime:
    return WorkerTime.objects.create(
        event_id=f"w{next(_number):08d}",
        ts=ts,
        end=ts + timedelta(seconds=seconds),
        ingested_at=ts,
        payload={},
        worker_id="worker-1",
        boot_id="boot",
        pool_id="1",
        busy_ns=busy_ns,
        startup_ns=startup_ns,
    )


def entry(tenant: Tenant, ts: datetime, amount: str, **fields: Any) -> LedgerEntry:
    return LedgerEntry.objects.create(
        **{
            "request_id": f"led-{next(_number):08d}",
            "period": period_for(ts),
            "ts": ts,
            "tenant": tenant,
            "tenant_name": tenant.name,
            "base_model": "demo-model",
            "currency": "USD",
            "source": "matched",
            "outcome": "completed",
            "prompt_tokens": 10,
            "cached_tokens": 4,
            "completion_tokens": 5,
            "input_amount": Decimal(amount),
            "cached_input_amount": Decimal(0),
            "output_amount": Decimal(0),
            "created_at": ts,
            **fields,
        }
    )
