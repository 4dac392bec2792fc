"""Raises, issuers, configurations, rollouts and dead letters through the API."""

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.contrib.admin.models import LogEntry
from rest_framework.test import APIClient

from gateway_hooks.contract.dead_letters import (
    DEAD_LETTERS,
    DeadLetter,
    encode_dead_letter,
    entry_name,
    suspect,
)
from portal.adapters.models import Alias
from portal.core import clock
from portal.core.roles import ROLES
from portal.snapshots.services import build_snapshot
from portal.tenants.models import Tenant, TenantConfiguration, TokenIssuer
from portal.tiers.models import Tier
from tests import factories
from tests.factories import NOW
from tests.portal.api.conftest import Caller
from tests.portal.api.test_registry import patch, post

SECRET = "a shared secret of more than thirty-two bytes"


@pytest.fixture
def tenant(db: None) -> Tenant:  # noqa: ARG001
    return factories.make_tenant(tokens_per_minute=100)


def issuer_fields(app: Any, **changes: Any) -> dict[str, Any]:
    return {
        "tenant": app.tenant_id,
        "app": app.pk,
        "name": "Login",
        "issuer": "https://login.example.com/",
        "audience": "chat",
        "algorithms": ["HS256"],
        "secret": SECRET,
    } | changes


def test_a_shared_secret_goes_in_and_never_comes_out(admin: APIClient, tenant: Tenant, settings: Any) -> None:
    settings.SECRETS_KEYS = f"s1:{'cd' * 32}"
    app = factories.make_app(tenant)

    made = post(admin, "token-issuers", **issuer_fields(app))
    turned = post(admin, f"token-issuers/{made['id']}/rotate", 200, secret=SECRET[::-1])
    changed = patch(admin, f"token-issuers/{made['id']}", active=False, ip_ranges=["192.0.2.0/24"])
    listed = admin.get("/api/v1/token-issuers/").content.decode()

    assert (made["secrets"], turned["secrets"], changed["active"]) == (1, 2, False)
    for text in (str(made), str(turned), str(changed), listed):
        assert "secret of" not in text
        assert "sealed" not in text
    assert len(TokenIssuer.objects.get().sealed_secrets) == 2
    assert admin.delete(f"/api/v1/token-issuers/{made['id']}/").status_code == 204


def test_an_issuer_that_does_not_fit_is_refused_by_field_or_code(admin: APIClient, tenant: Tenant) -> None:
    app = factories.make_app(tenant)

    by_field = post(admin, "token-issuers", 400, **issuer_fields(app, ip_ranges=["10.0.0.1/8"]))
    by_code = post(admin, "token-issuers", 400, **issuer_fields(app, algorithms=["ES256"], secret=""))

    assert list(by_field["error"]["fields"]) == ["ip_ranges"]
    assert "secret" in by_code["error"]["fields"]


def test_a_configuration_is_drafted_published_compared_and_rolled_back(
    admin: APIClient, tenant: Tenant
) -> None:
    first = post(admin, "configurations", tenant=tenant.pk, content={"stop": ["A"]})
    post(admin, f"configurations/{first['id']}/publish", 200)
    second = post(admin, "configurations", tenant=tenant.pk, content={"stop": ["B"]}, note="B")
    second = patch(admin, f"configurations/{second['id']}", content={"stop": ["B", "C"]})
    changes = admin.get(f"/api/v1/configurations/{second['id']}/changes/").json()
    post(admin, f"configurations/{second['id']}/publish", 200)

    back = post(admin, f"configurations/{first['id']}/roll-back")

    assert second["note"] == "B"
    assert changes == [{"field": "stop", "before": "A", "after": "B, C", "lines": []}]
    assert (back["number"], back["state"], back["restores"]) == (3, "published", first["id"])
    answer = post(admin, f"configurations/{second['id']}/publish", 409)
    assert answer["error"]["code"] == "configuration_published"
    patch(admin, f"configurations/{first['id']}", 409, note="new")
    assert TenantConfiguration.objects.filter(state="published").get().content == {"stop": ["A"]}


def test_what_a_configuration_cannot_hold_is_said_at_its_field(admin: APIClient, tenant: Tenant) -> None:
    for content in (
        {"stops": []},
        {"stop": [""]},
        {"system_prompt": "\x00"},
        {"pii": {"entities": {"X": 1}}},
    ):
        answer = post(admin, "configurations", 400, tenant=tenant.pk, content=content)

        assert list(answer["error"]["fields"]) == ["content"]


def test_a_raise_is_made_and_ended(admin: APIClient, tenant: Tenant) -> None:
    until = (clock.now() + timedelta(hours=1)).isoformat()
    asked = {
        "tenant": tenant.pk,
        "limit": "tokens_per_minute",
        "value": "200",
        "until": until,
        "reason": "Demo",
    }

    made = post(admin, "raises", **asked)
    overlapping = post(admin, "raises", 409, **asked)
    ended = post(admin, f"raises/{made['id']}/end", 200)

    assert overlapping["error"]["code"] == "raise_overlaps"
    assert ended["ended_early_at"] is not None
    assert post(admin, f"raises/{made['id']}/end", 409)["error"]["code"] == "raise_over"


def test_limits_of_apps_and_restrictions_of_keys_reach_the_gateways(admin: APIClient, tenant: Tenant) -> None:
    Alias.objects.create(tenant=tenant, name="chat")
    app = post(admin, "apps", tenant=tenant.pk, name="Web", daily_spend_limit="2.5", kv_budget_mib=3)
    key = post(admin, "keys", app=app["id"], aliases=["chat"], ip_ranges=["2001:db8::/32"])
    patch(admin, f"apps/{app['id']}", concurrency=4)

    sent = build_snapshot(NOW)

    limits = sent.apps[app["id"]].limits
    assert (limits.daily_spend_micro, limits.kv_bytes, limits.concurrency) == (2_500_000, 3 << 20, 4)
    assert sent.keys[key["id"]].aliases == ("chat",)
    assert sent.keys[key["id"]].ip_ranges == ("2001:db8::/32",)
    answer = patch(admin, f"keys/{key['id']}", 400, aliases=["caht"])
    assert answer["error"]["code"] == "alias_unknown"


def test_a_tier_promises_queueing_end_users_and_masking(admin: APIClient) -> None:
    policy = {"entities": {"EMAIL_ADDRESS": "mask"}}
    tier = post(
        admin,
        "tiers",
        name="Gold",
        slug="gold",
        weight=3,
        queue_depth=0,
        queue_wait_seconds=2,
        clamp_output=True,
        end_user_daily_spend_limit="0.5",
        pii_policy=policy,
        alert_percentages=[90],
    )

    made = factories.make_tenant(tier=Tier.objects.get(), service_class="semi_isolated", queue_depth=5)
    sent = build_snapshot(NOW).tenants[str(made.pk)]

    assert (sent.weight, sent.band, sent.queue_depth, sent.queue_wait_ms) == (3, 1, 5, 2000)
    assert sent.clamp_output is True
    assert sent.end_user_limits is not None
    assert sent.end_user_limits.daily_spend_micro == 500_000
    assert sent.pii is not None
    assert sent.pii.entities == policy["entities"]
    for wrong in (
        {"pii_policy": {"entities": {"X": "mask"}}},
        {"alert_percentages": [80, 50]},
        {"weight": 0},
    ):
        patch(admin, f"tiers/{tier['id']}", 400, **wrong)


def test_an_alias_rolls_out_and_follows_the_stable_version(admin: APIClient) -> None:
    adapter = factories.make_adapter()
    old, new = factories.make_version(adapter), factories.make_version(adapter)
    post(admin, f"adapters/{adapter.pk}/stable", 200, version=old.pk)
    alias = post(admin, "aliases", tenant=adapter.tenant_id, name="chat", version=new.pk, track="stable")

    canary = patch(admin, f"aliases/{alias['id']}", canary_version=new.pk, canary_percent="2.50")
    post(admin, f"adapters/{adapter.pk}/stable", 200, version=new.pk)
    foreign = patch(admin, f"aliases/{alias['id']}", 422, fallback_version=factories.make_version().pk)

    assert (alias["version"], canary["version"]) == (str(old.pk), str(old.pk))
    assert canary["canary_percent"] == "2.50"
    assert Alias.objects.get().version == new
    assert foreign["error"]["code"] == "alias_foreign_version"


def dead_letter(tenant: Tenant) -> DeadLetter:
    return DeadLetter(
        fingerprint="ab12",
        tenant_id=str(tenant.pk),
        alias="chat",
        first_at=NOW,
        last_at=NOW,
        crashes=2,
        workers=("w1", "w2"),
        request_ids=("r1", "r2"),
    )


def test_a_dead_letter_is_listed_and_released_once(
    admin: APIClient, tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    letter = dead_letter(tenant)
    name = entry_name(letter.tenant_id, letter.fingerprint)
    redis_client.hset(DEAD_LETTERS, name, encode_dead_letter(letter))
    redis_client.hset(DEAD_LETTERS, "broken", b"{")
    redis_client.hset(suspect(letter.tenant_id, letter.fingerprint), "w1:b", b"{}")

    listed = admin.get("/api/v1/dead-letters/").json()
    others = admin.get(f"/api/v1/dead-letters/?tenant={factories.make_tenant().pk}").json()
    one = admin.get(f"/api/v1/dead-letters/{name}/").json()
    released = admin.delete(f"/api/v1/dead-letters/{name}/").status_code
    again = admin.delete(f"/api/v1/dead-letters/{name}/")

    assert ([entry["id"] for entry in listed], others) == ([name], [])
    assert (one["crashes"], one["workers"]) == (2, ["w1", "w2"])
    assert (released, again.status_code) == (204, 404)
    assert not redis_client.exists(suspect(letter.tenant_id, letter.fingerprint))


def test_one_that_nobody_can_read_is_released_by_its_name_and_that_is_noted(
    admin: APIClient, redis_client: "redis.Redis"
) -> None:
    redis_client.hset(DEAD_LETTERS, "a:b", b"junk")

    shown = admin.get("/api/v1/dead-letters/a:b/")
    released = admin.delete("/api/v1/dead-letters/a:b/").status_code

    assert (shown.status_code, shown.json()["error"]["code"]) == (409, "dead_letter_invalid")
    assert (released, redis_client.hexists(DEAD_LETTERS, "a:b")) == (204, False)
    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["Dead letter a:b"]


@pytest.mark.django_db
@pytest.mark.parametrize("role", sorted(ROLES))
def test_what_dead_letters_do_not_offer_is_refused_for_every_role(as_role: Caller, role: str) -> None:
    caller = as_role(role)

    listed = caller.get("/api/v1/dead-letters/").status_code
    options = caller.options("/api/v1/dead-letters/").status_code

    assert caller.post("/api/v1/dead-letters/", {}, format="json").status_code == 405
    assert (listed, options) in {(200, 200), (403, 403)}


def test_dead_letters_are_for_operators_and_need_redis(
    as_role: Caller, admin: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = {
        role: as_role(role).delete("/api/v1/dead-letters/x/").status_code for role in ("operator", "auditor")
    }
    monkeypatch.setattr(settings, "REDIS_URL", "redis://127.0.0.1:1/0")

    away = admin.get("/api/v1/dead-letters/")

    assert statuses == {"operator": 404, "auditor": 403}
    assert (away.status_code, away.json()["error"]["code"]) == (503, "redis_away")
