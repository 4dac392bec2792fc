"""Compiled policies, kept: compiling takes milliseconds, and each snapshot brings the same ones again."""

import hashlib
import hmac
from collections import OrderedDict

from gateway_hooks.contract.pii import PiiPolicy
from gateway_hooks.pii.policy import CompiledPolicy, compile_policy

KEPT = 2048


def tenant_key(secret: bytes, tenant_id: str) -> bytes:
    """What a tenant's placeholders are made with; ``secret`` is the gateways' own and never leaves them."""
    return hmac.digest(secret, b"pii\0" + tenant_id.encode(), hashlib.sha256)


class Policies:
    """The most recently used ones, by tenant."""

    def __init__(self, *, kept: int = KEPT) -> None:
        self._kept = kept
        self._compiled: OrderedDict[str, tuple[PiiPolicy, CompiledPolicy]] = OrderedDict()

    def compiled(self, tenant_id: str, policy: PiiPolicy) -> CompiledPolicy:
        """Raises ``PiiPolicyError``."""
        known = self._compiled.get(tenant_id)
        if known is not None and (known[0] is policy or known[0] == policy):
            self._compiled.move_to_end(tenant_id)
            return known[1]
        compiled = compile_policy(policy)
        self._compiled[tenant_id] = (policy, compiled)
        self._compiled.move_to_end(tenant_id)
        if len(self._compiled) > self._kept:
            self._compiled.popitem(last=False)
        return compiled
