"""Queues, breakers and dead letters in the console."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from gateway_hooks.contract import pool_keys
from gateway_hooks.contract.dead_letters import (
    DEAD_LETTERS,
    DeadLetter,
    encode_dead_letter,
    entry_name,
)
from portal.core import clock
from portal.core.redis import client as redis_client
from portal.core.roles import ROLES
from portal.fleet.models import GatewayProcess, Pool
from portal.home.fleet_matters import fleet_matters
from portal.tenants.models import Tenant
from tests import factories

AWAY = "redis://127.0.0.1:1/0"
TROUBLE = "/fleet/gatewayprocess/trouble/"


@pytest.fixture(autouse=True)
def _no_dead_letters() -> None:
    redis_client().delete(DEAD_LETTERS)


def console_for(role: str) -> Client:
    client = Client()
    client.force_login(factories.make_user(role))
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


def keep_letter(tenant: Tenant, fingerprint: str = "ab" * 16) -> str:
    now = clock.now()
    letter = DeadLetter(
        fingerprint=fingerprint,
        tenant_id=str(tenant.pk),
        alias="assistant",
        first_at=now - timedelta(hours=1),
        last_at=now,
        crashes=2,
        workers=("worker-1", "worker-2"),
        request_ids=("req-1",),
    )
    name = entry_name(letter.tenant_id, fingerprint)
    redis_client().hset(DEAD_LETTERS, name, encode_dead_letter(letter))
    return name


def make_gateway(now: datetime, **fields: Any) -> GatewayProcess:
    values = {"id": "gw", "host": "gw-a", "pid": 7, "snapshot_version": 1, "started_at": now, "seen_at": now}
    return GatewayProcess.objects.create(**{**values, **fields})


def breaker(since: datetime, **fields: Any) -> dict[str, Any]:
    return {"worker_id": "worker-1", "since": since.isoformat(), **fields}


@pytest.mark.django_db
class TestQueue:
    def ask(self, pool: Pool, tenant: Tenant, *, waiting: int, seated: int, counter: int) -> None:
        record = json.dumps({"g": "gw", "t": str(tenant.pk), "n": 700, "w": 1, "b": 3})
        for kind, number in ((pool_keys.asks, waiting), (pool_keys.seats, seated)):
            for one in range(number):
                redis_client().hset(kind(str(pool.pk)), f"{tenant.pk}-{one}", record)
        redis_client().hset(
            pool_keys.tenant(str(pool.pk), str(tenant.pk)),
            mapping={"counter": counter * pool_keys.COUNTER_SCALE, "band": 3},
        )

    def test_tenants_stand_in_the_order_of_their_turn(self) -> None:
        first, second = factories.make_tenant(name="Early"), factories.make_tenant(name="Late")
        pool = first.pool
        self.ask(pool, second, waiting=3, seated=1, counter=900)
        self.ask(pool, first, waiting=2, seated=0, counter=100)

        page = text(console_for("operator").get(f"/fleet/pool/{pool.pk}/queue/"))

        assert page.index("Early") < page.index("Late")
        assert "2,100" in page
        assert "no worker is ready" in page

    def test_an_empty_queue_says_what_it_is_for(self) -> None:
        page = text(console_for("operator").get(f"/fleet/pool/{factories.make_pool().pk}/queue/now/"))

        assert "only while all seats are taken" in page

    def test_without_redis_the_page_says_so(self, settings: Any) -> None:
        settings.REDIS_URL = AWAY

        page = console_for("operator").get(f"/fleet/pool/{factories.make_pool().pk}/queue/")

        assert page.status_code == 200
        assert "Redis cannot be reached" in text(page)

    def test_it_costs_the_same_queries_for_any_number_of_tenants(
        self, django_assert_max_num_queries: Any
    ) -> None:
        pool = factories.make_pool()
        for number in range(60):
            self.ask(pool, factories.make_tenant(pool=pool), waiting=1, seated=0, counter=number)
        console = console_for("operator")
        console.get(f"/fleet/pool/{pool.pk}/queue/")

        with django_assert_max_num_queries(7):
            page = text(console.get(f"/fleet/pool/{pool.pk}/queue/"))

        assert "And 10 more" in page

    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_who_sees_pools_sees_their_queues(self, role: str) -> None:
        answer = console_for(role).get(f"/fleet/pool/{factories.make_pool().pk}/queue/")

        assert answer.status_code == (200 if "fleet.pool" in ROLES[role] else 403)


@pytest.mark.django_db
class TestTrouble:
    def test_breakers_name_tenant_adapter_and_how_long(self) -> None:
        now = clock.now()
        version = factories.make_version(factories.make_adapter(name="support"))
        tenant = version.adapter.tenant
        make_gateway(
            now,
            breakers=[
                breaker(now - timedelta(minutes=3), tenant_id=str(tenant.pk), adapter_digest=version.digest),
                breaker(now, half_open=True),
            ],
            unhealthy=["worker-9"],
        )

        page = text(console_for("operator").get(TROUBLE))

        assert "support v1" in page
        assert tenant.name in page
        assert "3 min" in page
        assert "the way to the worker itself" in page
        assert "worker-9" in page

    def test_a_dead_letter_is_released_after_a_question(self) -> None:
        tenant = factories.make_tenant()
        name = keep_letter(tenant)
        console = console_for("operator")
        url = f"{TROUBLE}{name}/release/"

        page, question = console.get(TROUBLE), console.get(url)
        before = redis_client().hexists(DEAD_LETTERS, name)
        console.post(url)
        again = console.post(url, follow=True)

        assert tenant.name in text(page)
        assert "may crash that one too" in text(question)
        assert before
        assert not redis_client().hexists(DEAD_LETTERS, name)
        assert "no such dead letter" in text(again)
        assert [entry.object_repr for entry in LogEntry.objects.all()] == [f"Dead letter {name}"]

    def test_nothing_wrong_says_so(self) -> None:
        page = text(console_for("auditor").get(TROUBLE))

        assert "when workers die with it twice" in page
        assert "asks every worker for everything" in page

    def test_without_redis_breakers_are_shown_and_the_list_says_so(self, settings: Any) -> None:
        settings.REDIS_URL = AWAY
        make_gateway(clock.now(), breakers=[breaker(clock.now())])
        console = console_for("operator")

        page = text(console.get(TROUBLE))
        released = console.post(f"{TROUBLE}a:b/release/", follow=True)

        assert "Redis cannot be reached" in page
        assert "worker-1" in page
        assert "nothing was released" in text(released)

    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_roles_see_and_release_what_they_may(self, role: str) -> None:
        name = keep_letter(factories.make_tenant())
        console = console_for(role)

        seen = console.get(TROUBLE).status_code
        released = console.post(f"{TROUBLE}{name}/release/").status_code

        assert seen == (200 if "fleet.gatewayprocess" in ROLES[role] else 403)
        assert released == (302 if "change" in ROLES[role].get("fleet.pool", ()) else 403)


@pytest.mark.django_db
class TestHome:
    def test_breakers_dead_letters_and_spooled_events_need_a_person(self) -> None:
        now = clock.now()
        keep_letter(factories.make_tenant(name="Acme"))
        make_gateway(now, breakers=[breaker(now - timedelta(minutes=2))], spooled_events=12)

        found = list(fleet_matters(now, timedelta(seconds=60)))

        assert [matter.level for matter in found] == ["warning", "critical", "warning"]
        assert "1 request refused for crashing workers" in found[1].text
        assert "Acme" in found[1].detail
        assert "keeps 12 events on disk" in found[2].text

    def test_the_page_shows_them_to_who_may_act(self) -> None:
        keep_letter(factories.make_tenant())

        seen = {role: "Open dead letters" in text(console_for(role).get("/")) for role in ROLES}

        assert seen == {role: "fleet.gatewayprocess" in ROLES[role] for role in ROLES}

    def test_a_moments_trouble_and_an_absent_redis_are_no_matter(self, settings: Any) -> None:
        settings.REDIS_URL = AWAY
        now = clock.now()
        make_gateway(now, breakers=[breaker(now)])

        assert not list(fleet_matters(now, timedelta(seconds=60)))
