"""Whether a service does its work: each probe asks it, and answers within two seconds."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import decode_worker

Probe = Callable[[], bool]
TIMEOUT_SECONDS = 2.0


def http_ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=TIMEOUT_SECONDS, trust_env=False).is_success
    except httpx.TransportError:
        return False


class WorkerReady:
    """Whether the worker that was started last says that it is ready.

    The record of one that was killed lives on for a while, so the record of another boot is asked for.
    """

    def __init__(self, redis_url: str, worker_id: str) -> None:
        self._redis_url = redis_url
        self._worker_id = worker_id
        self._old_boot: str | None = None

    def starting(self) -> None:
        record = worker_record(self._redis_url, self._worker_id)
        self._old_boot = record[1] if record else None

    def ready(self) -> bool:
        record = worker_record(self._redis_url, self._worker_id)
        return record is not None and record[0] == "ready" and record[1] != self._old_boot


def worker_record(redis_url: str, worker_id: str) -> tuple[str, str] | None:
    """(state, boot id) from the worker's record, or None without one."""
    try:
        with _redis(redis_url) as client:
            raw: bytes | None = client.get(keys.worker(worker_id))
    except (redis.ConnectionError, redis.TimeoutError):
        return None
    try:
        record = decode_worker(raw) if raw else None
    except msgspec.MsgspecError:
        return None
    return (record.state, record.boot_id) if record else None


def celery_answers(redis_url: str, name: str) -> bool:
    """Ask the Celery worker itself, over the broker."""
    return name in _inspect(redis_url, name, "ping")


def celery_works(redis_url: str, name: str) -> bool:
    """Whether the worker took a task since it started: then beat sends and the worker receives."""
    answer: Any = _inspect(redis_url, name, "stats").get(name, {})
    return any(count > 0 for count in answer.get("total", {}).values())


def _inspect(redis_url: str, name: str, question: str) -> Mapping[str, Any]:
    application = Celery("up", broker=redis_url, set_as_current=False)
    application.conf.broker_transport_options = {"global_keyprefix": keys.CELERY_PREFIX}
    try:
        with application.connection_for_write(connect_timeout=TIMEOUT_SECONDS) as connection:
            asked = application.control.inspect(destination=[name], timeout=1.0, connection=connection)
            return getattr(asked, question)() or {}
    except (OperationalError, redis.ConnectionError, redis.TimeoutError, OSError):
        return {}
    finally:
        application.close()


def _redis(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)
