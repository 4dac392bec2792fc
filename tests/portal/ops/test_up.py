"""``manage.py up`` refuses before it starts anything, and says why. The whole of it runs in tests/e2e."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_hooks.contract.sealing import parse_sealing_keys
from portal.environment import read_environment
from portal.ops import report
from portal.ops.claim import AlreadyUpError, claimed
from portal.ops.embedded import free_port
from portal.ops.layout import Layout, ensure_secrets, read_run_file, read_secret, write_private
from portal.ops.ports import PortTakenError, Wanted, embedded_port, require_free
from portal.ops.session import CHECKOUT


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.of(tmp_path / "data")
    made.prepare()
    return made


def up(data: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(CHECKOUT / "manage.py"), "up", "--data", str(data), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_taken_port_is_named_with_its_holder_and_the_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]

        finished = up(tmp_path / "data", "--gateway-port", str(port))

    assert finished.returncode == 1
    assert f"the gateway needs port {port}, which is taken" in finished.stderr
    assert f"(process {os.getpid()})" in finished.stderr
    assert "--gateway-port" in finished.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_second_up_on_one_data_folder_is_refused(layout: Layout) -> None:
    with claimed(layout):
        finished = up(layout.data)

    assert finished.returncode == 1
    assert f"up already runs on {layout.data} (process {os.getpid()})" in finished.stderr
    assert "[already_up]" in finished.stderr


def test_the_claim_is_free_again_afterwards(layout: Layout) -> None:
    with claimed(layout), pytest.raises(AlreadyUpError), claimed(layout):
        pass

    with claimed(layout):
        pass


def test_one_port_for_two_services_is_refused() -> None:
    port = free_port()
    wanted = [Wanted("a", "127.0.0.1", port, "--a-port"), Wanted("b", "127.0.0.1", port, "--b-port")]

    with pytest.raises(PortTakenError, match="given twice"):
        require_free(wanted)


def test_an_embedded_servers_port_is_remembered_until_somebody_else_has_it(tmp_path: Path) -> None:
    memory = tmp_path / "ports.json"
    first = embedded_port(memory, "redis", asked=None)

    assert embedded_port(memory, "redis", asked=None) == first
    with socket.create_server(("127.0.0.1", first)):
        assert embedded_port(memory, "redis", asked=None) != first


def test_secrets_are_made_once_and_for_their_owner_only(layout: Layout) -> None:
    ensure_secrets(layout)
    made = {path.name: path.read_text() for path in layout.secrets.iterdir()}

    ensure_secrets(layout)

    assert {path.name: path.read_text() for path in layout.secrets.iterdir()} == made
    modes = {stat.S_IMODE(path.stat().st_mode) for path in layout.secrets.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(layout.secrets.stat().st_mode) == 0o700


def test_every_process_finds_the_secrets_by_their_files(layout: Layout) -> None:
    ensure_secrets(layout)
    sealing = parse_sealing_keys(read_secret(layout.data, "secrets_keys") or "")

    read = read_environment({"TENANTRY_DATA": str(layout.data)})

    assert list(sealing.keys) == ["s1"]
    assert read.secrets_keys == read_secret(layout.data, "secrets_keys")
    assert len(read_secret(layout.data, "metrics_token") or "") >= 32


def test_run_files_and_secrets_are_absent_until_written(layout: Layout) -> None:
    assert read_run_file(layout.data, "redis_url") is None
    assert read_secret(layout.data, "salt_secret") is None

    write_private(layout.run / "redis_url", "redis://somewhere\n")

    assert read_run_file(layout.data, "redis_url") == "redis://somewhere"


def test_what_the_seed_made_is_kept_until_it_was_shown(layout: Layout) -> None:
    first = report.FirstSecrets(layout)
    first.seeded.write_text(
        json.dumps({"admin": {"username": "admin", "password": "p"}, "keys": {"acme": "k"}})
    )
    first.collect()
    first.seeded.write_text("{}")
    first.collect()

    secrets = report.FirstSecrets(layout).read()

    assert secrets == {"admin": {"username": "admin", "password": "p"}, "keys": {"acme": "k"}}
    first.shown()
    assert report.FirstSecrets(layout).read() == {}


def test_later_starts_name_a_variable_in_place_of_the_key(layout: Layout) -> None:
    urls = {"console": "http://c", "gateway": "http://g"}

    text = report.text(urls, {}, demo=True, layout=layout)

    assert "Bearer $ACME_KEY" in text
    assert "changepassword admin" in text
