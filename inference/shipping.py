"""The launcher's shipping thread: outbox to Redis Stream, until told to stop."""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import redis

from gateway_hooks.contract import keys
from inference.shipper import ship

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 8.0


class Shipping:
    """``root`` holds one folder of segments per boot; only one process may ship a root."""

    def __init__(self, client: "redis.Redis", root: Path, *, live_boot: str | None) -> None:
        self._client = client
        self._root = root
        self._live_boot = live_boot
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False before ``start``, after ``finish``, and when a bug ended the thread."""
        return self._thread.is_alive()

    def finish(self, *, seconds: float) -> None:
        """The boot is over: ship what is left of it, for at most ``seconds``. The rest stays on disk."""
        self._live_boot = None
        self._stop.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        trouble: str | None = None
        pause = RETRY_SECONDS
        while True:
            last_round = self._stop.is_set()
            try:
                shipped = ship(self._root, self._send, live_boot=self._live_boot)
            except (redis.RedisError, OSError) as error:
                trouble, shipped = _report(error, trouble), 0
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
            else:
                if trouble is not None:
                    log.info("usage events are shipped again")
                trouble, pause = None, RETRY_SECONDS
            if last_round:
                return
            if not shipped:
                self._stop.wait(POLL_SECONDS)

    def _send(self, lines: Sequence[bytes]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for line in lines:
                pipe.xadd(keys.ENGINE_EVENTS, {keys.EVENT_FIELD: line})
            pipe.execute()


def _report(error: Exception, known: str | None) -> str:
    """What is wrong in one line, said once until it changes."""
    if isinstance(error, OSError):
        trouble = f"the outbox cannot be read or cleared: {error}"
    else:
        trouble = f"Redis is away ({type(error).__name__})"
    if trouble != known:
        log.error("usage events wait on disk: %s", trouble)
    return trouble
