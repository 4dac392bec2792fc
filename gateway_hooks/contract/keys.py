"""Every Redis name, in one place.

Names of one tenant carry its id in braces, so that Redis Cluster keeps them in one slot and one
script may touch them all.
"""

PREFIX = "tn:"

# Configuration: portal -> gateways and workers.
SNAPSHOT = PREFIX + "snapshot"
"""String: a ``Snapshot`` as JSON, the newest or a recent one."""
SNAPSHOT_NEWEST = PREFIX + "snapshot:newest"
"""String: the newest version and its moment, a ``Mark``. ``SNAPSHOT`` may be behind, ``SNAPSHOT_DELTAS`` then
lead from it there."""
SNAPSHOT_DELTAS = PREFIX + "snapshot:deltas"
"""Sorted set: ``SnapshotDelta`` as JSON, scored by its version."""
SNAPSHOT_CHANGED = PREFIX + "snapshot:changed"
"""Channel: a message (the version) says that there is a newer configuration."""

# Fleet: each process refreshes its own record before it expires.
WORKERS = PREFIX + "workers"
"""Set of worker ids; their records are at ``worker(id)``."""
GATEWAYS = PREFIX + "gateways"
"""Set of gateway process ids; their records are at ``gateway(id)``."""
RECORD_TTL_SECONDS = 15

# Usage: gateways and workers -> Celery.
GATEWAY_EVENTS = PREFIX + "usage:gateway"
"""Stream of ``GatewayEvent``."""
ENGINE_EVENTS = PREFIX + "usage:engine"
"""Stream of ``EngineEvent`` and ``WorkerInterval``."""
EVENT_FIELD = "e"
"""The stream entry's only field: the event as JSON."""
INGEST_GROUP = "ledger"

CELERY_PREFIX = PREFIX + "celery:"


def worker(worker_id: str) -> str:
    """String, expiring: a ``WorkerRecord`` as JSON."""
    return f"{PREFIX}worker:{worker_id}"


def gateway(gateway_id: str) -> str:
    """String, expiring: a ``GatewayRecord`` as JSON."""
    return f"{PREFIX}gateway:{gateway_id}"


def requests_window(tenant_id: str, scope: str) -> str:
    """Sorted set: request id scored by admission (ms); the last 60 s of requests of one scope."""
    return f"{PREFIX}{{{tenant_id}}}:rpm:{scope}"


def tokens_amounts(tenant_id: str, scope: str) -> str:
    """Hash: request id -> tokens reserved or, once settled, used."""
    return f"{PREFIX}{{{tenant_id}}}:tpm:{scope}:amounts"


def leases(tenant_id: str, scope: str) -> str:
    """Sorted set: request id scored by the lease's end (ms); its cardinality is the concurrency."""
    return f"{PREFIX}{{{tenant_id}}}:leases:{scope}"


def kv_amounts(tenant_id: str, scope: str) -> str:
    """Hash: request id -> KV bytes projected while its lease lives, and their ``total``."""
    return f"{PREFIX}{{{tenant_id}}}:kv:{scope}"


def spend(tenant_id: str, scope: str, period: str) -> str:
    """Integer, micro-currency: settled plus reserved money of ``period`` in the tenant's zone.

    A period is a month (YYYY-MM) or a day (YYYY-MM-DD).
    """
    return f"{PREFIX}{{{tenant_id}}}:spend:{scope}:{period}"


def spend_known(tenant_id: str) -> str:
    """String, there as long as the spend keys are: the ledger has been counted into them.

    Redis without its data has neither; then a tenant with a spend limit is refused rather than counted
    from nothing, until the portal has raised its counters.
    """
    return f"{PREFIX}{{{tenant_id}}}:spend:known"


def spend_lost(tenant_id: str) -> str:
    """String, expiring: when the portal first missed ``spend_known`` of a tenant with requests, in
    milliseconds since 1970.

    There only meanwhile: until those requests have ended and are in the ledger.
    """
    return f"{PREFIX}{{{tenant_id}}}:spend:lost"


def holds(tenant_id: str) -> str:
    """Hash: request id -> JSON ``{"keys": [spend keys], "micro": reserved, "at": ms}`` until settled.

    ``at`` is the admission by the gateway's clock, in milliseconds since 1970.
    """
    return f"{PREFIX}{{{tenant_id}}}:holds"


def end_users(tenant_id: str, period: str) -> str:
    """Integer: how many end users of the tenant have a spend key in ``period``; it is bounded."""
    return f"{PREFIX}{{{tenant_id}}}:end-users:{period}"


def ended(tenant_id: str, request_id: str) -> str:
    """String, expiring: the request has ended, so another end or a late admission changes nothing."""
    return f"{PREFIX}{{{tenant_id}}}:ended:{request_id}"


TENANT_SCOPE = "tenant"
USER_PREFIX = "user."


def app_scope(app_id: str) -> str:
    return f"app.{app_id}"


def key_scope(key_id: str) -> str:
    return f"key.{key_id}"


def user_scope(end_user: str) -> str:
    """``end_user`` is the keyed hash of what the app calls its user."""
    return f"{USER_PREFIX}{end_user}"
