"""Tells once when spending reaches a percentage of a daily or monthly limit.

The ledger says what was spent: alerts agree with the bills. A limit is never spent to the last micro, since
gateways refuse what might not fit; so a refusal for want of budget counts as all of it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Max

from portal.billing.budgets import Budget, budgets
from portal.billing.models import BudgetAlert
from portal.billing.spending import spent_by_scope
from portal.billing.spent_days import MICRO
from portal.tenants.models import Tenant
from portal.usage.models import GatewayUsage

ALL_OF_IT = 100
BUDGET_EXHAUSTED = "budget_exhausted"
LOOK_BACK = timedelta(minutes=10)
"""Refusals that came into the ledger's database since the last tick, and some more."""

Refusals = Mapping[tuple[object, str, int], datetime]


def alert_budgets(now: datetime) -> int:
    """Write the alerts that are due at ``now``; how many are new."""
    due = list(_due(now))
    known = set(
        BudgetAlert.objects.filter(period__in={alert.period for alert in due}).values_list(
            "tenant_id", "scope", "period", "percent"
        )
    )
    new = [alert for alert in due if (alert.tenant_id, alert.scope, alert.period, alert.percent) not in known]
    BudgetAlert.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def _due(now: datetime) -> Iterator[BudgetAlert]:
    spent = spent_by_scope(Tenant.objects.all(), now)
    refused = _refused(now)
    for budget in budgets(now):
        micro = spent.get(budget.scope, 0)
        share = reached(micro, budget.limit_micro)
        if share < ALL_OF_IT and _was_refused(budget, refused):
            share = ALL_OF_IT
        for percent in budget.percentages:
            if percent <= share:
                yield _alert(budget, percent, micro, now)


def reached(spent_micro: int, limit_micro: int) -> int:
    """Whole percentages of the limit, rounded down: what is told was reached."""
    return spent_micro * ALL_OF_IT // limit_micro


def _alert(budget: Budget, percent: int, spent_micro: int, now: datetime) -> BudgetAlert:
    return BudgetAlert(
        tenant_id=budget.scope.tenant_id,
        scope=budget.scope.name,
        period=budget.scope.period,
        percent=percent,
        limit=Decimal(budget.limit_micro) / MICRO,
        spent=Decimal(spent_micro) / MICRO,
        at=now,
    )


def _refused(now: datetime) -> Refusals:
    """(tenant, scope, limit) -> the last refusal of late."""
    rows = GatewayUsage.objects.filter(
        reason=BUDGET_EXHAUSTED, ts__gte=now - LOOK_BACK, refused_limit__isnull=False
    )
    found = (
        rows.order_by().values_list("tenant_id", "refused_scope", "refused_limit").annotate(last=Max("ts"))
    )
    return {(tenant, scope, limit): last for tenant, scope, limit, last in found if limit is not None}


def _was_refused(budget: Budget, refused: Refusals) -> bool:
    """In this period: a moment ago may have been yesterday."""
    scope = budget.scope
    last = refused.get((scope.tenant_id, scope.name, budget.limit_micro))
    return last is not None and budget.period_at(last) == scope.period
