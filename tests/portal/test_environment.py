"""The portal's environment: secrets and the two URLs may come from files."""

from pathlib import Path

import pytest

from portal.environment import read_environment


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "TENANTRY_SECRET_KEY"])
def test_what_is_secret_may_come_from_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text("postgresql://user:word@host/name\n")

    read = read_environment({"TENANTRY_DATA": str(tmp_path), f"{name}_FILE": str(file)})

    values = {"DATABASE_URL": read.database_url, "REDIS_URL": read.redis_url}
    assert (values | {"TENANTRY_SECRET_KEY": read.secret_key})[name] == "postgresql://user:word@host/name"


def test_without_a_url_the_servers_of_the_data_folder_are_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "redis_url").write_text("redis://127.0.0.1:7000/0\n")

    read = read_environment({"TENANTRY_DATA": str(tmp_path)})

    assert (read.database_url, read.redis_url) == (None, "redis://127.0.0.1:7000/0")


def test_a_plain_url_needs_no_file(tmp_path: Path) -> None:
    read = read_environment({"TENANTRY_DATA": str(tmp_path), "REDIS_URL": "redis://there:6379/1"})

    assert read.redis_url == "redis://there:6379/1"
