"""The worker's record in Redis. Redis being away is counted and logged once, and never stops serving."""

import logging

import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import WorkerRecord, encode_record

log = logging.getLogger(__name__)


class Registry:
    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._away = False

    def publish(self, record: WorkerRecord) -> bool:
        """Write the record so that it lives for ``keys.RECORD_TTL_SECONDS``. False if Redis is away."""
        try:
            with self._client.pipeline() as pipe:
                pipe.set(keys.worker(record.id), encode_record(record), ex=keys.RECORD_TTL_SECONDS)
                pipe.sadd(keys.WORKERS, record.id)
                pipe.execute()
        except redis.RedisError as error:
            self._note_away(error)
            return False
        if self._away:
            log.info("Redis is back")
            self._away = False
        return True

    def withdraw(self, worker_id: str) -> None:
        """Remove the record; where Redis is away it expires by itself."""
        try:
            with self._client.pipeline() as pipe:
                pipe.delete(keys.worker(worker_id))
                pipe.srem(keys.WORKERS, worker_id)
                pipe.execute()
        except redis.RedisError as error:
            self._note_away(error)

    def _note_away(self, error: redis.RedisError) -> None:
        if not self._away:
            log.warning("Redis is away (%s); serving goes on", type(error).__name__)
            self._away = True
