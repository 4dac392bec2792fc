"""Names for the ids that gateways and workers report. They are plain text and may name nothing."""

from collections.abc import Iterable
from uuid import UUID

from portal.adapters.models import AdapterVersion
from portal.tenants.models import Tenant


def tenant_names(ids: Iterable[str]) -> dict[str, str]:
    """By id, in one query; what is no id of a tenant is left out."""
    known = {one for text in ids if (one := _uuid(text)) is not None}
    rows = Tenant.objects.filter(pk__in=known).only("name") if known else ()
    return {str(row.pk): row.name for row in rows}


def adapter_names(digests: Iterable[str]) -> dict[str, str]:
    """``support v3`` by digest, in one query; the newest version where several have the same files."""
    wanted = {digest for digest in digests if digest}
    if not wanted:
        return {}
    versions = AdapterVersion.objects.filter(digest__in=wanted)
    rows = versions.order_by("number").values_list("digest", "adapter__name", "number")
    return {digest: f"{name} v{number}" for digest, name, number in rows}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
