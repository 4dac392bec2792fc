"""Tenants, apps and keys: what they do, and that a secret is stored nowhere."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.apps import apps
from django.core import serializers
from django.core.exceptions import ValidationError
from django.db import connections

from gateway_hooks.contract.api_keys import key_id_of, key_sha256
from portal.tenants import selectors, services
from portal.tenants.errors import TenantError
from portal.tenants.models import ApiKey
from tests import factories
from tests.factories import NOW


def everything_stored() -> str:
    """Every row of every table, as text."""
    rows = [row for model in apps.get_models() for row in model._default_manager.all()]
    return json.dumps(serializers.serialize("json", rows))


@pytest.mark.django_db
class TestKeys:
    def test_of_a_new_key_only_the_digest_is_stored(self) -> None:
        issued = factories.make_key()

        assert key_id_of(issued.secret) == issued.key.pk
        assert issued.key.sha256 == key_sha256(issued.secret)
        assert issued.secret not in everything_stored()
        assert issued.secret.rpartition("-")[2] not in everything_stored()

    def test_a_key_that_would_be_expired_at_once_is_refused(self) -> None:
        with pytest.raises(TenantError) as refused:
            factories.make_key(expires_at=NOW)

        assert refused.value.code == "expiry_in_the_past"

    def test_revoking_is_final_and_keeps_its_first_moment(self) -> None:
        key = factories.make_key().key

        services.revoke_key(key=key, now=NOW)
        services.revoke_key(key=key, now=NOW + timedelta(days=1))

        assert key.revoked_at == NOW
        assert selectors.key_state(key, NOW) == "revoked"

    def test_rotating_gives_a_new_key_and_lets_the_old_one_live_on_for_a_while(self) -> None:
        old = factories.make_key(concurrency=3).key

        issued = services.rotate_key(key=old, now=NOW, user=None)

        old.refresh_from_db()
        assert old.expires_at == NOW + timedelta(hours=24)
        assert old.replaced_by == issued.key
        assert issued.key.concurrency == 3
        assert issued.key.expires_at is None
        assert selectors.key_state(old, NOW) == "expires soon"

    def test_rotating_never_prolongs_a_key(self) -> None:
        old = factories.make_key(expires_at=NOW + timedelta(hours=1)).key

        services.rotate_key(key=old, now=NOW, user=None)

        old.refresh_from_db()
        assert old.expires_at == NOW + timedelta(hours=1)

    def test_keys_that_are_revoked_expired_or_replaced_cannot_be_rotated(self) -> None:
        revoked, expired, replaced = (
            factories.make_key(expires_at=NOW + timedelta(hours=1)).key for _ in "123"
        )
        services.revoke_key(key=revoked, now=NOW)
        services.rotate_key(key=replaced, now=NOW, user=None)
        later = NOW + timedelta(minutes=30)
        codes = []

        for key, now in ((revoked, later), (expired, NOW + timedelta(hours=2)), (replaced, later)):
            with pytest.raises(TenantError) as refused:
                services.rotate_key(key=key, now=now, user=None)
            codes.append(refused.value.code)

        assert codes == ["key_revoked", "key_expired", "key_replaced"]

    def test_the_secret_is_not_in_its_representation(self) -> None:
        issued = factories.make_key()

        assert issued.secret not in repr(issued)


@pytest.mark.django_db(transaction=True)
def test_of_two_rotations_at_once_one_wins() -> None:
    key = factories.make_key().key

    def rotate(_: int) -> str:
        try:
            services.rotate_key(key=key, now=NOW, user=None)
        except TenantError as error:
            return error.code
        finally:
            connections.close_all()
        return "rotated"

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(rotate, range(4)))

    assert outcomes == ["key_replaced"] * 3 + ["rotated"]
    assert ApiKey.objects.count() == 2


@pytest.mark.django_db
class TestTenants:
    def test_bad_values_are_refused_by_field(self) -> None:
        tier, pool = factories.make_tier(), factories.make_pool()

        with pytest.raises(ValidationError) as refused:
            services.create_tenant(
                name="x" * 121, slug="not a slug", tier=tier, pool=pool, billing_timezone="Mars/Olympus"
            )

        assert set(refused.value.message_dict) == {"name", "slug", "billing_timezone"}

    def test_an_app_name_is_unique_within_its_tenant_only(self) -> None:
        app = factories.make_app(name="chat")

        services.create_app(tenant=factories.make_tenant(), name="chat")

        with pytest.raises(ValidationError):
            services.create_app(tenant=app.tenant, name="chat")

    def test_reach_counts_what_a_suspension_stops(self) -> None:
        app = factories.make_app()
        factories.make_key(app)
        factories.make_key(app)
        services.revoke_key(key=factories.make_key(app).key, now=NOW)
        factories.make_key(factories.make_app(app.tenant))
        factories.make_app(app.tenant)

        reach = selectors.reach(tenant=app.tenant, now=NOW)

        assert (reach.apps, reach.keys) == (2, 3)
