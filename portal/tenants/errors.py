from portal.core.errors import PortalError


class TenantError(PortalError):
    """A change to a tenant, app or key cannot be done."""

    code = "tenant_error"
