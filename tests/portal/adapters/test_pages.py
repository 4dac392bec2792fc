"""The adapter pages as an ML engineer uses them."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from portal.adapters.models import Adapter, AdapterVersion, Alias
from tests import factories
from tests.factories import lora_config, safetensors_bytes, write_adapter


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(factories.make_user("ml-engineer"))
    return client


@pytest.fixture(autouse=True)
def store(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    settings.ADAPTER_STORE = tmp_path / "store"
    monkeypatch.setenv("TENANTRY_ADAPTER_IMPORT", str(tmp_path / "import"))
    monkeypatch.setenv("TENANTRY_ADAPTER_MAX_BYTES", "10000")
    yield settings.ADAPTER_STORE
    for path in settings.ADAPTER_STORE.glob("[!.]*"):
        path.chmod(0o755)


def text(response: Any) -> str:
    return str(response.content.decode())


def upload(
    *, config: bytes | None = None, weights: bytes | None = None, name: str = "adapter_model.safetensors"
) -> dict[str, Any]:
    return {
        "config": SimpleUploadedFile("adapter_config.json", lora_config() if config is None else config),
        "weights": SimpleUploadedFile(name, safetensors_bytes() if weights is None else weights),
    }


def add_version(console: Client, adapter: Adapter, **values: Any) -> Any:
    given = {"pool": adapter.tenant.pool_id, "note": "", "path": "", **values}
    return console.post(f"/adapters/adapter/{adapter.pk}/add-version/", given)


@pytest.mark.django_db
class TestAddingAVersion:
    def test_two_files_become_a_version_whose_page_shows_its_checks(self, console: Client) -> None:
        adapter = factories.make_adapter()

        answer = add_version(console, adapter, note="better", **upload())

        version = AdapterVersion.objects.get()
        page = text(console.get(answer["Location"]))
        assert (version.number, version.note) == (1, "better")
        assert version.created_by is not None
        assert "2 matrices" in page
        assert version.digest in page

    def test_an_archive_becomes_a_version(self, console: Client) -> None:
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w") as archive:
            archive.writestr("adapter_config.json", lora_config())
            archive.writestr("adapter_model.safetensors", safetensors_bytes())

        add_version(console, factories.make_adapter(), archive=SimpleUploadedFile("a.zip", raw.getvalue()))

        assert AdapterVersion.objects.count() == 1

    def test_a_folder_below_the_import_folder_becomes_a_version(
        self, console: Client, tmp_path: Path
    ) -> None:
        write_adapter(tmp_path / "import" / "v1")

        add_version(console, factories.make_adapter(), path="v1")

        assert AdapterVersion.objects.count() == 1

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({}, "one of the three"),
            ({"path": "/etc"}, "below the import folder"),
            ({"path": "missing"}, "There is no folder"),
            ({**upload(), "path": "v1"}, "one of the three"),
            (upload(name="adapter_model.bin"), "safe_serialization=True"),
            (upload(weights=b"\x80\x04pickle"), "no valid safetensors file"),
            (upload(config=b"{"), "cannot be used"),
            (upload(config=lora_config(r=64)), "takes at most 16"),
            (upload(config=lora_config(base_model_name_or_path="other")), "was trained on"),
            (upload(weights=bytes(20_000)), "is larger than"),
            ({"archive": SimpleUploadedFile("a.zip", b"no archive")}, "cannot be read"),
            ({"config": upload()["config"]}, "adapter_model.safetensors is missing"),
        ],
    )
    def test_what_is_refused_says_why_and_what_to_do(
        self, console: Client, values: dict[str, Any], words: str
    ) -> None:
        for value in values.values():
            if isinstance(value, SimpleUploadedFile):
                value.seek(0)

        answer = add_version(console, factories.make_adapter(), **values)

        assert answer.status_code == 422
        assert words in text(answer)
        assert not AdapterVersion.objects.exists()

    def test_who_may_only_look_cannot_add(self) -> None:
        operator = Client()
        operator.force_login(factories.make_user("operator"))

        answer = add_version(operator, factories.make_adapter(), **upload())

        assert answer.status_code == 403
        assert not AdapterVersion.objects.exists()


@pytest.mark.django_db
class TestAliases:
    def test_a_known_alias_offers_its_own_tenants_versions_only(self, console: Client) -> None:
        version, foreign = factories.make_version(), factories.make_version()
        alias = Alias.objects.create(tenant=version.adapter.tenant, name="assistant", version=version)

        page = text(console.get(f"/adapters/alias/{alias.pk}/change/"))

        assert str(version.pk) in page
        assert str(foreign.pk) not in page

    def test_a_new_alias_refuses_another_tenants_version(self, console: Client) -> None:
        foreign, tenant = factories.make_version(), factories.make_tenant()
        values = {"tenant": tenant.pk, "name": "a", "version": foreign.pk, "pool": ""}

        answer = console.post("/adapters/alias/add/", values)

        assert "belongs to another tenant" in text(answer)
        assert not Alias.objects.exists()

    def test_moving_an_alias_to_another_version_is_one_save(self, console: Client) -> None:
        old = factories.make_version()
        new = factories.make_version(old.adapter)
        alias = Alias.objects.create(tenant=old.adapter.tenant, name="assistant", version=old)

        answer = console.post(
            f"/adapters/alias/{alias.pk}/change/", {"name": "assistant", "version": new.pk, "pool": ""}
        )

        alias.refresh_from_db()
        assert answer.status_code == 302
        assert alias.version == new

    def test_bad_names_say_what_is_allowed(self, console: Client) -> None:
        tenant = factories.make_tenant()

        answer = console.post("/adapters/alias/add/", {"tenant": tenant.pk, "name": "My Model"})

        assert "Lower-case letters, digits" in text(answer)


@pytest.mark.django_db
def test_every_page_of_adapters_opens(console: Client) -> None:
    version = factories.make_version()
    alias = Alias.objects.create(tenant=version.adapter.tenant, name="a", version=version)
    paths = [
        "/adapters/adapter/",
        "/adapters/adapter/add/",
        f"/adapters/adapter/{version.adapter_id}/change/",
        f"/adapters/adapter/{version.adapter_id}/add-version/",
        "/adapters/adapterversion/",
        f"/adapters/adapterversion/{version.pk}/change/",
        "/adapters/alias/",
        "/adapters/alias/add/",
        f"/adapters/alias/{alias.pk}/change/",
        f"/adapters/alias/{alias.pk}/delete/",
    ]

    statuses = {path: console.get(path).status_code for path in paths}

    assert set(statuses.values()) == {200}, statuses
