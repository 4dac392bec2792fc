"""What the engine's event repeats of the signature."""

import pytest

from gateway_hooks.contract.attempts import attempt_id
from gateway_hooks.contract.identity import Identity
from inference.facts import as_request_id, as_xargs, facts_of, read_facts

IDENTITY = Identity(
    request_id="f" * 32, worker_id="w", method="POST", path="/v1/embeddings", body_sha256="", issued_at=1.0
)


def signed(**changes: object) -> Identity:
    return Identity(**{name: getattr(IDENTITY, name) for name in IDENTITY.__struct_fields__} | changes)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_every_attempt_is_metered_as_the_request_it_belongs_to(attempt: int):
    facts = facts_of(signed(request_id=attempt_id("f" * 32, attempt)))

    assert facts.request_id == "f" * 32


@pytest.mark.parametrize("shadow", [False, True])
def test_a_copy_stays_marked_on_both_ways_to_the_engine(shadow: bool):  # noqa: FBT001 - a parameter
    facts = facts_of(signed(shadow=shadow))

    assert read_facts(as_xargs(facts), "any") == facts
    assert read_facts(None, f"embd-{as_request_id(facts)}-0") == facts
    assert facts.shadow is shadow
