"""Signed questions to a worker: is it healthy, what is in flight, which adapters are loaded."""

import time
import uuid
from collections.abc import Callable

import httpx

from gateway_hooks.contract.identity import HEADER, Identity, Keyring, adapter_model_name, body_sha256, sign

TIMEOUT_SECONDS = 5.0
IN_FLIGHT_HEADER = "x-tenantry-in-flight"


class Probe:
    """``url`` has no path."""

    def __init__(
        self,
        url: str,
        *,
        worker_id: str,
        keyring: Keyring,
        timeout: float = TIMEOUT_SECONDS,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._client = httpx.Client(base_url=url, timeout=timeout, trust_env=False)
        self._worker_id = worker_id
        self._keyring = keyring
        self._wall = wall

    def healthy(self) -> bool:
        return self._get("/health") is not None

    def in_flight(self) -> int | None:
        """Requests being worked on, or None if the worker does not answer."""
        response = self._get("/health")
        return None if response is None else int(response.headers[IN_FLIGHT_HEADER])

    def adapters(self) -> tuple[str, ...] | None:
        """Digests of the adapters that this boot has loaded, or None if the worker does not answer."""
        response = self._get("/v1/models")
        if response is None:
            return None
        prefix = adapter_model_name("")
        names = sorted(card["id"] for card in response.json()["data"])
        return tuple(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def get(self, path: str) -> httpx.Response:
        """Raises ``httpx.HTTPError`` when there is no answer."""
        identity = Identity(
            request_id=f"probe-{uuid.uuid4().hex}",
            worker_id=self._worker_id,
            method="GET",
            path=path,
            body_sha256=body_sha256(b""),
            issued_at=self._wall(),
        )
        return self._client.get(path, headers={HEADER: sign(identity, self._keyring)})

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str) -> httpx.Response | None:
        try:
            response = self.get(path)
        except httpx.HTTPError:
            return None
        return response if response.status_code == httpx.codes.OK else None
