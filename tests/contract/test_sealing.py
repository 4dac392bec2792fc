"""Sealed texts: what goes in comes out, under the same key and purpose only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.sealing import (
    SealingError,
    issuer_purpose,
    open_sealed,
    parse_sealing_keys,
    seal,
    sealing_id_of,
)

OLD, NEW = "old:" + "01" * 32, "new:" + "02" * 32
KEYS = parse_sealing_keys(OLD)
PURPOSE = issuer_purpose("tenant-1")


def code_of(sealed: str, *, keys=KEYS, purpose: str = PURPOSE) -> str:
    with pytest.raises(SealingError) as caught:
        open_sealed(sealed, keys, purpose=purpose)
    return caught.value.code


@given(text=st.text(), purpose=st.text(alphabet=st.characters(codec="utf-8")))
def test_a_sealed_text_opens_to_itself(text: str, purpose: str):
    text = text.encode("utf-8", "replace").decode()

    assert open_sealed(seal(text, KEYS, purpose=purpose), KEYS, purpose=purpose) == text


def test_the_same_text_is_never_sealed_alike():
    assert len({seal("secret", KEYS, purpose=PURPOSE) for _ in range(50)}) == 50


def test_another_tenants_sealed_text_does_not_open():
    assert code_of(seal("secret", KEYS, purpose=issuer_purpose("tenant-2"))) == "sealed_wrong"


def test_a_new_key_seals_while_the_old_one_still_opens():
    both = parse_sealing_keys(f"{NEW},{OLD}")
    old = seal("secret", KEYS, purpose=PURPOSE)
    new = seal("secret", both, purpose=PURPOSE)

    assert open_sealed(old, both, purpose=PURPOSE) == "secret"
    assert (sealing_id_of(old), sealing_id_of(new)) == ("old", "new")
    assert code_of(new) == "sealed_unknown_key"


@given(position=st.integers(min_value=7), flip=st.sampled_from("AZaz09-_"))
def test_a_changed_text_does_not_open(position: int, flip: str):
    sealed = seal("secret", KEYS, purpose=PURPOSE)
    position = 7 + position % (len(sealed) - 7 - 1)
    changed = sealed[:position] + (flip if sealed[position] != flip else "B") + sealed[position + 1 :]

    assert code_of(changed) in {"sealed_wrong", "sealed_malformed"}


@given(st.text())
def test_anything_else_is_refused_by_code(text: str):
    assert code_of(text) in {"sealed_malformed", "sealed_unknown_key"}


@pytest.mark.parametrize("text", ["", " , "])
def test_no_key_is_told(text: str):
    with pytest.raises(SealingError) as caught:
        parse_sealing_keys(text)

    assert caught.value.code == "sealing_keys_missing"


@pytest.mark.parametrize(
    "text", ["k:zz", "k:00", "k:" + "0" * 66, ":" + "00" * 32, f"{OLD},{OLD}", "a.b:" + "00" * 32]
)
def test_malformed_keys_are_refused(text: str):
    with pytest.raises(SealingError) as caught:
        parse_sealing_keys(text)

    assert caught.value.code == "sealing_keys_malformed"


def test_keys_are_not_printed():
    assert "01" * 4 not in repr(KEYS)
    assert "\\x01" not in repr(KEYS)
