"""The tasks: each reads the clock, calls one service and says what was done.

All may run twice, late, or beside themselves; the services see to that. Redis being away is expected:
it is logged, and the next tick tries again.
"""

import logging

from portal.api import services as api
from portal.billing import alerts, costing, holds, services, settlement
from portal.core import clock
from portal.core.redis import REDIS_AWAY
from portal.fleet import services as fleet
from portal.home import summaries
from portal.snapshots import services as snapshots
from portal.tenants import issuers
from portal.usage import services as usage
from workers.celery import app

logger = logging.getLogger(__name__)


@app.task
def ingest_usage() -> None:
    try:
        done = usage.ingest(clock.now())
    except REDIS_AWAY as error:
        logger.warning("Redis is away, usage waits in its spools: %s", error)
        return
    if done.taken:
        logger.info("ingested: %s new, %s repeated, %s parked", done.new, done.repeated, done.parked)


@app.task
def rate_requests() -> None:
    done = services.rate_requests(clock.now())
    if done.entries or done.corrections or done.without_entry:
        logger.info(
            "rated: %s entries, %s corrections, %s requests without a charge",
            done.entries,
            done.corrections,
            done.without_entry,
        )


@app.task
def sync_fleet() -> None:
    try:
        fleet.sync_fleet(clock.now())
    except REDIS_AWAY as error:
        logger.warning("Redis is away, workers and gateways are looked at later: %s", error)


@app.task
def learn_kv_bytes() -> None:
    fleet.learn_kv_bytes()


@app.task
def redeliver_snapshot() -> None:
    snapshots.redeliver(clock.now())


@app.task
def raise_spend_floor() -> None:
    try:
        settlement.raise_spend_floor(clock.now())
    except REDIS_AWAY as error:
        logger.warning("Redis is away, spend counters are raised later: %s", error)


@app.task
def make_spend_known() -> None:
    try:
        tenants = settlement.make_spend_known(clock.now())
    except REDIS_AWAY as error:
        logger.warning("Redis is away, spend counters are counted later: %s", error)
        return
    if tenants:
        logger.info("spend counters of %s tenants were counted from the ledger", tenants)


@app.task
def give_back_holds() -> None:
    try:
        holds.give_back_holds(clock.now())
    except REDIS_AWAY as error:
        logger.warning("Redis is away, forgotten holds are given back later: %s", error)


@app.task
def alert_budgets() -> None:
    if new := alerts.alert_budgets(clock.now()):
        logger.info("budget alerts: %s", new)


@app.task
def refresh_jwks() -> None:
    if changed := issuers.refresh_due_jwks(clock.now()):
        logger.info("public keys of %s token issuers changed", changed)


@app.task
def refresh_costs() -> None:
    costing.refresh_open_periods(clock.now())


@app.task
def forget_old_idempotency() -> None:
    api.forget_old_idempotency(clock.now())


@app.task
def summarise_days() -> None:
    summaries.summarise(clock.now())
