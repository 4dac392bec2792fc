"""What the books refuse."""

from portal.core.errors import PortalError


class BillingError(PortalError):
    code = "billing"


class PeriodError(BillingError):
    """A billing period cannot be opened, closed or exported. ``code`` says why."""

    code = "period"


class PriceBookError(BillingError):
    """A price book cannot be published."""

    code = "price_book"


class ExportError(BillingError):
    """An export cannot be written."""

    code = "export"
