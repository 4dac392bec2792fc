"""From a change in the console to its enforcement, on the product as ``make up`` runs it.

Each round makes an API key through the console's REST API and revokes it. Measured is, from outside, the
time from the console's answer to the first request that the gateway treats differently. The last line
is one JSON object; times are milliseconds.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import httpx

from tests.e2e.product import running_product

ROUNDS = 60
DEADLINE_SECONDS = 5.0


def milliseconds_until(done: Callable[[], bool]) -> float:
    """Polled without a pause: the request itself, about two milliseconds, is the resolution."""
    start = time.perf_counter()
    while not done():
        if time.perf_counter() - start > DEADLINE_SECONDS:
            message = f"no enforcement within {DEADLINE_SECONDS} s"
            raise TimeoutError(message)
    return (time.perf_counter() - start) * 1000


def rounds(api: httpx.Client, gateway_url: str) -> tuple[list[float], list[float]]:
    app = api.get("/apps/").raise_for_status().json()["results"][0]["id"]
    granted, revoked = [], []
    with httpx.Client(base_url=gateway_url, trust_env=False, timeout=10) as gateway:
        for number in range(ROUNDS):
            key = api.post("/keys/", json={"app": app, "name": f"bench {number}"}).raise_for_status().json()
            headers = {"authorization": f"Bearer {key['secret']}"}

            def status(headers: dict[str, str] = headers) -> int:
                return gateway.get("/v1/models", headers=headers).status_code

            granted.append(milliseconds_until(lambda status=status: status() == 200))
            api.post(f"/keys/{key['id']}/revoke/").raise_for_status()
            revoked.append(milliseconds_until(lambda status=status: status() == 401))
    return granted, revoked


def percentile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)


def main() -> None:
    with running_product() as product, product.api() as api:
        granted, revoked = rounds(api, product.gateway_url)
    result = {"rounds": ROUNDS} | {
        f"{name}_p{percent}_ms": percentile(values, percent)
        for name, values in (("granted", granted), ("revoked", revoked))
        for percent in (50, 99)
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
