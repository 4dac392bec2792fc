"""What LiteLLM calls: its auth, and its pre-call hook. Both only look at the ticket that the wrapper made."""

from typing import Any

from fastapi import Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.ticket import CURRENT, Ticket
from gateway_hooks.litellm_adapter.config import MODEL


def _ticket() -> Ticket:
    """The wrapper admitted this request, or it ends here: LiteLLM has no other entrance."""
    ticket = CURRENT.get()
    if ticket is not None and ticket.rehearsal is not None:
        return ticket
    if ticket is None or ticket.caller is None or ticket.forward is None or ticket.closed:
        raise GatewayError(Code.INVALID_API_KEY)
    return ticket


async def authenticate(request: Request, api_key: str | None) -> UserAPIKeyAuth:  # noqa: ARG001 - LiteLLM's signature
    """``api_key`` is not looked at: the wrapper identified the caller and sends none."""
    caller = _ticket().caller
    key_id = caller.key.id if caller else ""
    return UserAPIKeyAuth(api_key=key_id, user_id=key_id)


class TenantryHooks(CustomLogger):  # type: ignore[misc]
    """LiteLLM skips inherited hooks: what is used is defined on this class itself."""

    async def async_pre_call_hook(
        self,
        user_api_key_dict: UserAPIKeyAuth,  # noqa: ARG002 - LiteLLM's signature
        cache: Any,  # noqa: ARG002
        data: dict[str, Any],
        call_type: str,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Every request goes to the one model that LiteLLM knows; the transport knows where really."""
        _ticket()
        data["model"] = MODEL
        return data


hooks = TenantryHooks()
