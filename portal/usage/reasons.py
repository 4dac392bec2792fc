"""Why a request did not succeed, in a sentence, and what would have let it through."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Remedy = Literal["limits", "keys", "aliases", "tenant", "prices", "workers", "gateways", "none"]


class Reason(NamedTuple):
    """``remedy`` names the page on which somebody can do something about it."""

    what: str
    todo: str
    remedy: Remedy


REASONS: Mapping[str, Reason] = {
    "missing_api_key": Reason("It carried no API key.", "Send “Authorization: Bearer” with a key.", "keys"),
    "invalid_api_key": Reason(
        "Its API key is not known, or was revoked.", "Use a key of the app, or create a new one.", "keys"
    ),
    "key_expired": Reason("Its API key has expired.", "Create a new key for the app.", "keys"),
    "tenant_suspended": Reason("The tenant is suspended.", "Reactivate the tenant.", "tenant"),
    "not_found": Reason("It asked for an address that does not exist.", "Check the path.", "none"),
    "method_not_allowed": Reason("The address does not take this method.", "Use POST.", "none"),
    "model_not_found": Reason(
        "The tenant has no alias of this name.", "Add the alias, or correct the name in the app.", "aliases"
    ),
    "endpoint_not_supported": Reason(
        "The alias' pool does not serve this endpoint.", "Allow the endpoint in the pool.", "aliases"
    ),
    "body_too_large": Reason("Its body was too large.", "Send less.", "none"),
    "invalid_json": Reason("Its body was not a JSON object.", "Correct the body.", "none"),
    "unsupported_parameter": Reason("It used a parameter that is not taken.", "Leave it out.", "none"),
    "invalid_parameter": Reason("One of its parameters was not valid.", "Correct the parameter.", "none"),
    "invalid_request": Reason("The model could not take it as it was.", "Correct the request.", "none"),
    "context_length_exceeded": Reason(
        "Prompt and answer would not have fitted into the model's context.",
        "Shorten the prompt, ask for fewer output tokens, or use a pool with a longer context.",
        "none",
    ),
    "price_missing": Reason(
        "No rate of the current price book covers this model for the tenant.",
        "Publish a price book with a rate for the base model.",
        "prices",
    ),
    "rate_limit_requests": Reason(
        "The limit of requests per minute was reached.",
        "Wait up to a minute, or raise the limit of the tenant or key.",
        "limits",
    ),
    "rate_limit_tokens": Reason(
        "The limit of tokens per minute left no room for what it could use at most.",
        "Wait up to a minute, ask for fewer output tokens, or raise the limit.",
        "limits",
    ),
    "concurrency": Reason(
        "As many requests as allowed were running at once.",
        "Wait until one ends, or raise the limit of requests at once.",
        "limits",
    ),
    "budget_exhausted": Reason(
        "The daily or monthly spend limit left no room for what it could cost at most.",
        "Raise the spend limit; otherwise it is free again the next day or month.",
        "limits",
    ),
    "context_cap": Reason(
        "Prompt and answer would have been longer than the limit of tokens per request.",
        "Shorten the prompt, ask for fewer output tokens, or raise the limit.",
        "limits",
    ),
    "kv_budget": Reason(
        "The KV cache that it could take would not have fitted beside the requests in flight.",
        "Wait until one ends, ask for fewer output tokens, or raise the KV cache limit.",
        "limits",
    ),
    "queue_full": Reason(
        "The pool was full and as many of the tenant's requests as may wait were waiting.",
        "Send fewer at once, raise the tier's queue depth, or add a worker to the pool.",
        "workers",
    ),
    "queue_timeout": Reason(
        "The pool was full and no seat came free within the longest wait.",
        "Raise the tier's longest wait or the tenant's share, or add a worker to the pool.",
        "workers",
    ),
    "poison_request": Reason(
        "The same request crashed workers twice, so it is refused.",
        "Find out why it crashes them, then release it from the dead-letter list.",
        "workers",
    ),
    "pii_blocked": Reason(
        "It held personal data or a secret that the tenant's policy does not let through.",
        "Leave the data out, or change the policy.",
        "tenant",
    ),
    "pii_failed": Reason(
        "Personal data in it could not be masked safely, so it was not sent on.",
        "Look at the gateway's log for this request.",
        "gateways",
    ),
    "endpoint_not_allowed": Reason(
        "The tenant's configuration does not allow this endpoint.",
        "Allow it in the tenant's configuration, or use another one.",
        "tenant",
    ),
    "tool_not_allowed": Reason(
        "It offered the model a tool that the tenant's configuration does not allow.",
        "Allow the tool in the tenant's configuration, or leave it out.",
        "tenant",
    ),
    "ip_not_allowed": Reason(
        "It came from an address that its key or token issuer does not allow.",
        "Add the network to the key's or issuer's IP ranges.",
        "keys",
    ),
    "invalid_token": Reason(
        "Its token (JWT) was not valid.", "Look at the issuer's keys, audience and claims.", "keys"
    ),
    "token_expired": Reason("Its token (JWT) had expired.", "Get a new token from the issuer.", "keys"),
    "token_not_yet_valid": Reason(
        "Its token (JWT) was not valid yet.", "Compare the issuer's clock with ours.", "keys"
    ),
    "pii_unmaskable": Reason(
        "It held data that must be masked where nothing can be masked, such as in token ids.",
        "Send it as text.",
        "tenant",
    ),
    "body_timeout": Reason("Its body did not arrive in time.", "Look at the app's connection.", "none"),
    "gateway_lost": Reason(
        "The gateway process ended while it ran.", "Look at why the process ended.", "gateways"
    ),
    "limits_unavailable": Reason(
        "Limits could not be checked, so nothing was let through.", "Bring Redis back.", "gateways"
    ),
    "config_unavailable": Reason(
        "The gateway had no configuration yet.", "Check that the portal has published one.", "gateways"
    ),
    "no_worker": Reason("No worker of the pool was ready.", "Start a worker of the pool.", "workers"),
    "upstream_timeout": Reason(
        "The worker did not answer in time.",
        "Look at the worker's load, or raise the tier's timeout.",
        "workers",
    ),
    "upstream_error": Reason("The worker failed to answer.", "Look at the worker's log.", "workers"),
    "gateway_error": Reason("The gateway itself failed.", "Look at the gateway's log.", "gateways"),
    "client_disconnected": Reason("The client hung up before the answer was complete.", "", "none"),
}

_UNKNOWN = Reason("", "Look at the gateway's log for this request.", "gateways")


def reason(code: str) -> Reason:
    """A code of a newer gateway is shown as it is."""
    return REASONS.get(code) or _UNKNOWN._replace(what=f"The gateway's reason was “{code or 'unknown'}”.")
