"""The Celery application: its broker, its manners, and what beat starts how often."""

import logging
import os
from datetime import timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from celery import Celery
from django.conf import settings

from gateway_hooks.contract.keys import CELERY_PREFIX

# One line per tick and task would bury what the tasks themselves have to say.
for chatty in ("celery.beat", "celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

app = Celery("tenantry", include=["workers.tasks"])


def _every(seconds: float, task: str) -> dict[str, Any]:
    """A tick that nobody took before the next one is due is dropped: ticks never pile up."""
    return {
        "task": f"workers.tasks.{task}",
        "schedule": timedelta(seconds=seconds),
        "options": {"expires": max(seconds, MINIMUM_LIFE_SECONDS)},
    }


MINIMUM_LIFE_SECONDS = 2.0
"""A tick of one second gets two, so that a clock that is a little off between hosts drops none."""

app.conf.update(
    broker_url=settings.REDIS_URL,
    broker_transport_options={"global_keyprefix": CELERY_PREFIX},
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=2,
    worker_hijack_root_logger=False,
    timezone="UTC",
    enable_utc=True,
    # The schedule is code and every task may be repeated: nothing to remember between runs.
    beat_scheduler="celery.beat:Scheduler",
    beat_max_loop_interval=1,
    beat_schedule={
        "ingest": _every(1, "ingest_usage"),
        "rate": _every(2, "rate_requests"),
        "fleet": _every(2, "sync_fleet"),
        "snapshot": _every(1, "redeliver_snapshot"),
        "spend-known": _every(2, "make_spend_known"),
        "spend": _every(30, "raise_spend_floor"),
        "holds": _every(300, "give_back_holds"),
        "alerts": _every(60, "alert_budgets"),
        "jwks": _every(60, "refresh_jwks"),
        "kv-bytes": _every(60, "learn_kv_bytes"),
        "costs": _every(60, "refresh_costs"),
        "summaries": _every(300, "summarise_days"),
        "idempotency": _every(3600, "forget_old_idempotency"),
    },
)
