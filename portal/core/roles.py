"""What each role may do: the console's least privilege, as one table.

Permissions are Django's, written ``app.model: verbs``. A role sees a page if it may view its model.
"""

from collections.abc import Iterator, Mapping

VIEW = ("view",)
EDIT = ("view", "add", "change")
FULL = ("view", "add", "change", "delete")

Grants = Mapping[str, tuple[str, ...]]

ROLES: Mapping[str, Grants] = {
    "customer-success": {
        "tenants.tenant": EDIT,
        "tenants.app": FULL,
        "tenants.apikey": EDIT,
        "tiers.tier": VIEW,
        "adapters.adapter": VIEW,
        "adapters.adapterversion": VIEW,
        "adapters.alias": FULL,
        "fleet.pool": VIEW,
        "usage.gatewayusage": VIEW,
        "billing.ledgerentry": VIEW,
        "tenants.limitraise": EDIT,
        "tenants.tenantconfiguration": FULL,
        "tenants.tokenissuer": FULL,
        "billing.budgetalert": VIEW,
    },
    "finance": {
        "tenants.tenant": VIEW,
        "tiers.tier": VIEW,
        "fleet.pool": VIEW,
        "fleet.noderate": EDIT,
        "fleet.worker": VIEW,
        "usage.gatewayusage": VIEW,
        "usage.engineusage": VIEW,
        "usage.workertime": VIEW,
        "billing.pricebook": FULL,
        "billing.rate": FULL,
        "billing.billingperiod": EDIT,
        "billing.ledgerentry": VIEW,
        "billing.costline": VIEW,
        "tenants.app": VIEW,
        "tenants.limitraise": VIEW,
        "billing.budgetalert": VIEW,
    },
    "ml-engineer": {
        "tenants.tenant": VIEW,
        "adapters.adapter": EDIT,
        "adapters.adapterversion": ("view", "add"),
        "adapters.alias": FULL,
        "fleet.pool": VIEW,
        "fleet.worker": VIEW,
        "usage.gatewayusage": VIEW,
        "usage.engineusage": VIEW,
        "tenants.tenantconfiguration": VIEW,
    },
    "operator": {
        "tenants.tenant": VIEW,
        "tiers.tier": VIEW,
        "adapters.adapter": VIEW,
        "adapters.adapterversion": VIEW,
        "adapters.alias": VIEW,
        "fleet.pool": EDIT,
        "fleet.worker": VIEW,
        "fleet.gatewayprocess": VIEW,
        "snapshots.publishedsnapshot": VIEW,
        "usage.gatewayusage": VIEW,
        "usage.engineusage": VIEW,
        "usage.workertime": VIEW,
        "usage.parkedevent": VIEW,
        "tenants.app": VIEW,
        "tenants.limitraise": VIEW,
        "tenants.tenantconfiguration": VIEW,
        "tenants.tokenissuer": VIEW,
        "billing.budgetalert": VIEW,
    },
    "auditor": {
        "tenants.tenant": VIEW,
        "tenants.app": VIEW,
        "tenants.apikey": VIEW,
        "tiers.tier": VIEW,
        "adapters.adapter": VIEW,
        "adapters.adapterversion": VIEW,
        "adapters.alias": VIEW,
        "fleet.pool": VIEW,
        "fleet.noderate": VIEW,
        "fleet.worker": VIEW,
        "fleet.gatewayprocess": VIEW,
        "snapshots.publishedsnapshot": VIEW,
        "usage.gatewayusage": VIEW,
        "usage.engineusage": VIEW,
        "usage.workertime": VIEW,
        "usage.parkedevent": VIEW,
        "billing.pricebook": VIEW,
        "billing.rate": VIEW,
        "billing.billingperiod": VIEW,
        "billing.ledgerentry": VIEW,
        "billing.costline": VIEW,
        "admin.logentry": VIEW,
        "auth.user": VIEW,
        "auth.group": VIEW,
        "tenants.limitraise": VIEW,
        "tenants.tenantconfiguration": VIEW,
        "tenants.tokenissuer": VIEW,
        "billing.budgetalert": VIEW,
    },
}


def codenames(role: str) -> Iterator[tuple[str, str]]:
    """(app label, codename) of every permission of ``role``."""
    for label, verbs in ROLES[role].items():
        app, model = label.split(".")
        for verb in verbs:
            yield app, f"{verb}_{model}"
