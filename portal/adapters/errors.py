from portal.core.errors import PortalError


class AdapterError(PortalError):
    """An adapter, version or alias is refused. ``code`` says which rule, the message what to do."""

    code = "adapter_error"
