"""Temporary raises: higher than usual, one at a time, and for ever in the books."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from portal.snapshots.services import build_snapshot
from portal.tenants.errors import TenantError
from portal.tenants.models import LimitRaise, Tenant
from portal.tenants.raises import end_raise, raise_limit
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def tenant() -> Tenant:
    tier = factories.make_tier(tokens_per_minute=1000, monthly_spend_limit=Decimal(50))
    return factories.make_tenant(tier=tier, requests_per_minute=60)


def raise_it(tenant: Tenant, **changes: Any) -> LimitRaise:
    values = {
        "limit": "tokens_per_minute",
        "value": 5000,
        "until": NOW + HOUR,
        "reason": "Launch day",
        "now": NOW,
        "user": None,
    }
    return raise_limit(tenant=tenant, **(values | changes))


def test_a_raise_reaches_the_gateways_with_its_beginning_and_end(tenant: Tenant) -> None:
    begin = NOW + HOUR
    raise_it(tenant, limit="monthly_spend_limit", value=Decimal("80.5"), starts_at=begin, until=begin + HOUR)

    (temporary,) = build_snapshot(NOW).tenants[str(tenant.pk)].temporary_limits

    assert temporary.limits.monthly_spend_micro == 80_500_000
    assert temporary.limits.tokens_per_minute is None
    assert (temporary.starts_at, temporary.until) == (begin, begin + HOUR)


def test_one_that_was_ended_or_is_over_is_gone_from_the_gateways(tenant: Tenant) -> None:
    ended = raise_it(tenant)
    raise_it(tenant, limit="requests_per_minute", value=100)

    end_raise(raised=ended, now=NOW, user=None)

    (left,) = build_snapshot(NOW).tenants[str(tenant.pk)].temporary_limits
    assert left.limits.requests_per_minute == 100
    assert build_snapshot(NOW + HOUR).tenants[str(tenant.pk)].temporary_limits == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"value": 1000}, "raise_not_higher"),
        ({"value": Decimal("2000.5")}, "raise_not_whole"),
        ({"value": 2**31}, "raise_not_whole"),
        ({"limit": "concurrency", "value": 5}, "raise_without_limit"),
        ({"until": NOW}, "raise_in_the_past"),
        ({"starts_at": NOW - HOUR}, "raise_in_the_past"),
        ({"starts_at": NOW + HOUR, "until": NOW + HOUR}, "raise_in_the_past"),
    ],
)
def test_what_would_be_no_raise_is_refused(tenant: Tenant, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(TenantError) as refused:
        raise_it(tenant, **changes)

    assert refused.value.code == code


@pytest.mark.parametrize("changes", [{"limit": "max_output_tokens"}, {"reason": ""}])
def test_fields_say_what_they_do_not_take(tenant: Tenant, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        raise_it(tenant, **changes)


def test_two_raises_of_one_limit_never_overlap(tenant: Tenant) -> None:
    first = raise_it(tenant)
    with pytest.raises(TenantError) as refused:
        raise_it(tenant, value=9000, starts_at=NOW + HOUR / 2, until=NOW + 2 * HOUR)
    assert refused.value.code == "raise_overlaps"

    raise_it(tenant, value=9000, starts_at=NOW + HOUR, until=NOW + 2 * HOUR)
    end_raise(raised=first, now=NOW, user=None)
    raise_it(tenant, value=7000)


def test_a_raise_ends_once_and_its_row_stays_as_it_was(tenant: Tenant) -> None:
    user = factories.make_user()
    raised = raise_it(tenant, user=user)
    end_raise(raised=raised, now=NOW, user=user)

    with pytest.raises(TenantError) as refused:
        end_raise(raised=raised, now=NOW, user=None)

    assert refused.value.code == "raise_over"
    kept = LimitRaise.objects.get()
    assert (kept.created_by, kept.ended_by, kept.ended_early_at) == (user, user, NOW)
    for change in ({"value": 1}, {"until": NOW + 9 * HOUR}, {"ended_early_at": None}):
        with pytest.raises(IntegrityError), transaction.atomic():
            LimitRaise.objects.update(**change)
    with pytest.raises(IntegrityError), transaction.atomic():
        LimitRaise.objects.all().delete()
