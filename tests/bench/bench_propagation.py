"""From a click in the console to its enforcement, on the product as ``make up`` runs it.

Each round makes an API key through the console's REST API and revokes it. Measured is, from outside, the
time until the gateway's first request that is treated differently: from sending the change to the
console, and from the console's answer. The last line is one JSON object; times are milliseconds, and
``propagation_p99_s`` is seconds from the click to the first refusal of a revoked key.

``TENANTS`` so many more are in the registry, ``LOAD`` so many clients ask the gateway without a pause for
completions meanwhile, ``ROUNDS`` so many keys are made and revoked.
"""

import json
import os
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.product import Product, running_product

ROUNDS = int(os.environ.get("ROUNDS", "60"))
TENANTS = int(os.environ.get("TENANTS", "0"))
LOAD = int(os.environ.get("LOAD", "2"))
SEED_SECONDS = 300.0
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


def seed(product: Product) -> None:
    """Once the command is back the tenants are published; the gateway follows before the first round ends."""
    program = f"from tests.bench.many_tenants import seed; seed({TENANTS})"
    done = product.manage("shell", "-c", program, seconds=SEED_SECONDS)
    if done.returncode:
        message = f"seeding failed: {done.stderr[-2000:]}"
        raise RuntimeError(message)


@contextmanager
def load(product: Product) -> Iterator["Counter[int]"]:
    """``LOAD`` clients of the first demo tenant, each with one request after the other; answers by status."""
    answers: Counter[int] = Counter()
    end = threading.Event()
    with product.gateway(next(iter(product.announced["keys"].values()))) as gateway:
        body = {
            "model": gateway.get("/models").raise_for_status().json()["data"][0]["id"],
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 4,
        }

        def ask() -> None:
            while not end.is_set():
                answers[gateway.post("/chat/completions", json=body).status_code] += 1

        clients = [threading.Thread(target=ask) for _ in range(LOAD)]
        for client in clients:
            client.start()
        try:
            yield answers
        finally:
            end.set()
            for client in clients:
                client.join()


def percentile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)


def main() -> None:
    with running_product() as product, product.api() as api:
        if TENANTS:
            seed(product)
        with load(product) as answers:
            timings = rounds(api, product.gateway_url)
    result: dict[str, Any] = {"rounds": ROUNDS, "tenants_added": TENANTS, "load_clients": LOAD}
    result["load_answers"] = {str(status): count for status, count in sorted(answers.items())}
    for name, timing in timings.items():
        for percent in (50, 99):
            result[f"{name}_from_click_p{percent}_ms"] = percentile(timing.from_click, percent)
            result[f"{name}_from_answer_p{percent}_ms"] = percentile(timing.from_answer, percent)
    result["propagation_p99_s"] = round(result["revoked_from_click_p99_ms"] / 1000, 3)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
