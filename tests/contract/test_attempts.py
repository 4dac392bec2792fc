"""The id of an attempt leads back to its request, whatever the number."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.attempts import attempt_id, attempt_of, request_of

IDS = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(IDS, st.integers(1, 9))
def test_every_attempt_leads_back_to_its_request(request_id: str, attempt: int):
    assert request_of(attempt_id(request_id, attempt)) == request_id
    assert attempt_of(attempt_id(request_id, attempt)) == attempt


@given(IDS)
def test_the_first_attempt_has_the_requests_own_id_and_each_another(request_id: str):
    ids = [attempt_id(request_id, attempt) for attempt in range(1, 4)]

    assert ids[0] == request_id
    assert len(set(ids)) == 3


def test_what_is_no_attempts_id_is_left_alone():
    for text in ("", "-try", "health-try", "a-tryb"):
        assert request_of(text) == text
        assert attempt_of(text) == 1
