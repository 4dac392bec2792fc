"""What happens to a request while Redis, and with it every counter, is away.

A spend limit never fails open: who has one is refused. A tenant whose policy is ``allowance`` and who has
no spend limit at any scope gets a small number of requests per minute and process.
"""

from collections import deque

from gateway_hooks.contract.snapshot import ApiKey, Tenant
from gateway_hooks.errors import Code, GatewayError

WINDOW_SECONDS = 60.0
RETRY_SECONDS = 2.0


class OutageAllowance:
    """Local sliding windows, by tenant; they hold no more entries than the allowance."""

    def __init__(self) -> None:
        self._admitted: dict[str, deque[float]] = {}

    def admit(self, tenant: Tenant, key: ApiKey, *, now: float) -> None:
        """Raises ``GatewayError`` unless this request may run uncounted. ``now`` is monotonic seconds."""
        limited = (tenant.limits.monthly_spend_micro, key.limits.monthly_spend_micro)
        if tenant.outage_policy != "allowance" or any(limit is not None for limit in limited):
            raise GatewayError(Code.LIMITS_UNAVAILABLE, retry_after=RETRY_SECONDS)
        window = self._admitted.setdefault(tenant.id, deque())
        while window and window[0] <= now - WINDOW_SECONDS:
            window.popleft()
        if len(window) >= tenant.outage_requests_per_minute:
            raise GatewayError(Code.LIMITS_UNAVAILABLE, retry_after=RETRY_SECONDS)
        window.append(now)
