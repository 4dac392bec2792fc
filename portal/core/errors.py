"""The base of every refusal by the portal's services."""


class PortalError(Exception):
    """The request cannot be done. ``code`` is stable; the message says what to do about it."""

    code = "portal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
