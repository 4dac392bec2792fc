"""The environment of a gateway, good and bad; and a port that is taken."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_hooks.errors import SettingsError
from gateway_hooks.settings import Settings
from tests.gateway_hooks import processes

GOOD = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "TENANTRY_IDENTITY_KEYS": "k:" + "00" * 32,
    "TENANTRY_SALT_SECRET": "11" * 32,
}


def test_secrets_may_come_from_files(tmp_path: Path):
    (tmp_path / "salt").write_text("22" * 32 + "\n")
    environment = {**GOOD, "TENANTRY_SALT_SECRET_FILE": str(tmp_path / "salt")}
    del environment["TENANTRY_SALT_SECRET"]

    settings = Settings.from_environment(environment)

    assert settings.salt_secret == bytes.fromhex("22" * 32)


@pytest.mark.parametrize(
    "change",
    [
        {"REDIS_URL": ""},
        {"TENANTRY_IDENTITY_KEYS": "k:00"},
        {"TENANTRY_SALT_SECRET": "11"},
        {"TENANTRY_SALT_SECRET": "no hex"},
        {"TENANTRY_SALT_SECRET_FILE": "/no/such/file"},
        {"TENANTRY_BODY_LIMIT": "2 MiB"},
        {"TENANTRY_SECRETS_KEYS": "k:00"},
        {"TENANTRY_SECRETS_KEYS_FILE": "/no/such/file"},
        {"TENANTRY_TRUSTED_PROXIES": "10.0.0.1/8"},
    ],
    ids=str,
)
def test_what_is_missing_or_malformed_is_named(change: dict[str, str]):
    with pytest.raises(SettingsError, match=next(iter(change)).removesuffix("_FILE")):
        Settings.from_environment({**GOOD, **change})


def test_proxies_and_sealing_keys_are_optional():
    settings = Settings.from_environment(GOOD)

    assert (settings.trusted_proxies, settings.sealing_keys.keys) == ((), {})


def test_proxies_are_networks_of_both_families():
    networks = "10.0.0.0/8, 192.0.2.1,2001:db8::/32"

    settings = Settings.from_environment({**GOOD, "TENANTRY_TRUSTED_PROXIES": networks})

    assert [str(network) for network in settings.trusted_proxies] == [
        "10.0.0.0/8",
        "192.0.2.1/32",
        "2001:db8::/32",
    ]


def test_secrets_are_not_printed():
    shown = repr(Settings.from_environment({**GOOD, "TENANTRY_SECRETS_KEYS": "k:" + "11" * 32}))

    assert "11" * 8 not in shown
    assert "\\x11" not in shown


def test_a_port_that_is_taken_gets_a_clear_message(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = subprocess.run(
            [sys.executable, "-m", "gateway_hooks", "--port", str(port)],
            env=processes.environment(tmp_path, GOOD["REDIS_URL"]),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert ended.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken" in ended.stderr
    assert "Traceback" not in ended.stderr
