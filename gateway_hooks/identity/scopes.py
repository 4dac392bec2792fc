"""Whose limits hold for a request: all of them at once, each under its name in Redis."""

import msgspec

from gateway_hooks.contract.keys import TENANT_SCOPE, app_scope, key_scope, user_scope
from gateway_hooks.contract.snapshot import Limits
from gateway_hooks.identity.caller import Caller


def limits_of(caller: Caller, end_user: str | None, *, tenant_limits: Limits) -> dict[str, Limits]:
    """Scope name -> limits: tenant, app, key (or issuer), users. ``tenant_limits`` are those of now."""
    limits = {TENANT_SCOPE: tenant_limits}
    if caller.app is not None:
        limits[app_scope(caller.app.id)] = caller.app.limits
    limits[key_scope(caller.key.id)] = caller.key.limits
    return limits | user_limits(caller, end_user)


def user_limits(caller: Caller, end_user: str | None) -> dict[str, Limits]:
    """Scope name -> limits: the end user's, and a token's subject's with a budget; one if they are one."""
    limits: dict[str, Limits] = {}
    if end_user is not None and caller.tenant.end_user_limits is not None:
        limits[user_scope(end_user)] = caller.tenant.end_user_limits
    if caller.budget_micro is not None and caller.subject is not None:
        scope = user_scope(caller.subject)
        limits[scope] = _with_budget(limits.get(scope, Limits()), caller.budget_micro)
    return limits


def _with_budget(limits: Limits, budget_micro: int) -> Limits:
    known = limits.monthly_spend_micro
    monthly = budget_micro if known is None else min(known, budget_micro)
    return msgspec.structs.replace(limits, monthly_spend_micro=monthly)
