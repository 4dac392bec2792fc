"""What this package refuses. No text of a request stands in any of them."""


class PiiError(Exception):
    """Masking did not come to a safe end: refuse the request. ``code`` is stable and fit for metrics."""

    code = "pii_failed"


class PiiBlocked(PiiError):  # noqa: N818 - an outcome that the policy asks for
    """The policy forbids ``entity`` and the text holds one."""

    code = "pii_blocked"

    def __init__(self, entity: str) -> None:
        super().__init__(f"the policy does not let {entity} through")
        self.entity = entity
