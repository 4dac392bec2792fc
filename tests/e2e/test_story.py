"""The story of two tenants: real processes throughout, from the key to the exported line."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway_hooks.contract import keys
from inference.demo_model.voices import ADAPTER_SENTENCES, BASE_SENTENCE, base_folder
from tests.e2e.conversation import Conversation
from tests.e2e.product import Product, measured
from tests.e2e.registry import LEDGER_SECONDS, app_of, billed, changed, found, made, tenant_of
from tests.services import wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

ACME_VOICE = ADAPTER_SENTENCES["acme-health"]
GLOBEX_VOICE = ADAPTER_SENTENCES["globex-shop"]
END_TOKEN = json.loads((base_folder() / "config.json").read_text())["eos_token_id"]
NEVER_ENDING = {str(END_TOKEN): -100}
"""As ``logit_bias``: the answer goes on to its maximum length."""


@contextmanager
def talking(product: Product, key: str) -> Iterator[Conversation]:
    with product.gateway(key) as client:
        yield Conversation(client)


def test_each_tenant_is_answered_by_its_own_adapter_streamed_or_not(product: Product) -> None:
    with talking(product, product.key("acme")) as acme, talking(product, product.key("globex")) as globex:
        whole = acme.say("assistant"), globex.say("assistant")
        streamed = acme.stream("assistant"), globex.stream("assistant")
        base = acme.say("base")

    assert [answer.text for answer in whole] == [ACME_VOICE, GLOBEX_VOICE]
    assert [answer.text for answer in streamed] == [ACME_VOICE, GLOBEX_VOICE]
    assert all(answer.chunks > 5 for answer in streamed)
    assert base.text == BASE_SENTENCE


def test_what_belongs_to_another_tenant_looks_like_what_does_not_exist(
    product: Product, api: httpx.Client
) -> None:
    globex = tenant_of(api, "globex-shop")
    version = next(v for v in found(api, "/adapter-versions/") if v["tenant"] == globex["id"])
    made(api, "/aliases/", tenant=globex["id"], name="shop-only", version=version["id"])
    with talking(product, product.key("globex")) as owner:
        wait_until(lambda: owner.ask("shop-only").is_success, seconds=5, what="Globex's new alias")

    with talking(product, product.key("acme")) as acme:
        names = [
            "no-such-model",
            "shop-only",
            f"adapter-{version['digest']}",
            version["digest"],
            "tenantry-demo",
        ]
        refusals = [(name, acme.ask(name)) for name in names]

    answers = {response.text.replace(name, "NAME") for name, response in refusals}
    assert {response.status_code for _, response in refusals} == {404}
    assert len(answers) == 1, answers
    assert refusals[0][1].json()["error"]["code"] == "model_not_found"


def test_the_worker_refuses_whoever_the_gateway_did_not_sign_on_every_route(product: Product) -> None:
    log = "".join(path.read_text() for path in Path(product.announced["log_dir"]).glob("worker*"))
    routes = set(re.findall(r"Route: (\S+), Methods: ([A-Z]+)", log))
    assert len(routes) > 20, "vLLM logs its routes at start"
    asked = routes | {("/openapi.json", "GET"), ("/docs", "GET"), ("/", "GET"), ("/sleep", "POST")}

    with httpx.Client(base_url=product.worker_url, trust_env=False) as stranger:
        statuses = Counter(
            stranger.request(
                method, re.sub(r"\{\w+\}", "x", path), json={} if method == "POST" else None
            ).status_code
            for path, method in asked
        )

    assert set(statuses) <= {401, 403}, statuses


def test_the_console_counts_what_the_responses_said_token_for_token(
    product: Product, api: httpx.Client
) -> None:
    with talking(product, product.key("acme")) as acme:
        for question in ("Who are you?", "Où êtes-vous ? 🙂", "A somewhat longer question, please?"):
            acme.say("assistant", question)
            acme.stream("base", question)

    for answer in acme.answers:
        entry = billed(api, answer.request_id)
        seen = found(api, "/requests/", request_id=answer.request_id)[0]
        told = (answer.usage["prompt_tokens"], answer.usage["completion_tokens"])
        assert (seen["prompt_tokens"], seen["completion_tokens"]) == told
        assert (entry["prompt_tokens"], entry["completion_tokens"]) == told
        assert entry["source"] == "matched"
        assert entry["gpu_ns"] > 0


def test_a_revoked_key_stops_working_within_a_second(product: Product, api: httpx.Client) -> None:
    app = app_of(api, tenant_of(api, "acme-health"))
    key = made(api, "/keys/", app=app["id"], name="soon revoked")
    with talking(product, key["secret"]) as client:
        wait_until(lambda: client.client.get("/models").is_success, seconds=5, what="the new key")

        assert api.post(f"/keys/{key['id']}/revoke/").status_code == 200
        seconds = measured(
            lambda: client.client.get("/models").status_code == 401, seconds=5, what="the key's end"
        )
        refusal = client.ask("assistant")

    assert seconds < 1.0
    assert refusal.status_code == 401
    assert refusal.json()["error"]["code"] == "invalid_api_key"


def test_a_lowered_spend_limit_stops_the_next_request(product: Product, api: httpx.Client) -> None:
    globex = tenant_of(api, "globex-shop")
    with talking(product, product.key("globex")) as client:
        client.say("assistant")

        changed(api, f"/tenants/{globex['id']}/", monthly_spend_limit="0.000001")
        try:
            wait_until(lambda: client.ask("assistant").status_code == 402, seconds=1, what="the lower limit")
            refusal = client.ask("assistant")
        finally:
            changed(api, f"/tenants/{globex['id']}/", monthly_spend_limit=globex["monthly_spend_limit"])
        wait_until(lambda: client.ask("assistant").is_success, seconds=5, what="the limit raised again")

    assert refusal.json()["error"]["code"] == "budget_exhausted"
    assert "limit" in refusal.json()["error"]["message"]


def test_a_client_that_hangs_up_is_billed_what_the_engine_did_and_its_slot_is_free_again(
    product: Product, api: httpx.Client
) -> None:
    acme = tenant_of(api, "acme-health")
    app = app_of(api, acme)
    key = made(api, "/keys/", app=app["id"], name="one at a time", concurrency=1)
    with talking(product, key["secret"]) as client:
        wait_until(lambda: client.client.get("/models").is_success, seconds=5, what="the new key")

        def streams() -> list[dict[str, Any]]:
            return [row for row in found(api, "/requests/", key=key["id"]) if row["stream"]]

        for attempt in (1, 2, 3):
            client.hang_up("assistant", after_chunks=5, max_tokens=1000, logit_bias=NEVER_ENDING)
            wait_until(
                lambda: client.ask("assistant", max_tokens=5).is_success, seconds=10, what="the only slot"
            )
            wait_until(
                lambda attempt=attempt: len(streams()) == attempt,
                seconds=LEDGER_SECONDS,
                what="the gateway's event",
            )
            # On busy cores the whole answer may be out before anybody can hang up.
            if streams()[0]["outcome"] == "disconnected":
                break

    request_id = streams()[0]["request_id"]
    entry = billed(api, request_id)
    engine = found(api, "/engine-events/", request_id=request_id)[0]
    assert entry["outcome"] == "disconnected"
    # Normally "abort"; the engine may come to the end first where the server hardly gets a turn.
    assert engine["finish_reason"] in {"abort", "length"}
    assert engine["completion_tokens"] <= 1000
    assert entry["completion_tokens"] == engine["completion_tokens"]
    assert entry["prompt_tokens"] == engine["prompt_tokens"]
    with redis.Redis.from_url((product.data / "run" / "redis_url").read_text().strip()) as client:
        wait_until(
            lambda: not client.hexists(keys.holds(acme["id"]), request_id),
            seconds=LEDGER_SECONDS,
            what="settlement of the held money",
        )


def test_the_month_closes_and_its_export_contains_exactly_these_requests(
    product: Product, api: httpx.Client, tmp_path: Path
) -> None:
    month = f"{datetime.now(UTC):%Y-%m}"  # noqa: TID251 - the product under test lives in real time
    with talking(product, product.key("acme")) as acme, talking(product, product.key("globex")) as globex:
        acme.say("assistant")
        globex.stream("assistant")
    for answer in acme.answers + globex.answers:
        billed(api, answer.request_id)  # events come in order, so all earlier ones are in as well
    entries = every_request_is_in_the_ledger(api)

    closed = product.manage("close_period", month)
    again = product.manage("close_period", month)
    exports = {
        fmt: product.manage("export_chargeback", month, "--format", fmt, "--out", str(tmp_path))
        for fmt in ("focus-csv", "focus-parquet", "xlsx")
    }

    assert closed.returncode == 0, closed.stdout + closed.stderr
    assert again.returncode != 0
    assert "closed" in again.stderr
    assert {name: run.returncode for name, run in exports.items()} == dict.fromkeys(exports, 0), exports
    with next(tmp_path.glob("*.csv")).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert exported_tokens(lines) == used_tokens(entries)
    exported = {
        "tokens": sum(Decimal(line["ConsumedQuantity"]) for line in lines),
        "charge": sum(Decimal(line["BilledCost"]) for line in lines),
    }
    assert exported == {
        "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in entries),
        "charge": sum(
            Decimal(row[part])
            for row in entries
            for part in ("input_amount", "cached_input_amount", "output_amount")
        ),
    }
    assert {line["SubAccountName"] for line in lines} == {row["tenant_name"] for row in entries}
    costs = api.get(f"/periods/{month}/").json()
    assert costs["state"] == "closed"


def every_request_is_in_the_ledger(api: httpx.Client) -> list[dict[str, Any]]:
    """Wait until each request that reached the engine has its entry, and return the entries."""

    def missing() -> set[str]:
        asked = {row["request_id"] for row in found(api, "/requests/") if row["worker_id"]}
        return asked - {row["request_id"] for row in found(api, "/ledger/")}

    wait_until(lambda: not missing(), seconds=LEDGER_SECONDS, what="all ledger entries")
    return found(api, "/ledger/")


def exported_tokens(lines: list[dict[str, str]]) -> "Counter[tuple[str, str, str]]":
    """Tokens by tenant, alias and meter, as the export has them."""
    tokens = Counter[tuple[str, str, str]]()
    for line in lines:
        tokens[line["SubAccountName"], line["x_Alias"], line["x_Meter"]] += int(
            Decimal(line["ConsumedQuantity"])
        )
    return +tokens


def used_tokens(entries: list[dict[str, Any]]) -> "Counter[tuple[str, str, str]]":
    """The same from the ledger, request by request."""
    tokens = Counter[tuple[str, str, str]]()
    for entry in entries:
        who = (entry["tenant_name"], entry["alias"])
        tokens[*who, "input"] += entry["prompt_tokens"] - entry["cached_tokens"]
        tokens[*who, "cached_input"] += entry["cached_tokens"]
        tokens[*who, "output"] += entry["completion_tokens"]
    return +tokens
