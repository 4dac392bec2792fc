"""Node rates, and what workers and gateways report about themselves."""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar, cast

import msgspec
from django.db import transaction

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import GatewayRecord, WorkerRecord, decode_gateway, decode_worker
from gateway_hooks.contract.kv import ModelConfigError, kv_bytes_per_token
from portal.core.redis import client
from portal.fleet.errors import FleetError
from portal.fleet.models import GatewayProcess, NodeRate, Pool, Worker
from portal.snapshots.services import publish_after_commit

logger = logging.getLogger(__name__)

FORGET_AFTER = timedelta(days=7)
"""A gateway process gets a new id at every start; the old ones would fill the page."""

_SREM_IF_GONE = """
-- KEYS[1] the set of ids   KEYS[2] the record of one   ARGV[1] its id
if redis.call('EXISTS', KEYS[2]) == 0 then return redis.call('SREM', KEYS[1], ARGV[1]) end
return 0
"""

_Record = TypeVar("_Record", WorkerRecord, GatewayRecord)


def sync_fleet(now: datetime) -> tuple[int, int]:
    """Take over what workers and gateways reported; returns how many of each are alive.

    Rows of those that are gone stay for ``FORGET_AFTER``. Raises ``REDIS_AWAY``.
    """
    pools = {str(pk) for pk in Pool.objects.values_list("pk", flat=True)}
    found, gone_workers = _records(keys.WORKERS, keys.worker, decode_worker)
    workers = [worker for worker in found if worker.pool_id in pools]
    gateways, gone_gateways = _records(keys.GATEWAYS, keys.gateway, decode_gateway)
    with transaction.atomic():
        for worker in workers:
            _keep_worker(worker)
        for gateway in gateways:
            _keep_gateway(gateway)
        GatewayProcess.objects.filter(seen_at__lt=now - FORGET_AFTER).delete()
    _forget(keys.WORKERS, keys.worker, gone_workers)
    _forget(keys.GATEWAYS, keys.gateway, gone_gateways)
    return len(workers), len(gateways)


def _records(
    members: str, key: Callable[[str], str], decode: Callable[[bytes], _Record]
) -> tuple[list[_Record], list[str]]:
    """Records that have not expired, by id, so that concurrent syncs lock rows in one order; ids without."""
    names = sorted(member.decode() for member in cast("set[bytes]", client().smembers(members)))
    raws = cast("list[bytes | None]", client().mget([key(name) for name in names])) if names else []
    found, gone = [], []
    for name, raw in zip(names, raws, strict=True):
        if raw is None:
            gone.append(name)
            continue
        try:
            found.append(decode(raw))
        except msgspec.DecodeError as error:
            logger.warning("%s is no record of this version: %s", key(name), error)
    return found, gone


def _forget(members: str, key: Callable[[str], str], gone: list[str]) -> None:
    """Who crashed cannot sign off. One that is back meanwhile stays."""
    script = client().register_script(_SREM_IF_GONE)
    for name in gone:
        script(keys=[members, key(name)], args=[name])


def _keep_worker(record: WorkerRecord) -> None:
    Worker.objects.update_or_create(
        id=record.id,
        defaults={
            "pool_id": int(record.pool_id),
            "boot_id": record.boot_id,
            "url": record.url,
            "state": record.state,
            "device": record.device,
            "vllm_version": record.vllm_version,
            "max_num_seqs": record.max_num_seqs,
            "kv_cache_tokens": record.kv_cache_tokens,
            "adapters": list(record.adapters),
            "outbox_bytes": record.outbox_bytes,
            "started_at": record.started_at,
            "seen_at": record.seen_at,
        },
    )


def _keep_gateway(record: GatewayRecord) -> None:
    GatewayProcess.objects.update_or_create(
        id=record.id,
        defaults={
            "host": record.host,
            "pid": record.pid,
            "url": record.url,
            "snapshot_version": record.snapshot_version,
            "snapshot_loaded_at": record.snapshot_loaded_at,
            "snapshot_source": record.snapshot_source,
            "spooled_events": record.spooled_events,
            "breakers": msgspec.to_builtins(list(record.breakers)),
            "unhealthy": list(record.unhealthy),
            "started_at": record.started_at,
            "seen_at": record.seen_at,
        },
    )


def kv_bytes_of(model: str) -> int | None:
    """Bytes of KV cache per token, from the config.json of a local folder; None where it does not say."""
    path = Path(model) / "config.json"
    try:
        return kv_bytes_per_token(json.loads(path.read_text()))
    except (OSError, ValueError, AttributeError, ModelConfigError):
        return None


def learn_kv_bytes() -> int:
    """Fill in what pools leave empty and their models' folders tell on this host; how many."""
    learnt = 0
    for pool in Pool.objects.filter(kv_bytes_per_token__isnull=True):
        if (found := kv_bytes_of(pool.model)) is not None:
            with transaction.atomic():
                unset = Pool.objects.filter(pk=pool.pk, model=pool.model, kv_bytes_per_token__isnull=True)
                learnt += unset.update(kv_bytes_per_token=found)
                publish_after_commit()
    return learnt


@transaction.atomic
def set_node_rate(
    *, pool: Pool, hourly_rate: Decimal, currency: str, effective_from: datetime, now: datetime
) -> NodeRate:
    """The price of a worker's hour from ``effective_from`` on.

    The first rate of a pool may begin in the past; later ones may not, since hours may be billed by then.
    """
    if effective_from < now and NodeRate.objects.filter(pool=pool).exists():
        message = "A new rate cannot begin in the past: hours may be billed already. Choose a later moment."
        raise FleetError(message, code="node_rate_in_the_past")
    rate = NodeRate(pool=pool, hourly_rate=hourly_rate, currency=currency, effective_from=effective_from)
    rate.full_clean()
    rate.save()
    return rate
