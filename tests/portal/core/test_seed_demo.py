"""What a new installation starts with."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth import authenticate
from django.core.management import call_command

from gateway_hooks.contract import keys
from gateway_hooks.contract.api_keys import key_id_of, key_sha256
from gateway_hooks.contract.artifacts import artifact_digest
from gateway_hooks.contract.snapshot import Snapshot, decode_snapshot
from portal.adapters.models import Adapter
from portal.billing.models import PriceBook
from portal.tenants.models import ApiKey, Tenant


@pytest.fixture(autouse=True)
def store(tmp_path: Path, settings: Any) -> Path:
    settings.ADAPTER_STORE = tmp_path / "store"
    return tmp_path / "store"


def seed(path: Path) -> dict[str, Any]:
    call_command("seed_demo", json=str(path))
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def published(client: "redis.Redis") -> Snapshot:
    raw = client.get(keys.SNAPSHOT)
    assert isinstance(raw, bytes)
    return decode_snapshot(raw)


@pytest.mark.django_db(transaction=True)
def test_the_first_run_makes_two_tenants_that_can_be_served(
    tmp_path: Path, store: Path, redis_client: "redis.Redis"
) -> None:
    made = seed(tmp_path / "seed.json")

    snapshot = published(redis_client)
    tenants = {tenant.slug: tenant for tenant in snapshot.tenants.values()}
    for name, slug in (("acme", "acme-health"), ("globex", "globex-shop")):
        key = snapshot.keys[key_id_of(made["keys"][name]) or ""]
        assert key.sha256 == key_sha256(made["keys"][name])
        assert snapshot.tenants[key.tenant_id].slug == slug
        digest = tenants[slug].aliases["assistant"].adapter_digest
        assert digest == artifact_digest(store / str(digest))
        assert tenants[slug].aliases["base"].adapter_digest is None
        assert tenants[slug].aliases["base"].price is not None
        assert (tenants[slug].limits.concurrency or 0) >= 12
    assert tenants["acme-health"].limits.monthly_spend_micro == 50_000_000
    masked = tenants["acme-health"].pii
    assert masked is not None
    assert masked.entities["EMAIL_ADDRESS"] == "mask"
    assert tenants["acme-health"].configuration is not None
    assert (tenants["globex-shop"].pii, tenants["globex-shop"].configuration) == (None, None)
    assert all(pool.kv_bytes_per_token for pool in snapshot.pools.values())
    assert authenticate(**made["admin"]) is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["folder", "hub"])
def test_another_model_is_served_by_its_own_name_without_the_demo_adapters(
    tmp_path: Path, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "tiny-llm").mkdir()
    monkeypatch.chdir(tmp_path)
    chosen = "tiny-llm" if kind == "folder" else "some-house/tiny-llm"
    monkeypatch.setenv("TENANTRY_DEMO_MODEL", chosen)

    made = seed(tmp_path / "seed.json")

    snapshot = published(redis_client)
    (pool,) = snapshot.pools.values()
    assert pool.base_model == "tiny-llm"
    assert pool.model == (str(tmp_path / "tiny-llm") if kind == "folder" else chosen)
    assert made["aliases"] == {name: ["assistant", "base"] for name in ("acme", "globex")}
    for tenant in snapshot.tenants.values():
        for alias in tenant.aliases.values():
            assert (alias.adapter_digest, alias.base_model) == (None, "tiny-llm")
            assert alias.price is not None
    assert not Adapter.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_file_is_for_its_owner_only(tmp_path: Path, redis_client: "redis.Redis") -> None:  # noqa: ARG001
    path = tmp_path / "seed.json"
    path.write_text("readable by all")
    path.chmod(0o644)

    seed(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.django_db(transaction=True)
def test_a_second_run_changes_nothing_and_shows_no_secret(
    tmp_path: Path, redis_client: "redis.Redis"
) -> None:
    seed(tmp_path / "first.json")
    first = published(redis_client)

    again = seed(tmp_path / "second.json")

    assert again == {}
    assert published(redis_client) == first
    assert (Tenant.objects.count(), ApiKey.objects.count(), PriceBook.objects.count()) == (2, 2, 1)


@pytest.mark.django_db(transaction=True)
def test_what_people_changed_since_stays(tmp_path: Path, redis_client: "redis.Redis") -> None:  # noqa: ARG001
    seed(tmp_path / "first.json")
    Tenant.objects.filter(slug="acme-health").update(status="suspended", monthly_spend_limit=7)

    seed(tmp_path / "second.json")

    acme = Tenant.objects.get(slug="acme-health")
    assert (acme.status, acme.monthly_spend_limit) == ("suspended", 7)
