"""Who asks, once that is proved: nothing in here came from a client unchecked."""

from typing import NamedTuple

from gateway_hooks.contract.snapshot import ApiKey, App, Issuer, Tenant
from gateway_hooks.errors import Code, GatewayError


class Caller(NamedTuple):
    """``key`` is the API key, or stands for the issuer of a token: ``jwt-<issuer id>``.

    ``aliases`` None: all of the tenant's. ``end_user`` is a keyed hash that a token proved; for what an app
    calls its user in a body see ``identity.end_user``. ``budget_micro`` is micro-currency per month for
    ``subject``, the keyed hash of the token's ``sub``.
    """

    tenant: Tenant
    key: ApiKey
    app: App | None = None
    issuer: Issuer | None = None
    aliases: frozenset[str] | None = None
    end_user: str | None = None
    subject: str | None = None
    budget_micro: int | None = None

    @property
    def key_id(self) -> str:
        return self.key.id

    def may_use(self, alias: str) -> bool:
        return alias in self.tenant.aliases and (self.aliases is None or alias in self.aliases)

    def require_alias(self, alias: str) -> None:
        """Raises ``GatewayError``: one that exists and is not allowed looks like one that does not exist."""
        if not self.may_use(alias):
            raise GatewayError(Code.MODEL_NOT_FOUND, param="model")
