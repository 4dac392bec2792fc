"""What the queue refuses, by a stable code."""


class FairnessError(Exception):
    """No seat for this request. ``code`` is stable; ``retry_after`` is an estimate in seconds."""

    code = "fairness"

    def __init__(self, *, retry_after: float) -> None:
        super().__init__(self.code)
        self.retry_after = retry_after


class QueueFull(FairnessError):  # noqa: N818 - named as its code, which clients see
    """The tenant has as many waiting requests as it may."""

    code = "queue_full"


class QueueTimeout(FairnessError):  # noqa: N818 - named as its code, which clients see
    """No seat within the wait budget, or the place was lost because this gateway looked dead."""

    code = "queue_timeout"
