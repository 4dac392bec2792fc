"""How long the books wait. Settings of the same names override the defaults."""

from datetime import timedelta

from django.conf import settings


def join_grace() -> timedelta:
    """How long an event that says all about a request waits for its partner."""
    grace: timedelta = getattr(settings, "BILLING_JOIN_GRACE", timedelta(minutes=2))
    return grace


def engine_wait() -> timedelta:
    """How long a request waits for the engine's event when only that one knows its tokens.

    Longer: a worker that lost Redis still has the event in its outbox, and rating the request without
    tokens would give them away. The gateway's hold counts the worst case meanwhile.
    """
    wait: timedelta = getattr(settings, "BILLING_ENGINE_WAIT", timedelta(hours=1))
    return wait
