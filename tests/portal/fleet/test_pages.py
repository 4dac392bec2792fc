"""The fleet pages as an operator and finance use them."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from portal.adapters.models import Alias
from portal.core import clock
from portal.fleet.models import ENDPOINTS, GatewayProcess, NodeRate, Pool, Worker
from portal.snapshots.models import PublishedSnapshot
from tests import factories


def console_for(role: str) -> Client:
    client = Client()
    client.force_login(factories.make_user(role))
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


def pool_form(pool: Pool, **changes: Any) -> dict[str, Any]:
    names = (
        *("base_model", "model", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "max_loras"),
        *("max_cpu_loras", "max_lora_rank", "kv_cache_gib"),
    )
    values = {name: getattr(pool, name) for name in names}
    return {**values, "enforce_eager": "on", "endpoints": list(ENDPOINTS[:2]), **changes}


@pytest.mark.django_db
class TestPools:
    def test_an_edit_says_that_workers_take_it_at_their_next_start(self) -> None:
        pool = factories.make_pool()

        answer = console_for("operator").post(
            f"/fleet/pool/{pool.pk}/change/", pool_form(pool, max_num_seqs=16), follow=True
        )

        assert "take this at their next start" in text(answer)
        assert Pool.objects.get().max_num_seqs == 16

    @pytest.mark.parametrize("change", [{"base_model": "another"}, {"max_lora_rank": 4}])
    def test_an_edit_that_would_break_aliases_is_refused_with_whose(self, change: dict[str, Any]) -> None:
        version = factories.make_version()
        tenant = version.adapter.tenant
        Alias.objects.create(tenant=tenant, name="assistant", version=version)

        answer = console_for("operator").post(
            f"/fleet/pool/{tenant.pool_id}/change/", pool_form(tenant.pool, **change)
        )

        assert f"1 alias of {tenant.name}" in text(answer)
        assert Pool.objects.get().base_model == tenant.pool.base_model

    def test_an_endpoint_that_does_not_exist_is_refused(self) -> None:
        pool = factories.make_pool()

        answer = console_for("operator").post(
            f"/fleet/pool/{pool.pk}/change/", pool_form(pool, endpoints=["files"])
        )

        assert "Select a valid choice" in text(answer)


@pytest.mark.django_db
class TestNodeRates:
    def test_one_that_has_begun_cannot_be_changed_or_deleted(self) -> None:
        now = clock.now()
        rate = NodeRate.objects.create(
            pool=factories.make_pool(), hourly_rate=Decimal(2), effective_from=now - timedelta(days=1)
        )
        finance = console_for("finance")
        url = f"/fleet/noderate/{rate.pk}"

        page = finance.get(f"{url}/change/")
        changed = finance.post(f"{url}/change/", {"hourly_rate": 1})
        deleted = finance.post(f"{url}/delete/", {"post": "yes"})

        assert page.status_code == 200
        assert (changed.status_code, deleted.status_code) == (403, 403)
        assert NodeRate.objects.get().hourly_rate == 2

    def test_a_second_one_cannot_begin_in_the_past(self) -> None:
        pool = factories.make_pool()
        NodeRate.objects.create(pool=pool, hourly_rate=Decimal(2), effective_from=clock.now())
        values = {
            "pool": pool.pk,
            "hourly_rate": "3",
            "currency": "usd",
            "effective_from_0": "2020-01-01",
            "effective_from_1": "00:00",
        }

        answer = console_for("finance").post("/fleet/noderate/add/", values)

        assert "choose a later moment" in text(answer)
        assert NodeRate.objects.count() == 1

    def test_one_to_come_is_added(self) -> None:
        pool = factories.make_pool()
        tomorrow = clock.now() + timedelta(days=1)
        values = {
            "pool": pool.pk,
            "hourly_rate": "3",
            "currency": "usd",
            "effective_from_0": f"{tomorrow:%Y-%m-%d}",
            "effective_from_1": "00:00",
        }

        console_for("finance").post("/fleet/noderate/add/", values)

        assert NodeRate.objects.get().currency == "USD"


@pytest.mark.django_db
def test_lists_say_what_gateways_serve_and_who_is_gone() -> None:
    now = clock.now()
    for version in (12, 13):
        PublishedSnapshot.objects.create(version=version, published_at=now, checked_at=now, digest="d")
    common = {"pid": 7, "snapshot_source": "redis", "started_at": now}
    GatewayProcess.objects.create(id="a", host="gw-a", snapshot_version=12, seen_at=now, **common)
    gone = now - timedelta(hours=2)
    GatewayProcess.objects.create(id="b", host="gw-b", snapshot_version=13, seen_at=gone, **common)
    Worker.objects.create(
        id="w1",
        pool=factories.make_pool(),
        boot_id="b",
        state="ready",
        device="cpu",
        vllm_version="0.32.0",
        max_num_seqs=8,
        adapters=["a" * 64],
        started_at=now,
        seen_at=gone,
    )
    operator = console_for("operator")

    gateways = text(operator.get("/fleet/gatewayprocess/"))
    workers = text(operator.get("/fleet/worker/"))
    pages = [operator.get("/fleet/gatewayprocess/a/change/"), operator.get("/fleet/worker/w1/change/")]

    assert "serves 12, newest 13: behind for" in gateways
    assert "gone, last seen 2 h ago" in gateways
    assert "gone" in workers
    assert "1 adapter" in workers
    assert {page.status_code for page in pages} == {200}


@pytest.mark.django_db
def test_the_list_of_gateways_costs_the_same_queries_for_any_number(
    django_assert_max_num_queries: Any,
) -> None:
    now = clock.now()
    for number in range(40):
        GatewayProcess.objects.create(
            id=str(number), host="h", pid=number, snapshot_version=1, started_at=now, seen_at=now
        )
    operator = console_for("operator")
    operator.get("/fleet/gatewayprocess/")

    with django_assert_max_num_queries(10):
        operator.get("/fleet/gatewayprocess/")
