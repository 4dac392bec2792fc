"""The Redis names of a pool's queue: who has a seat, who waits, whose turn it is.

The pool's id is in braces, so that Redis Cluster keeps a pool in one slot and one script may touch all of
it. The scripts make the names from ``state``'s, so both must agree. Every key expires: in a day without
use, a tenant's in ten minutes once it has neither seat nor place.
"""

from gateway_hooks.contract.keys import PREFIX

COUNTER_SCALE = 2520
"""Counter units per token at weight 1: 1 to 10 divide it, so these weights lose nothing to rounding."""


def pool_prefix(pool_id: str) -> str:
    return f"{PREFIX}pool:{{{pool_id}}}:"


def state(pool_id: str) -> str:
    """Hash: ``arrivals``, ``tokens`` in flight, ``passed`` tokens, ``last:<band>`` counters."""
    return pool_prefix(pool_id) + "state"


def seats(pool_id: str) -> str:
    """Hash: request id -> JSON ``{"g": gateway, "t": tenant, "n": tokens, "w": weight, "b": band}``."""
    return pool_prefix(pool_id) + "seats"


def asks(pool_id: str) -> str:
    """Hash: the same of those who wait."""
    return pool_prefix(pool_id) + "asks"


def infos(pool_id: str) -> str:
    """Hash: request id -> what its gateway's survivors must know of it."""
    return pool_prefix(pool_id) + "infos"


def waiting(pool_id: str) -> str:
    """Sorted set, all scores 0: ``band:counter:arrival:tenant`` of every tenant that waits, zero-padded.

    Its order as text is the order of dispatch.
    """
    return pool_prefix(pool_id) + "waiting"


def queue(pool_id: str, tenant_id: str) -> str:
    """Sorted set: the tenant's waiting request ids, scored by arrival."""
    return f"{pool_prefix(pool_id)}queue:{tenant_id}"


def tenant(pool_id: str, tenant_id: str) -> str:
    """Hash: ``counter``, ``band``, ``seats``, and ``entry``, its member of ``waiting`` while it waits."""
    return f"{pool_prefix(pool_id)}tenant:{tenant_id}"


def gateways(pool_id: str) -> str:
    """Sorted set: gateway id scored by the end of its heartbeat (ms)."""
    return pool_prefix(pool_id) + "gateways"


def gateway(pool_id: str, gateway_id: str) -> str:
    """Set: the request ids that this gateway has seated or waiting."""
    return f"{pool_prefix(pool_id)}gateway:{gateway_id}"


def grants(gateway_id: str) -> str:
    """Channel: a message is the id of a request of this gateway that got its seat."""
    return f"{PREFIX}gateway:{gateway_id}:grants"
