"""Alias -> route -> the target that serves this conversation. Pure.

A conversation keeps its version: its place among 10,000 follows from tenant, alias and conversation alone,
so every gateway finds the same one, and whoever is on a canary stays there while its share grows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway_hooks.contract.pricing import Price
from gateway_hooks.contract.snapshot import Route, Share, Target, Tenant
from gateway_hooks.contract.usage import Served
from gateway_hooks.errors import Code, GatewayError

ALL = 10_000
"""Basis points."""
_encoder = msgspec.json.Encoder(order="deterministic")


class Chosen(NamedTuple):
    """``shadow`` is the target that gets a copy, if this conversation is in its share."""

    target: Target
    served: Served
    shadow: Target | None = None


def resolve(tenant: Tenant, alias: str) -> Route:
    """Only the tenant's own aliases lead anywhere; every other name is equally unknown."""
    route = tenant.aliases.get(alias)
    if route is None:
        raise GatewayError(Code.MODEL_NOT_FOUND, param="model")
    return route


def choose(route: Route, *, conversation: str, tenant_id: str, alias: str) -> Chosen:
    """Beta where the tenant takes it, else the canary by its share, else the route itself.

    ``conversation`` is a ``conversation_key``. Shares of canary and shadow are drawn apart.
    """

    def drawn(share: Share | None, purpose: str) -> Target | None:
        if share is None or bucket(purpose, tenant_id, alias, conversation) >= share.basis_points:
            return None
        return share.target

    shadow = drawn(route.shadow, "shadow")
    if route.beta is not None:
        return Chosen(route.beta, "beta", shadow)
    canary = drawn(route.canary, "canary")
    if canary is not None:
        return Chosen(canary, "canary", shadow)
    return Chosen(route, route.track, shadow)


def bucket(*parts: str) -> int:
    """0 to 9,999, uniform over what the parts say."""
    digest = hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % ALL


def conversation_key(fields: Mapping[str, Any], *, end_user: str | None = None) -> str:
    """The same for every turn of a conversation: the app's end user, or how the conversation began.

    A digest, for the moment of the choice only; nobody stores it.
    """
    whole = end_user or _beginning(fields)
    return hashlib.sha256(_encoder.encode(whole)).hexdigest()


def _beginning(fields: Mapping[str, Any]) -> list[Any]:
    """What stands before the first answer: system text and the first message of the user."""
    begun = [fields.get("system"), fields.get("instructions")]
    turns = fields.get("messages", fields.get("input", fields.get("prompt")))
    return [*begun, *_first_turns(turns)] if isinstance(turns, list) else [*begun, turns]


def _first_turns(turns: Sequence[Any]) -> list[Any]:
    """Up to the first message of the user; what is no list of messages counts whole."""
    first: list[Any] = []
    for turn in turns:
        first.append(_said(turn))
        if isinstance(turn, dict) and turn.get("role") == "user":
            break
    return first


def _said(turn: Any) -> Any:
    return [turn.get("role"), turn.get("content")] if isinstance(turn, dict) else turn


def dearest(prices: Sequence[Price]) -> Price:
    """What to reserve at where any of several targets may serve: of each rate the highest.

    Its ``rate_id`` is the first one's; what is charged goes by the target that served.
    """
    first = prices[0]
    return msgspec.structs.replace(
        first,
        input_micro=max(price.input_micro for price in prices),
        cached_input_micro=max(price.cached_input_micro for price in prices),
        output_micro=max(price.output_micro for price in prices),
    )
