"""``Idempotency-Key``: one effect and one answer, also when two ask at once or something fails."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Barrier
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.core import serializers
from django.db import connection, connections
from rest_framework.test import APIClient

from gateway_hooks.contract import keys
from portal.api.models import IdempotentAnswer
from portal.api.services import forget_old_idempotency
from portal.core import clock
from portal.tenants.models import ApiKey, App, Tenant
from tests import factories
from tests.portal.api.conftest import Caller, client_of
from tests.portal.api.test_registry import TestUpload
from tests.services import wait_until

ONCE = {"Idempotency-Key": "order-1"}


def make_app(client: APIClient, tenant: Tenant, name: str = "Chat", key: str = "order-1") -> Any:
    body = {"tenant": str(tenant.pk), "name": name}
    return client.post("/api/v1/apps/", body, format="json", headers={"Idempotency-Key": key})


def test_a_repeated_request_gets_the_first_answer_and_does_nothing(admin: APIClient) -> None:
    tenant = factories.make_tenant()

    first = make_app(admin, tenant)
    again = make_app(admin, tenant)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert App.objects.count() == 1


def test_a_key_that_stood_for_another_request_is_refused(admin: APIClient) -> None:
    tenant = factories.make_tenant()
    make_app(admin, tenant)

    other_body = make_app(admin, tenant, name="Other")
    other_path = admin.post("/api/v1/tiers/", {}, format="json", headers=ONCE)

    for refused in (other_body, other_path):
        assert refused.status_code == 422
        assert refused.json()["error"]["code"] == "idempotency_key_reused"
    assert App.objects.count() == 1


def test_each_user_has_keys_of_their_own(admin: APIClient, as_role: Caller) -> None:
    tenant = factories.make_tenant()

    make_app(admin, tenant)
    other = make_app(as_role("customer-success"), tenant, name="Other")

    assert other.status_code == 201


def test_a_repeated_request_is_answered_only_while_it_is_allowed(as_role: Caller) -> None:
    tenant = factories.make_tenant()
    client = as_role("customer-success")
    make_app(client, tenant)
    for group in factories.Group.objects.all():
        group.user_set.clear()

    assert make_app(client, tenant).status_code == 403


def test_a_refused_request_leaves_its_key_free(admin: APIClient) -> None:
    tenant = factories.make_tenant()
    taken = factories.make_app(tenant, name="Taken")

    refused = make_app(admin, tenant, name=taken.name)
    then = make_app(admin, tenant, name="Free")

    assert (refused.status_code, then.status_code) == (400, 201)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(admin: APIClient, key: str) -> None:
    answer = make_app(admin, factories.make_tenant(), key=key)

    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == ["Idempotency-Key"]


def test_a_secret_is_neither_kept_nor_shown_again(admin: APIClient) -> None:
    app = factories.make_app()

    first = admin.post("/api/v1/keys/", {"app": str(app.pk)}, format="json", headers=ONCE).json()
    again = admin.post("/api/v1/keys/", {"app": str(app.pk)}, format="json", headers=ONCE)

    assert again.status_code == 409
    assert again.json()["error"]["code"] == "idempotency_secret_shown"
    assert again.json()["error"]["fields"] == {"id": [first["id"]]}
    assert ApiKey.objects.count() == 1
    stored = [row for model in apps.get_models() for row in model._default_manager.all()]
    assert first["secret"].rpartition("-")[2] not in serializers.serialize("json", stored)


def test_a_repeated_rotation_does_not_rotate_twice(admin: APIClient) -> None:
    path = f"/api/v1/keys/{factories.make_key().key.pk}/rotate/"

    first = admin.post(path, {}, format="json", headers=ONCE).json()
    again = admin.post(path, {}, format="json", headers=ONCE)

    assert again.json()["error"]["fields"] == {"id": [first["id"]]}
    assert ApiKey.objects.count() == 2


def test_an_upload_is_recognised_by_its_files(admin: APIClient) -> None:
    adapter = factories.make_adapter()
    other = factories.adapter_files(weights=factories.safetensors_bytes(fill=1))

    first = TestUpload.upload(admin, adapter, factories.adapter_files(), **ONCE)
    again = TestUpload.upload(admin, adapter, factories.adapter_files(), **ONCE)
    different = TestUpload.upload(admin, adapter, other, **ONCE)

    assert first.status_code == 201, first.content
    assert again.json() == first.json()
    assert different.status_code == 422
    assert adapter.versions.count() == 1


def test_answers_are_forgotten_after_a_day(admin: APIClient) -> None:
    tenant, now = factories.make_tenant(), clock.now()
    make_app(admin, tenant, key="old")
    make_app(admin, tenant, name="Second", key="young")
    IdempotentAnswer.objects.filter(key="old").update(created_at=now - timedelta(hours=25))

    repeated = make_app(admin, tenant, key="old")
    IdempotentAnswer.objects.create(
        user_id=factories.make_user().pk,
        key="older",
        status=200,
        body={},
        created_at=now - timedelta(hours=25),
    )

    assert repeated.status_code == 400  # done anew, and the name is taken by now
    assert forget_old_idempotency(now) == 2  # the refused repeat undid its own forgetting
    assert [answer.key for answer in IdempotentAnswer.objects.all()] == ["young"]


@contextmanager
def blocked(table: str) -> Iterator[None]:
    """Nobody can write to ``table`` meanwhile."""
    settings = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(**{name: settings[name] for name in names if name in settings}) as other:
        other.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def in_thread(client: APIClient, tenant: Tenant, barrier: Barrier | None = None) -> Any:
    try:
        if barrier:
            barrier.wait()
        return make_app(client, tenant)
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_while_the_first_is_at_work_the_second_is_told_so(self) -> None:
        user, tenant = factories.make_user(superuser=True), factories.make_tenant()
        with ThreadPoolExecutor(1) as pool:
            with blocked("tenants_app"):
                first = pool.submit(in_thread, client_of(user), tenant)
                wait_until(somebody_waits, seconds=20, what="the first request at work")

                second = make_app(client_of(user), tenant)
            done = first.result(timeout=30)

        replayed = make_app(client_of(user), tenant)

        assert second.status_code == 409
        assert second.json()["error"]["code"] == "idempotency_in_progress"
        assert done.status_code == 201
        assert replayed.json() == done.json()
        assert App.objects.count() == 1

    def test_of_many_at_once_one_does_the_work(self) -> None:
        user, tenant, barrier = factories.make_user(superuser=True), factories.make_tenant(), Barrier(6)
        clients = [client_of(user) for _ in range(6)]

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda client: in_thread(client, tenant, barrier), clients))

        made = [answer.json() for answer in answers if answer.status_code == 201]
        others = [answer.json()["error"]["code"] for answer in answers if answer.status_code != 201]
        assert App.objects.count() == 1
        assert made
        assert all(answer == made[0] for answer in made)
        assert set(others) <= {"idempotency_in_progress"}

    def test_without_keys_as_many_are_made_as_are_asked_for(self) -> None:
        """The race that the key guards against."""
        user, app, barrier = factories.make_user(superuser=True), factories.make_app(), Barrier(4)
        clients = [client_of(user) for _ in range(4)]

        def issue(client: APIClient) -> int:
            try:
                barrier.wait()
                return int(client.post("/api/v1/keys/", {"app": str(app.pk)}, format="json").status_code)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(issue, clients))

        assert answers == [201] * 4
        assert ApiKey.objects.count() == 4

    def test_no_lock_is_left_when_all_is_answered(self) -> None:
        user, tenant = factories.make_user(superuser=True), factories.make_tenant()
        make_app(client_of(user), tenant)
        make_app(client_of(user), tenant, name="Other")

        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            )
            assert cursor.fetchone()[0] == 0

    def test_a_refused_close_keeps_the_events_that_it_took_in(self, redis_client: Any) -> None:
        """Redis forgets events once they are taken in: undoing their transaction would lose them."""
        from portal.usage.models import ParkedEvent

        client = client_of(factories.make_user(superuser=True))
        from portal.billing.periods import open_period

        open_period("2026-01")
        open_period("2026-02")
        redis_client.xadd(keys.GATEWAY_EVENTS, {keys.EVENT_FIELD: b"no event"})

        refused = client.post("/api/v1/periods/2026-02/close/", {}, format="json", headers=ONCE)

        assert refused.json()["error"]["code"] == "earlier_period_open"
        assert redis_client.xlen(keys.GATEWAY_EVENTS) == 0
        assert ParkedEvent.objects.count() == 1
