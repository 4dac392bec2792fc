"""What can go wrong while processes are brought up."""


class OpsError(Exception):
    """A process cannot be brought up or kept; the message is for the person at the terminal."""

    code = "ops_failed"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
