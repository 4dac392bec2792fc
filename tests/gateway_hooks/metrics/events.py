"""Gateway events to count."""

from datetime import UTC, datetime
from typing import Any

from gateway_hooks.contract.usage import GatewayEvent

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)


def event(**changes: Any) -> GatewayEvent:
    values: dict[str, Any] = {
        "event_id": "gw-r",
        "request_id": "r",
        "gateway_id": "g",
        "ts": NOW,
        "endpoint": "chat.completions",
        "stream": False,
        "outcome": "completed",
        "http_status": 200,
        "pool_id": "pool-1",
        "duration_us": 20_000,
    }
    return GatewayEvent(**{**values, **changes})
