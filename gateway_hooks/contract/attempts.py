"""A request may be tried more than once; each try has an id of its own at the worker, the request has one.

Workers refuse an id that they saw before, so a second try at the same worker could not be told from a
replay otherwise.
"""

_MARK = "-try"


def attempt_id(request_id: str, attempt: int) -> str:
    """The id that a worker sees; the first attempt's is the request's own. ``attempt`` counts from 1."""
    return request_id if attempt == 1 else f"{request_id}{_MARK}{attempt}"


def request_of(attempt_id: str) -> str:
    """The request that an attempt belongs to."""
    return _parts(attempt_id)[0]


def attempt_of(attempt_id: str) -> int:
    """Which of the request's attempts it is, from 1."""
    return _parts(attempt_id)[1]


def _parts(attempt_id: str) -> tuple[str, int]:
    request_id, mark, number = attempt_id.rpartition(_MARK)
    return (request_id, int(number)) if mark and number.isdecimal() else (attempt_id, 1)
