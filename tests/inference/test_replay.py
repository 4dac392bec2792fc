import pytest

from inference.replay import ReplayError, ReplayGuard, ReplayMemoryFullError


def test_a_request_id_is_admitted_once_while_its_signature_lives() -> None:
    guard = ReplayGuard(kept_seconds=35)
    guard.admit("r", now=100.0)

    with pytest.raises(ReplayError) as refused:
        guard.admit("r", now=134.9)

    assert refused.value.code == "identity_replayed"


def test_what_can_no_longer_verify_is_forgotten() -> None:
    guard = ReplayGuard(kept_seconds=35, max_remembered=1)
    guard.admit("old", now=100.0)

    guard.admit("new", now=135.0)


def test_a_full_memory_refuses_rather_than_forgets() -> None:
    guard = ReplayGuard(kept_seconds=35, max_remembered=1)
    guard.admit("first", now=100.0)

    with pytest.raises(ReplayMemoryFullError):
        guard.admit("second", now=100.0)
    with pytest.raises(ReplayError):
        guard.admit("first", now=100.0)
