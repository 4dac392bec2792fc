"""The base of everything that the contract refuses."""


class ContractError(Exception):
    """Something does not fit the contract. ``code`` is stable and fit for metrics."""

    code = "contract"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
