"""The text of an API key."""

import pytest

from gateway_hooks.contract.api_keys import key_id_of, key_sha256, new_key


def test_a_new_key_names_itself_and_is_never_made_twice():
    made = [new_key() for _ in range(100)]

    assert all(key_id_of(key) == key_id for key_id, key in made)
    assert len({key for _, key in made}) == len({key_id for key_id, _ in made}) == 100
    assert len(key_sha256(made[0][1])) == 64


@pytest.mark.parametrize(
    "change", [str.upper, lambda key: key + "\n", lambda key: key[:-1], lambda key: " " + key]
)
def test_anything_but_the_exact_form_has_no_id(change):
    _, key = new_key()

    assert key_id_of(change(key)) is None
