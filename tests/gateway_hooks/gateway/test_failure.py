"""How a try ended, from what the transport saw."""

import pytest

from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.failure import ending_of, failure_of
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.metering.usage import UsageTap
from tests.gateway_hooks.world import NOW


def ticket(status: int | None, **changes: object) -> Ticket:
    one = Ticket(request_id="r", endpoint=BY_PATH["/v1/chat/completions"], ts=NOW, started=0.0)
    one.upstream_status = status
    one.forwarded = status is not None
    for name, value in changes.items():
        setattr(one, name, value)
    return one


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (400, "refused"),
        (413, "refused"),
        (422, "refused"),
        (404, "adapter"),
        (429, "busy"),
        (503, "busy"),
        (401, "failed"),
        (403, "failed"),
        (500, "failed"),
        (502, "failed"),
        (200, "broken"),
    ],
)
def test_a_status_says_how_a_try_ended(status: int, ending: str):
    assert ending_of(ticket(status)) == ending


def test_an_answer_counts_once_it_is_whole():
    tap = UsageTap(stream=False)
    one = ticket(200, tap=tap)
    assert ending_of(one) == "broken"

    tap.end()

    assert ending_of(one) == "answered"


def test_without_a_status_it_depends_on_how_far_it_came():
    assert ending_of(ticket(None, forwarded=True)) == "broken"
    assert ending_of(ticket(None, unreachable=True)) == "unreachable"
    assert ending_of(ticket(None)) == "local"


def test_an_adapter_that_a_worker_cannot_load_is_no_fault_of_the_request():
    text = b'{"error": {"code": "adapter_weights_invalid", "message": "bad weights at worker-7"}}'
    one = ticket(422, upstream_text=text)

    assert ending_of(one) == "adapter"
    assert failure_of(one, litellm_status=422).code == "upstream_error"
