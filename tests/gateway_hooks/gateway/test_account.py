"""What a request comes to, over all its tries."""

from gateway_hooks.contract.usage import gateway_event_id
from gateway_hooks.gateway.account import Settlement, event_of, settlement, usage_known
from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.seal import Seal
from gateway_hooks.gateway.ticket import Forward, Ticket
from gateway_hooks.metering.usage import Usage, UsageTap
from tests.gateway_hooks.world import NOW, route, worker

ANSWER = b'{"usage": {"prompt_tokens": 10, "completion_tokens": 2}}'
SEAL = Seal(path="/v1/chat/completions", model="m", cache_salt="s", max_output=1, stream=False)


def ticket() -> Ticket:
    return Ticket(request_id="r", endpoint=BY_PATH["/v1/chat/completions"], ts=NOW, started=0.0)


def tried(one: Ticket, *, status: int | None, sent: bool = True, answer: bytes | None = None) -> Ticket:
    """One more try and how it ended."""
    one.begin(Forward(None, route("a" * 64), worker(f"http://{one.attempts}"), "support", SEAL))
    one.forwarded, one.upstream_status = sent, status
    if answer is not None:
        one.tap = UsageTap(stream=False)
        one.tap.feed(answer)
        one.tap.end()
    return one


def test_an_answer_at_the_first_try_is_settled():
    one = tried(ticket(), status=200, answer=ANSWER)

    assert usage_known(one) == Usage(10, 0, 2)
    assert settlement(one) == Settlement(12, 18)


def test_tries_that_never_ran_change_nothing_of_the_settlement():
    one = ticket()
    tried(one, status=None, sent=False)
    tried(one, status=503)
    tried(one, status=200, answer=ANSWER)

    assert settlement(one) == Settlement(12, 18)
    assert event_of(one, gateway_id="g", now=1.0).attempts == 3


def test_after_a_try_that_may_have_run_the_hold_stays_and_the_answers_count_is_told():
    for status in (None, 500):
        one = tried(tried(ticket(), status=status), status=200, answer=ANSWER)

        assert settlement(one) == Settlement(None, None)
        event = event_of(one, gateway_id="g", now=1.0)
        assert (event.prompt_tokens, event.completion_tokens, event.forwarded) == (10, 2, True)


def test_a_last_try_that_never_ran_does_not_make_an_earlier_one_free():
    for last in ({"status": 503}, {"status": None, "sent": False}):
        one = tried(tried(ticket(), status=None), **last)

        assert usage_known(one) is None
        assert settlement(one) == Settlement(None, None)
        event = event_of(one, gateway_id="g", now=1.0)
        assert (event.forwarded, event.prompt_tokens) == (True, None)


def test_a_try_that_was_counted_in_full_is_not_uncounted():
    one = tried(tried(ticket(), status=200, answer=ANSWER), status=503)

    assert one.uncounted is False


def test_what_was_refused_everywhere_costs_nothing():
    one = tried(tried(ticket(), status=503), status=404)

    assert settlement(one) == Settlement(0, 0)


def test_the_event_is_the_requests_however_often_it_was_tried():
    one = tried(tried(ticket(), status=503), status=200, answer=ANSWER)

    event = event_of(one, gateway_id="g", now=1.0)

    assert (event.event_id, event.request_id) == (gateway_event_id("r"), "r")


def test_a_copy_names_what_it_copies_and_has_no_price():
    one = tried(ticket(), status=200, answer=ANSWER)
    one.shadow_of = "primary"

    event = event_of(one, gateway_id="g", now=1.0)

    assert (event.shadow_of, event.rate_id, event.completion_tokens) == ("primary", None, 2)
