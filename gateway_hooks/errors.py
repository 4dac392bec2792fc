"""Everything that the gateway refuses, by a stable code: the one place that knows status, type and words.

Texts never name a worker, another tenant, LiteLLM or what an upstream said.
"""

from enum import StrEnum
from typing import NamedTuple


class Code(StrEnum):
    """The stable codes; clients and metrics rely on them."""

    MISSING_API_KEY = "missing_api_key"
    INVALID_API_KEY = "invalid_api_key"
    KEY_EXPIRED = "key_expired"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a code, no secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a code, no secret
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"  # noqa: S105 - a code, no secret
    IP_NOT_ALLOWED = "ip_not_allowed"
    TENANT_SUSPENDED = "tenant_suspended"
    ENDPOINT_NOT_ALLOWED = "endpoint_not_allowed"
    TOOL_NOT_ALLOWED = "tool_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    ENDPOINT_NOT_SUPPORTED = "endpoint_not_supported"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TIMEOUT = "body_timeout"
    INVALID_JSON = "invalid_json"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    INVALID_PARAMETER = "invalid_parameter"
    INVALID_REQUEST = "invalid_request"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    PRICE_MISSING = "price_missing"
    RATE_LIMIT_REQUESTS = "rate_limit_requests"
    RATE_LIMIT_TOKENS = "rate_limit_tokens"
    CONCURRENCY = "concurrency"
    CONTEXT_CAP = "context_cap"
    KV_BUDGET = "kv_budget"
    BUDGET_EXHAUSTED = "budget_exhausted"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    PII_BLOCKED = "pii_blocked"
    PII_UNMASKABLE = "pii_unmaskable"
    PII_FAILED = "pii_failed"
    LIMITS_UNAVAILABLE = "limits_unavailable"
    CONFIG_UNAVAILABLE = "config_unavailable"
    NO_WORKER = "no_worker"
    POISON_REQUEST = "poison_request"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_ERROR = "upstream_error"
    GATEWAY_ERROR = "gateway_error"


class Kind(NamedTuple):
    """HTTP status, OpenAI error type and the default text of one code."""

    status: int
    type: str
    message: str


_INVALID = "invalid_request_error"
_AUTHENTICATION = "authentication_error"
_PERMISSION = "permission_error"
_NOT_FOUND = "not_found_error"
_RATE_LIMIT = "rate_limit_error"
_QUOTA = "insufficient_quota"
_SERVER = "api_error"

KINDS = {
    Code.MISSING_API_KEY: Kind(401, _AUTHENTICATION, "No API key: send `Authorization: Bearer <key>`."),
    Code.INVALID_API_KEY: Kind(401, _AUTHENTICATION, "The API key is not valid."),
    Code.KEY_EXPIRED: Kind(401, _AUTHENTICATION, "The API key has expired."),
    Code.INVALID_TOKEN: Kind(401, _AUTHENTICATION, "The token is not valid."),
    Code.TOKEN_EXPIRED: Kind(401, _AUTHENTICATION, "The token has expired."),
    Code.TOKEN_NOT_YET_VALID: Kind(401, _AUTHENTICATION, "The token is not valid yet."),
    Code.IP_NOT_ALLOWED: Kind(403, _PERMISSION, "Requests from this address are not allowed."),
    Code.ENDPOINT_NOT_ALLOWED: Kind(403, _PERMISSION, "This account may not use this endpoint."),
    Code.TOOL_NOT_ALLOWED: Kind(403, _PERMISSION, "This account may not offer this tool."),
    Code.TENANT_SUSPENDED: Kind(403, _PERMISSION, "This account is suspended."),
    Code.NOT_FOUND: Kind(404, _NOT_FOUND, "There is nothing at this address."),
    Code.METHOD_NOT_ALLOWED: Kind(405, _INVALID, "This address does not take this method."),
    Code.MODEL_NOT_FOUND: Kind(404, _NOT_FOUND, "The model does not exist or you may not use it."),
    Code.ENDPOINT_NOT_SUPPORTED: Kind(400, _INVALID, "The model does not serve this endpoint."),
    Code.BODY_TOO_LARGE: Kind(413, _INVALID, "The request body is too large."),
    Code.BODY_TIMEOUT: Kind(408, _INVALID, "The request body took too long to arrive."),
    Code.INVALID_JSON: Kind(400, _INVALID, "The request body is not a JSON object."),
    Code.UNSUPPORTED_PARAMETER: Kind(400, _INVALID, "A parameter is not supported."),
    Code.INVALID_PARAMETER: Kind(400, _INVALID, "A parameter is not valid."),
    Code.INVALID_REQUEST: Kind(400, _INVALID, "The model cannot take this request."),
    Code.CONTEXT_LENGTH_EXCEEDED: Kind(400, _INVALID, "The request is longer than the model's context."),
    Code.PRICE_MISSING: Kind(403, _PERMISSION, "The model has no price for this account yet."),
    Code.RATE_LIMIT_REQUESTS: Kind(429, _RATE_LIMIT, "Too many requests per minute."),
    Code.RATE_LIMIT_TOKENS: Kind(429, _RATE_LIMIT, "Too many tokens per minute."),
    Code.CONCURRENCY: Kind(429, _RATE_LIMIT, "Too many requests at the same time."),
    Code.BUDGET_EXHAUSTED: Kind(
        402, _QUOTA, "The spend limit of this month leaves no room for this request."
    ),
    Code.PII_BLOCKED: Kind(400, _INVALID, "The request holds data that this account does not pass on."),
    Code.PII_UNMASKABLE: Kind(400, _INVALID, "The request holds data that can be neither masked nor sent."),
    Code.PII_FAILED: Kind(503, _SERVER, "Personal data cannot be masked right now; try again shortly."),
    Code.CONTEXT_CAP: Kind(413, _INVALID, "Prompt and output together are longer than this account allows."),
    Code.KV_BUDGET: Kind(429, _RATE_LIMIT, "Too much of the model's memory is in use by this account."),
    Code.QUEUE_FULL: Kind(429, _RATE_LIMIT, "Too many requests of this account are waiting."),
    Code.QUEUE_TIMEOUT: Kind(429, _RATE_LIMIT, "The model was busy for as long as this account waits."),
    Code.LIMITS_UNAVAILABLE: Kind(503, _SERVER, "Limits cannot be checked right now; try again shortly."),
    Code.CONFIG_UNAVAILABLE: Kind(503, _SERVER, "The gateway has no configuration yet; try again shortly."),
    Code.NO_WORKER: Kind(503, _SERVER, "No worker is ready for this model; try again shortly."),
    Code.POISON_REQUEST: Kind(422, _INVALID, "This request crashed workers repeatedly and is not run again."),
    Code.UPSTREAM_TIMEOUT: Kind(504, _SERVER, "The model took too long to answer."),
    Code.UPSTREAM_ERROR: Kind(502, _SERVER, "The model failed to answer."),
    Code.GATEWAY_ERROR: Kind(500, _SERVER, "The gateway failed."),
}


class GatewayError(Exception):
    """A request ends here. ``code`` is a key of ``KINDS``; ``retry_after`` is in seconds."""

    def __init__(
        self,
        code: Code,
        message: str | None = None,
        *,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        kind = KINDS[code]
        super().__init__(message or kind.message)
        self.code = code
        self.status = kind.status
        self.type = kind.type
        self.message = message or kind.message
        self.param = param
        self.retry_after = retry_after


class SettingsError(Exception):
    """The environment does not describe a gateway; the text says which variable and why."""

    code = "settings_invalid"
