"""``GET /metrics``: for who holds its own credential, which is nobody's API key."""

import hmac
from collections.abc import Callable, Iterable

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_AUTHORIZATION = b"authorization"
_NOT_FOUND = b'{"error":{"message":"Not found.","code":"not_found"}}'
_REFUSED = b'{"error":{"message":"The metrics need their own bearer token.","code":"invalid_api_key"}}'


def metrics_answer(
    headers: Iterable[tuple[bytes, bytes]], token: str | None, render: Callable[[], bytes]
) -> tuple[int, bytes]:
    """(status, body): 404 without a configured token, 401 for a wrong one, else the metrics.

    ``render`` reads files, so this belongs in a thread. 200 is ``CONTENT_TYPE``, the rest is JSON.
    """
    if not token:
        return 404, _NOT_FOUND
    sent = [value for name, value in headers if name.lower() == _AUTHORIZATION]
    if len(sent) != 1 or not hmac.compare_digest(sent[0], b"Bearer " + token.encode()):
        return 401, _REFUSED
    return 200, render()
