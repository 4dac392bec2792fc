"""Who asks: an API key or a signed token becomes a ``Caller``, from the snapshot alone."""

from gateway_hooks.identity.api_keys import identify
from gateway_hooks.identity.caller import Caller
from gateway_hooks.identity.index import IdentityDoor, IdentityIndex

__all__ = ["Caller", "IdentityDoor", "IdentityIndex", "identify"]
