"""The base of everything that the worker refuses or gives up on."""


class InferenceError(Exception):
    """``code`` is stable and fit for metrics and for a client's eyes."""

    code = "inference"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
