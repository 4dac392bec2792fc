from datetime import timedelta
from pathlib import Path

import pytest

from gateway_hooks.contract.errors import ContractError
from inference.errors import InferenceError
from inference.settings import read_settings

GOOD = {"REDIS_URL": "redis://host", "TENANTRY_IDENTITY_KEYS": f"k:{'ab' * 32}", "TENANTRY_DATA": "/data"}


def test_the_defaults_need_only_redis_and_the_keys() -> None:
    settings = read_settings(GOOD)

    assert settings.adapter_store == Path("/data/adapters")
    assert settings.interval == timedelta(seconds=10)
    assert settings.keyring.signing_id == "k"


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"filed:{'cd' * 32}\n")
    environment = {"REDIS_URL": "redis://host", "TENANTRY_IDENTITY_KEYS_FILE": str(file)}

    assert read_settings(environment).keyring.signing_id == "filed"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"REDIS_URL": ""}, "settings_missing"),
        ({"TENANTRY_IDENTITY_KEYS": ""}, "settings_missing"),
        ({"TENANTRY_IDENTITY_KEYS": "k:zz"}, "identity_keys_malformed"),
        ({"TENANTRY_IDENTITY_KEYS": "", "TENANTRY_IDENTITY_KEYS_FILE": "/nowhere"}, "settings_invalid"),
        ({"TENANTRY_INTERVAL_SECONDS": "soon"}, "settings_invalid"),
        ({"TENANTRY_DRAIN_LIMIT_SECONDS": "-1"}, "settings_invalid"),
    ],
)
def test_a_bad_environment_has_a_code(changes: dict[str, str], code: str) -> None:
    with pytest.raises((InferenceError, ContractError)) as refused:
        read_settings({**GOOD, **changes})

    assert refused.value.code == code
