"""What the gateway promises, seen from outside: masks, tokens, configurations, limits, counts, metrics."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import anthropic
import httpx
import jwt
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from inference.demo_model.voices import ADAPTER_SENTENCES, BASE_SENTENCE
from tests.e2e.conversation import Conversation
from tests.e2e.product import Product, measured
from tests.e2e.registry import app_of, billed, changed, done, event_of, found, made, tenant_of
from tests.services import wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

SHORT, LONG = "a.b@c.org", "jane.roe.with.a.rather.long.name@a-department.example.org"
PROVIDER = "https://login.initech.example"


@dataclass(frozen=True)
class Resident:
    """A tenant of this test's own with the alias ``assistant`` on the base model, and a key that works."""

    tenant: dict[str, Any]
    app: dict[str, Any]
    key: dict[str, Any]

    @property
    def secret(self) -> str:
        return str(self.key["secret"])


def moved_in(product: Product, api: httpx.Client, **limits: Any) -> Resident:
    name = f"initech-{secrets.token_hex(3)}"
    like = tenant_of(api, "globex-shop")
    tenant = made(api, "/tenants/", name=name, slug=name, tier=like["tier"], pool=like["pool"], **limits)
    made(api, "/aliases/", tenant=tenant["id"], name="assistant", track="pinned")
    app = made(api, "/apps/", tenant=tenant["id"], name="Helpdesk")
    resident = Resident(tenant, app, made(api, "/keys/", app=app["id"], name="first"))
    with talking(product, resident.secret) as client:
        wait_until(lambda: models(client) == ["assistant"], seconds=5, what="the new tenant's alias")
    return resident


@contextmanager
def talking(product: Product, credential: str) -> Iterator[Conversation]:
    with product.gateway(credential) as client:
        yield Conversation(client)


def models(conversation: Conversation) -> list[str]:
    answer = conversation.client.get("/models")
    return sorted(model["id"] for model in answer.json()["data"]) if answer.is_success else []


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def metrics(product: Product, token: str | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.get(f"{product.gateway_url}/metrics", headers=headers, trust_env=False)


def sample(text: str, name: str, **labels: str) -> float:
    """A counter's value in Prometheus' text format, summed over all series that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.split("{")[0].split(" ")[0] == name and all(label in line for label in wanted)
    )


def test_the_official_clients_are_served_unchanged(product: Product) -> None:
    asked: Any = [{"role": "user", "content": "Who are you?"}]

    with openai.OpenAI(api_key=product.key("acme"), base_url=f"{product.gateway_url}/v1") as client:
        names = {model.id for model in client.models.list()}
        chat = client.chat.completions.create(model="assistant", messages=asked)
        pieces = list(client.chat.completions.create(model="assistant", messages=asked, stream=True))
        response = client.responses.create(model="assistant", input="Who are you?")
    with (
        anthropic.Anthropic(api_key=product.key("globex"), base_url=product.gateway_url) as other,
        other.messages.stream(model="assistant", max_tokens=200, messages=asked) as stream,
    ):
        message = "".join(stream.text_stream)

    acme = ADAPTER_SENTENCES["acme-health"]
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert {"assistant", "base"} <= names
    assert (chat.choices[0].message.content, streamed, response.output_text) == (acme, acme, acme)
    assert message == ADAPTER_SENTENCES["globex-shop"]


def test_the_engine_never_sees_an_address_and_the_client_gets_it_back(
    product: Product, api: httpx.Client
) -> None:
    """The demo model counts a token a character, so what the engine read can be told from its count."""
    forced = {
        "type": "json_schema",
        "json_schema": {"name": "mail", "schema": {"type": "string", "enum": [LONG]}},
    }
    with talking(product, product.key("acme")) as acme, talking(product, product.key("globex")) as globex:
        short, long = (acme.say("assistant", f"Write to {mail}, please.") for mail in (SHORT, LONG))
        plain = [globex.say("assistant", f"Write to {mail}, please.") for mail in (SHORT, LONG)]
        whole = acme.say("assistant", f"Write to {LONG}.", response_format=forced, max_tokens=200)
        streamed = acme.stream("assistant", f"Write to {LONG}.", response_format=forced, max_tokens=200)
        blocked = acme.ask("assistant", "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----")
        shown = metrics(product, metrics_token(product)).text

    read = [answer.usage["prompt_tokens"] for answer in (short, long, *plain)]
    assert read[0] == read[1], "a placeholder is as long as any other"
    assert read[3] - read[2] == len(LONG) - len(SHORT)
    assert [json.loads(answer.text) for answer in (whole, streamed)] == [LONG, LONG]
    assert whole.usage["completion_tokens"] < len(LONG)
    assert refusal(blocked) == (400, "pii_blocked")
    assert event_of(api, short.request_id)["pii_counts"] == {"EMAIL_ADDRESS": 1}
    assert LONG not in shown
    assert LONG.encode() not in b"".join(path.read_bytes() for path in (product.data / "logs").iterdir())


def test_tokens_of_a_tenants_own_issuer_are_taken_until_it_is_switched_off(
    product: Product, api: httpx.Client
) -> None:
    tenant = tenant_of(api, "acme-health")
    app = app_of(api, tenant)
    secret, audience = secrets.token_urlsafe(48), f"gateway-{secrets.token_hex(3)}"
    pair = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    public = jwt.get_algorithm_by_name("RS256").to_jwk(pair.public_key(), as_dict=True)
    claims = {"sub": "nurse-7", "iat": int(time.time()), "exp": int(time.time()) + 600}

    def issuer(kind: str, **keys: Any) -> dict[str, Any]:
        about = {"tenant": tenant["id"], "app": app["id"], "name": kind, "issuer": PROVIDER}
        return made(api, "/token-issuers/", **about, audience=f"{audience}-{kind}", algorithms=[kind], **keys)

    def token(kind: str, key: Any, **changes: Any) -> str:
        return jwt.encode(claims | {"iss": PROVIDER, "aud": f"{audience}-{kind}"} | changes, key, kind)

    issuers = {"HS256": issuer("HS256", secret=secret), "RS256": issuer("RS256", jwks=[public])}
    for kind, key in {"HS256": secret, "RS256": pair}.items():
        with talking(product, token(kind, key)) as nurse:
            wait_until(lambda nurse=nurse: bool(models(nurse)), seconds=5, what=f"the {kind} issuer")
            answer = nurse.say("assistant")
            with talking(product, token(kind, key, exp=claims["iat"] - 60)) as late:
                expired = refusal(late.ask("assistant"))
            changed(api, f"/token-issuers/{issuers[kind]['id']}/", active=False)
            seconds = measured(
                lambda nurse=nurse: nurse.client.get("/models").status_code == 401,
                seconds=5,
                what="the issuer's end",
            )

            event = event_of(api, answer.request_id)
            assert answer.text == ADAPTER_SENTENCES["acme-health"]
            assert event["issuer_id"] == issuers[kind]["id"]
            assert billed(api, answer.request_id)["key_id"] == f"jwt-{issuers[kind]['id']}"
            assert event["end_user"] not in {"", None, "nurse-7"}
            assert expired == (401, "token_expired")
            assert refusal(nurse.ask("assistant")) == (401, "invalid_token")
            assert seconds < 1.0


def test_a_configuration_is_in_force_when_published_and_gone_when_rolled_back(
    product: Product, api: httpx.Client
) -> None:
    resident = moved_in(product, api)
    tenant = resident.tenant["id"]
    first = made(api, "/configurations/", tenant=tenant, content={"max_output_tokens": 200})
    done(api, f"/configurations/{first['id']}/publish/")
    content = {"max_output_tokens": 7, "endpoints": ["chat.completions"], "system_prompt": "Be brief."}
    draft = made(api, "/configurations/", tenant=tenant, content=content)

    with talking(product, resident.secret) as client:
        before = client.say("assistant")
        done(api, f"/configurations/{draft['id']}/publish/")
        in_force = measured(
            lambda: len(client.say("assistant").text) == 7, seconds=5, what="the configuration"
        )
        during = client.answers[-1]
        other = client.client.post("/completions", json={"model": "assistant", "prompt": "Hi"})
        done(api, f"/configurations/{first['id']}/roll-back/")
        gone = measured(
            lambda: client.say("assistant").text == BASE_SENTENCE, seconds=5, what="the version before"
        )

    assert before.text == BASE_SENTENCE
    assert during.usage["prompt_tokens"] > before.usage["prompt_tokens"]
    assert refusal(other) == (403, "endpoint_not_allowed")
    assert client.answers[-1].usage["prompt_tokens"] == before.usage["prompt_tokens"]
    assert event_of(api, during.request_id)["configuration_version"] == draft["number"]
    assert max(in_force, gone) < 1.0
    states = {row["number"]: row["state"] for row in found(api, "/configurations/", tenant=tenant)}
    assert states[max(states)] == "published"


def test_a_raise_lets_more_through_until_it_ends(product: Product, api: httpx.Client) -> None:
    resident = moved_in(product, api, requests_per_minute=2)
    with talking(product, resident.secret) as client:
        for _ in range(2):
            client.say("assistant", max_tokens=1)
        refused = client.ask("assistant")

        until = datetime.now(UTC) + timedelta(hours=1)  # noqa: TID251 - the product lives in real time
        raised = made(
            api,
            "/raises/",
            tenant=resident.tenant["id"],
            limit="requests_per_minute",
            value=100,
            until=until.isoformat(),
            reason="An audit.",
        )
        wait_until(lambda: client.ask("assistant").is_success, seconds=1, what="the raise")
        done(api, f"/raises/{raised['id']}/end/")
        wait_until(lambda: client.ask("assistant").status_code == 429, seconds=1, what="its end")

    assert refusal(refused) == (429, "rate_limit_requests")
    assert 0 < int(refused.headers["retry-after"]) <= 60


def test_limits_of_an_app_hold_over_all_its_keys_and_a_key_sees_its_models_only(
    product: Product, api: httpx.Client
) -> None:
    resident = moved_in(product, api)
    made(api, "/aliases/", tenant=resident.tenant["id"], name="other", track="pinned")
    app = made(api, "/apps/", tenant=resident.tenant["id"], name="Batch", requests_per_minute=1)
    keys = [
        made(api, "/keys/", app=app["id"], name=name, aliases=["other"])["secret"] for name in ("one", "two")
    ]

    with talking(product, keys[0]) as one, talking(product, keys[1]) as two:
        wait_until(lambda: models(two) == ["other"], seconds=5, what="the keys")
        unlisted = one.ask("assistant")
        one.say("other", max_tokens=1)
        refused = two.ask("other")

    assert refusal(unlisted) == (404, "model_not_found")
    assert refusal(refused) == (429, "rate_limit_requests")
    event = event_of(api, refused.headers["x-request-id"])
    assert (event["refused_scope"], event["refused_limit"], event["refused_used"]) == (
        f"app.{app['id']}",
        1,
        1,
    )


def test_reserved_is_what_the_engine_counts_and_two_choices_are_paid_as_two(
    product: Product, api: httpx.Client
) -> None:
    limit, output = 10_000, 20
    resident = moved_in(product, api, tokens_per_minute=limit)
    with talking(product, resident.secret) as client:
        response = client.ask("assistant", "Où êtes-vous ? 🙂", max_tokens=output, n=2)

    answer = response.json()
    reserved = limit - int(response.headers["x-ratelimit-remaining-tokens"])
    assert [choice["message"]["content"] for choice in answer["choices"]] == [BASE_SENTENCE[:output]] * 2
    assert reserved == answer["usage"]["prompt_tokens"] + 2 * output
    event = event_of(api, response.headers["x-request-id"])
    assert (event["choices"], event["completion_tokens"]) == (2, 2 * output)


def test_metrics_are_for_their_token_alone_and_count_each_request_once(product: Product) -> None:
    token = metrics_token(product)
    mine = {"tenant": "globex-shop", "endpoint": "completions"}

    def counted(**labels: str) -> float:
        return sample(metrics(product, token).text, "tenantry_gateway_requests_total", **labels)

    before = counted(**mine, outcome="completed"), counted(**mine, reason="model_not_found")
    with talking(product, product.key("globex")) as client:
        for model in ("assistant", "no-such-model"):
            client.client.post("/completions", json={"model": model, "prompt": "Hi", "max_tokens": 2})
    after = counted(**mine, outcome="completed"), counted(**mine, reason="model_not_found")

    strangers = [metrics(product, held).status_code for held in (None, "x", product.key("globex"))]
    assert strangers == [401, 401, 401]
    assert after == (before[0] + 1, before[1] + 1)
    assert sample(metrics(product, token).text, "tenantry_gateway_prompt_undercount_total") == 0


def metrics_token(product: Product) -> str:
    return (product.data / "secrets" / "metrics_token").read_text().strip()
