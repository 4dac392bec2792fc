"""Work of LiteLLM's that nobody here reads: its success log, its prices, its counts per deployment.

The ticket, the desk and the engine's own counts do that work, once. Each switch names what it replaces;
a name that LiteLLM no longer has stops the start, so that an update cannot bring the work back unseen.
"""

from typing import Any

import litellm
from litellm import utils
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.proxy.auth import user_api_key_auth
from litellm.router import Router

from gateway_hooks.errors import SettingsError

_CALLBACK_LISTS = (
    "success_callback",
    "failure_callback",
    "_async_success_callback",
    "_async_failure_callback",
    "input_callback",
    "_async_input_callback",
    "service_callback",
)


async def _later_nothing(*_: Any, **__: Any) -> None:
    """In place of a coroutine function."""


def _nothing(*_: Any, **__: Any) -> None:
    """In place of a function."""


def _no_cost(*_: Any, **__: Any) -> float:
    return 0.0


_REPLACED: tuple[tuple[Any, str, Any], ...] = (
    # A task, a queue and a payload per request, for log destinations that are not there.
    (utils, "_dispatch_success_logging", _nothing),
    (Logging, "_async_success_handler_body", _later_nothing),
    (Logging, "success_handler", _nothing),
    # Prices are the snapshot's; LiteLLM would look the model up in its list of thousands.
    (Logging, "response_cost_calculator", _no_cost),
    # Routes, budgets and allowances by its own database: the wrapper has decided all of it before.
    (user_api_key_auth, "_authorize_authenticated_request", _later_nothing),
    # Its model has one deployment, and limits are the admission's.
    (Router, "increment_deployment_usage_for_response", _later_nothing),
)


_USELESS_MIDDLEWARE = frozenset(
    {
        "AdmissionControlMiddleware",
        "BillableRequestMetricsMiddleware",
        "BudgetReservationReleaseMiddleware",
        "CORSMiddleware",
        "GZipBufferedResponseMiddleware",
        "InFlightRequestsMiddleware",
        "PrometheusAuthMiddleware",
        "RedisRequestBatchMiddleware",
        "RequestSizeLimitMiddleware",
        "SecurityHeadersMiddleware",
    }
)
"""They guard or count what the wrapper guards and counts, or write headers that it drops."""


def trim(app: Any) -> None:
    """Once, after LiteLLM's import. Raises ``SettingsError`` where LiteLLM has changed."""
    app.user_middleware[:] = [
        layer for layer in app.user_middleware if layer.cls.__name__ not in _USELESS_MIDDLEWARE
    ]
    for owner, name, replacement in _REPLACED:
        if not callable(getattr(owner, name, None)):
            message = f"this LiteLLM has no {name}: it is not the pinned version"
            raise SettingsError(message)
        setattr(owner, name, replacement)


def only_hook(hooks: Any) -> None:
    """After LiteLLM's start, which registers hooks of its own (limits, budgets, caches): ours alone stays."""
    litellm.callbacks[:] = [hooks]
    for name in _CALLBACK_LISTS:
        getattr(litellm, name).clear()
