from portal.core.errors import PortalError


class FleetError(PortalError):
    """A change to pools or node rates cannot be done."""

    code = "fleet_error"
