"""The portal's one connection to Redis.

Redis away means for the portal: changes are kept in PostgreSQL and delivered later, live figures are
missing. So every call gives up quickly, and callers catch ``REDIS_AWAY`` where they have that answer.
"""

from functools import cache

import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 2.0
REDIS_AWAY = (redis.ConnectionError, redis.TimeoutError)


def client() -> "redis.Redis":
    """A client whose answers are bytes. Threads may share it."""
    if not settings.REDIS_URL:
        message = "REDIS_URL is not set, and no Redis of this data folder is running"
        raise ImproperlyConfigured(message)
    return _client(settings.REDIS_URL)


@cache
def _client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1),  # once: a connection that idled until Redis restarted
    )
