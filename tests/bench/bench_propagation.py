"""From a click in the console to its enforcement, on the product as ``make up`` runs it.

Each round makes an API key through the console's REST API and revokes it. Measured is, from outside, the
time until the gateway's first request that is treated differently: from sending the change to the
console, and from the console's answer. The last line is one JSON object; times are milliseconds.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.product import running_product

ROUNDS = 60
DEADLINE_SECONDS = 5.0


@dataclass
class Timing:
    """Milliseconds of every round, of one kind of change."""

    from_click: list[float] = field(default_factory=list)
    from_answer: list[float] = field(default_factory=list)

    def measure(
        self, change: Callable[[], httpx.Response], enforced: Callable[[dict[str, Any]], bool]
    ) -> Any:
        """Polled without a pause: a request, about two milliseconds, is the resolution."""
        clicked = time.perf_counter()
        answer = change().raise_for_status().json()
        answered = time.perf_counter()
        while not enforced(answer):
            if time.perf_counter() - answered > DEADLINE_SECONDS:
                message = f"no enforcement within {DEADLINE_SECONDS} s"
                raise TimeoutError(message)
        now = time.perf_counter()
        self.from_click.append((now - clicked) * 1000)
        self.from_answer.append((now - answered) * 1000)
        return answer


def rounds(api: httpx.Client, gateway_url: str) -> dict[str, Timing]:
    app = api.get("/apps/").raise_for_status().json()["results"][0]["id"]
    timings = {"granted": Timing(), "revoked": Timing()}
    with httpx.Client(base_url=gateway_url, trust_env=False, timeout=10) as gateway:

        def status(secret: str) -> int:
            return gateway.get("/v1/models", headers={"authorization": f"Bearer {secret}"}).status_code

        for number in range(ROUNDS):
            key = timings["granted"].measure(
                lambda number=number: api.post("/keys/", json={"app": app, "name": f"bench {number}"}),
                lambda made: status(made["secret"]) == httpx.codes.OK,
            )
            timings["revoked"].measure(
                lambda key=key: api.post(f"/keys/{key['id']}/revoke/"),
                lambda _, key=key: status(key["secret"]) == httpx.codes.UNAUTHORIZED,
            )
    return timings


def percentile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)


def main() -> None:
    with running_product() as product, product.api() as api:
        timings = rounds(api, product.gateway_url)
    result: dict[str, float] = {"rounds": ROUNDS}
    for name, timing in timings.items():
        for percent in (50, 99):
            result[f"{name}_from_click_p{percent}_ms"] = percentile(timing.from_click, percent)
            result[f"{name}_from_answer_p{percent}_ms"] = percentile(timing.from_answer, percent)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
