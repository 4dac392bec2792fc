"""Tokens, networks, end users and tenant configurations at a running gateway."""

import time

import msgspec
import pytest

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import App, Bound, Configuration, Limits, encode_snapshot
from tests.gateway_hooks.house import SECONDS, Customer, House
from tests.gateway_hooks.identity import issuers
from tests.gateway_hooks.processes import wait_for

PROMPT = "You are Acme's assistant."


def trust(house: House, customer: Customer, **changes) -> None:
    """An issuer and an app for the customer, in force until the house publishes again."""
    made = issuers.issuer(customer.tenant.id, app_id=customer.key.app_id, **changes)
    app = App(
        id=f"portal-of-{customer.tenant.slug}", tenant_id=customer.tenant.id, name="Portal", limits=Limits()
    )
    publish(house, made, app)


def publish(house: House, *entries) -> None:
    snapshot = msgspec.structs.replace(
        house.snapshot(),
        issuers={entry.id: entry for entry in entries if not isinstance(entry, App)},
        apps={entry.id: entry for entry in entries if isinstance(entry, App)},
    )
    house.redis.set(keys.SNAPSHOT, encode_snapshot(snapshot))
    house.redis.publish(keys.SNAPSHOT_CHANGED, house.version)
    wait_for(lambda: house.serves(house.version), seconds=SECONDS, what="the gateway serves the snapshot")


def token_for(customer: Customer, **changes) -> str:
    now = round(time.time())
    return issuers.token(**{"tenant": customer.tenant, "iat": now, "exp": now + 60, **changes})


def chat(house: House, credential: str, model: str = "support", headers=(), **body):
    return house.client(credential).post(
        "/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "hello"}], **body},
        headers=list(headers),
    )


def test_a_token_is_served_for_its_tenant_and_app_and_refused_once_its_issuer_is_gone(house: House):
    customer = house.move_in("jwt-one")
    trust(house, customer)
    token = token_for(customer, app="Portal", models=["support"])

    assert chat(house, token).status_code == 200
    event = house.event(customer)
    assert (event.app_id, event.key_id) == ("portal-of-jwt-one", f"jwt-issuer-of-{customer.tenant.id}")
    assert event.issuer_id == f"issuer-of-{customer.tenant.id}"
    assert len(event.end_user) == 32
    listed = house.client(token).get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["support"]
    assert chat(house, token, model="base").json()["error"]["code"] == "model_not_found"

    house.publish_and_wait()

    assert chat(house, token).json()["error"]["code"] == "invalid_token"


def test_a_budget_in_a_token_holds_for_its_subject(house: House):
    customer = house.move_in("jwt-budget")
    trust(house, customer)

    assert chat(house, token_for(customer, budget=1)).json()["error"]["code"] == "budget_exhausted"
    assert chat(house, token_for(customer, budget=10**9, sub="another")).status_code == 200


def test_forged_headers_do_not_get_a_key_through_its_networks(house: House):
    customer = house.move_in("far-away", key_changes={"ip_ranges": ("192.0.2.0/24",)})
    forged = [
        ("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7"), ("x-real-ip", "192.0.2.7"),
        ("x-forwarded-for", "192.0.2.8"), ("cf-connecting-ip", "192.0.2.7"),
    ]  # fmt: skip

    answer = chat(house, customer.secret, headers=forged)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "ip_not_allowed")


def test_a_configuration_is_put_before_what_the_client_says(house: House):
    configuration = Configuration(
        version=3,
        system_prompt=PROMPT,
        defaults={"temperature": 0.25},
        bounds={"top_p": Bound(high=0.5)},
        stop=("END",),
        max_output_tokens=7,
        endpoints=("chat.completions", "messages", "responses"),
        tools=("look_up",),
    )
    customer = house.move_in("configured", configuration=configuration)
    user = [{"role": "user", "content": "hello"}]

    answer = chat(house, customer.secret, top_p=0.9, max_tokens=50)

    assert answer.status_code == 200, answer.text
    sent = house.seen(customer)[-1]["body"]
    assert sent["messages"] == [{"role": "system", "content": PROMPT}, *user]
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["stop"]) == (0.25, 0.5, 7, ["END"])
    assert house.event(customer).configuration_version == 3

    anthropic = {"model": "support", "messages": user, "max_tokens": 5, "system": "Be brief."}
    assert customer.client.post("/v1/messages", json=anthropic).status_code == 200
    sent = house.seen(customer)[-1]["body"]
    assert sent["messages"][0] == {"role": "system", "content": f"{PROMPT}\n\nBe brief."}
    assert sent["stop"] == ["END"]

    answer = customer.client.post(
        "/v1/responses", json={"model": "support", "input": "hi", "instructions": "Rhyme."}
    )
    assert answer.status_code == 200
    assert house.seen(customer)[-1]["body"]["instructions"] == f"{PROMPT}\n\nRhyme."

    refused = customer.client.post("/v1/completions", json={"model": "support", "prompt": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "endpoint_not_allowed")
    tools = [{"type": "function", "function": {"name": "buy"}}]
    refused = chat(house, customer.secret, tools=tools)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "tool_not_allowed")


def test_an_end_user_is_a_hash_in_events_and_nowhere_in_what_is_sent(house: House):
    customer = house.move_in("end-users", end_user_limits=Limits(requests_per_minute=1))

    assert chat(house, customer.secret, user="ann@example.com").status_code == 200
    assert (
        chat(house, customer.secret, user="ann@example.com").json()["error"]["code"] == "rate_limit_requests"
    )
    assert chat(house, customer.secret, user="bob@example.com").status_code == 200
    hashes = {event.end_user for event in house.events(customer.tenant.id)}
    assert len(hashes) == 2
    assert "ann" not in str(hashes) + str(house.seen(customer))


@pytest.mark.parametrize("bad", ["a.b.c", "e30.e30.e30", "..", "x." + "y" * 20_000 + ".z"])
def test_broken_tokens_are_refused_with_a_code(house: House, bad: str):
    answer = chat(house, bad)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token")
