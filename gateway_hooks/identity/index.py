"""Credential -> caller for one snapshot, and the step from one snapshot to the next."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Self

from gateway_hooks.contract.sealing import SealingKeys
from gateway_hooks.contract.snapshot import App, Issuer, Snapshot
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.identity import api_keys
from gateway_hooks.identity.address import Address
from gateway_hooks.identity.caller import Caller
from gateway_hooks.identity.claims import caller_of
from gateway_hooks.identity.issuer_keys import IssuerKeys, decoy
from gateway_hooks.identity.tokens import (
    Claimed,
    Window,
    check_window,
    fitting,
    looks_like_token,
    read_unverified,
    verified_claims,
    window_of,
)

log = logging.getLogger("tenantry.gateway.identity")

REMEMBERED_TOKENS = 4096


class _Verified(NamedTuple):
    caller: Caller
    window: Window


class IdentityIndex:
    """Who may ask under ``snapshot``. Verified tokens are remembered by digest, for this snapshot only."""

    def __init__(self, snapshot: Snapshot, keys: IssuerKeys, *, salt_secret: bytes) -> None:
        self.snapshot = snapshot
        self._keys = keys
        self._salt_secret = salt_secret
        self._issuers = _by_name(snapshot.issuers.values())
        self._apps = _apps_by_tenant(snapshot)
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()

    @classmethod
    def build(cls, snapshot: Snapshot, sealing_keys: SealingKeys, *, salt_secret: bytes) -> Self:
        return cls(snapshot, IssuerKeys(sealing_keys), salt_secret=salt_secret)

    def identify(self, credential: str | None, *, address: Address | None, now: datetime) -> Caller:
        """Whose API key or token this is. Raises ``GatewayError``."""
        if credential and looks_like_token(credential):
            return self._by_token(credential, address=address, now=now.timestamp())
        return api_keys.identify(self.snapshot, credential, now=now, address=address)

    def _by_token(self, token: str, *, address: Address | None, now: float) -> Caller:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        verified = self._remembered.get(digest)
        if verified is None:
            verified = self._verify(token)
        caller, window = verified
        check_window(window, now=now)
        self._remember(digest, verified)
        api_keys.check_door(caller.tenant, caller.key, address)
        return caller

    def _verify(self, token: str) -> _Verified:
        claimed = read_unverified(token)
        issuer = self._issuer(claimed)
        candidates = fitting(self._keys.of(issuer), claimed) if issuer else []
        claims = verified_claims(token, candidates or [decoy(claimed.algorithm)])
        tenant = self.snapshot.tenants.get(issuer.tenant_id) if issuer else None
        if issuer is None or tenant is None:
            raise GatewayError(Code.INVALID_TOKEN)
        window = window_of(claims, issuer)
        apps = self._apps.get(tenant.id, {})
        return _Verified(caller_of(claims, issuer, tenant, apps, salt_secret=self._salt_secret), window)

    def _issuer(self, claimed: Claimed) -> Issuer | None:
        """None also for a token that is meant for two of them: it names nobody for certain."""
        found = {
            issuer.id: issuer
            for audience in claimed.audiences
            if (issuer := self._issuers.get((claimed.issuer, audience))) is not None
        }
        return next(iter(found.values())) if len(found) == 1 else None

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._remembered[digest] = verified
        self._remembered.move_to_end(digest)
        if len(self._remembered) > REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)


class IdentityDoor:
    """The index of the snapshot that is served now.

    Parsed keys of unchanged issuers outlive a snapshot; remembered tokens do not.
    """

    def __init__(self, sealing_keys: SealingKeys, *, salt_secret: bytes) -> None:
        self._keys = IssuerKeys(sealing_keys)
        self._salt_secret = salt_secret
        self._index: IdentityIndex | None = None

    def of(self, snapshot: Snapshot) -> IdentityIndex:
        if self._index is None or self._index.snapshot is not snapshot:
            self._index = IdentityIndex(snapshot, self._keys, salt_secret=self._salt_secret)
        return self._index


def _by_name(issuers: Iterable[Issuer]) -> dict[tuple[str, str], Issuer]:
    """By (issuer, audience). A pair that two claim serves neither: it must not be a matter of order."""
    found: dict[tuple[str, str], Issuer] = {}
    doubled = set()
    for issuer in issuers:
        name = (issuer.issuer, issuer.audience)
        if name in found:
            doubled.add(name)
            log.error("issuers %s and %s have the same name and audience", found[name].id, issuer.id)
        found[name] = issuer
    return {name: issuer for name, issuer in found.items() if name not in doubled}


def _apps_by_tenant(snapshot: Snapshot) -> dict[str, dict[str, App]]:
    """Of tenants with issuers; an app's id goes before another one's name."""
    tenants = {issuer.tenant_id for issuer in snapshot.issuers.values()}
    apps: dict[str, dict[str, App]] = {tenant_id: {} for tenant_id in tenants}
    own = [app for app in snapshot.apps.values() if app.tenant_id in tenants]
    for app in own:
        apps[app.tenant_id][app.name] = app
    for app in own:
        apps[app.tenant_id][app.id] = app
    return apps
