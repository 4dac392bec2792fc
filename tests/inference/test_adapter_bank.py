import shutil
from pathlib import Path

import pytest

from gateway_hooks.contract.artifacts import CONFIG_FILE, WEIGHTS_FILE
from inference.adapter_bank import AdapterBank, AdapterError
from inference.demo_model import voices
from tests.inference.adapters import Change, changed_adapter, config, weights
from tests.inference.live import demo_pool, store_adapter


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def bank(store: Path, tmp_path: Path) -> AdapterBank:
    return AdapterBank(store=store, folder=tmp_path / "own", pool=demo_pool())


def refusal(bank: AdapterBank, digest: str) -> tuple[str, int]:
    with pytest.raises(AdapterError) as refused:
        bank.ensure(digest)
    return refused.value.code, refused.value.status


def test_a_verified_adapter_is_a_copy_that_the_store_can_no_longer_touch(
    bank: AdapterBank, store: Path
) -> None:
    digest = store_adapter(voices.adapter_folder("acme-health"), store)

    folder = bank.ensure(digest)
    shutil.rmtree(store)

    assert bank.get(digest) == bank.ensure(digest) == folder
    assert (folder / WEIGHTS_FILE).stat().st_size > 0


def test_what_is_not_in_the_store_is_not_found(bank: AdapterBank) -> None:
    assert refusal(bank, "ab" * 32) == ("adapter_not_found", 404)


@pytest.mark.parametrize("digest", ["", "..", "../../etc", "AB" * 32, "ab" * 31 + "/."])
def test_a_name_that_is_no_digest_never_reaches_the_disk(bank: AdapterBank, digest: str) -> None:
    assert refusal(bank, digest) == ("adapter_not_found", 404)


def test_a_tampered_adapter_is_refused_and_a_repaired_one_served(bank: AdapterBank, store: Path) -> None:
    digest = store_adapter(voices.adapter_folder("acme-health"), store)
    file = store / digest / WEIGHTS_FILE
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"!")

    assert refusal(bank, digest) == ("adapter_digest_mismatch", 422)
    file.write_bytes(good)
    assert bank.ensure(digest)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (config(r=9), "adapter_rank_too_high"),
        (config(r=0), "adapter_config_invalid"),
        (config(r="8"), "adapter_config_invalid"),
        (config(peft_type="IA3"), "adapter_config_invalid"),
        (config(base_model_name_or_path="another"), "adapter_wrong_base"),
        (lambda folder: (folder / CONFIG_FILE).write_text("[]"), "adapter_config_invalid"),
        (lambda folder: (folder / CONFIG_FILE).write_text("{"), "adapter_config_invalid"),
        (weights(lambda _: b""), "adapter_weights_invalid"),
        (weights(lambda _: b"\x80\x04not safetensors but a pickle"), "adapter_weights_invalid"),
        (weights(lambda good: good[:-1]), "adapter_weights_invalid"),
        (weights(lambda good: good + b"!"), "adapter_weights_invalid"),
        (weights(lambda good: good.replace(b"lora_A", b"lora_X")), "adapter_weights_invalid"),
        (weights(lambda _: (2).to_bytes(8, "little") + b"[]"), "adapter_weights_invalid"),
    ],
)
def test_what_would_fail_in_the_engine_is_refused_before_it(
    bank: AdapterBank, store: Path, tmp_path: Path, change: Change, code: str
) -> None:
    digest = store_adapter(changed_adapter(tmp_path / "changed", change), store)

    assert refusal(bank, digest) == (code, 422)
    assert bank.get(digest) is None
