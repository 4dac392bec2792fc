"""Registering versions and pointing aliases."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.db import connections

from gateway_hooks.contract.artifacts import artifact_digest
from portal.adapters.conf import AdapterSettings
from portal.adapters.errors import AdapterError
from portal.adapters.models import Adapter, AdapterVersion
from portal.adapters.services import register_version, set_alias
from portal.adapters.sources import Files, Folder
from portal.environment import CHECKOUT
from tests import factories
from tests.factories import NOW, adapter_files, lora_config, safetensors_bytes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AdapterSettings]:
    settings = AdapterSettings(store=tmp_path / "store", imports=tmp_path / "import", max_bytes=1 << 20)
    yield settings
    for path in settings.store.glob("[!.]*"):
        path.chmod(0o755)


def register(adapter: Adapter, store: AdapterSettings, *, fill: int = 0, **config: object) -> AdapterVersion:
    files = adapter_files(config=lora_config(**config), weights=safetensors_bytes(fill=fill))
    return register_version(adapter=adapter, source=Files(files), user=None, now=NOW, settings=store)


@pytest.mark.django_db
class TestRegistering:
    def test_a_checked_version_is_recorded_and_stored(self, store: AdapterSettings) -> None:
        version = register(factories.make_adapter(), store)

        assert (version.number, version.rank, version.dtype) == (1, 2, "F32")
        assert artifact_digest(store.store / version.digest) == version.digest

    def test_a_refused_one_leaves_neither_row_nor_artifact(self, store: AdapterSettings) -> None:
        with pytest.raises(AdapterError):
            register(factories.make_adapter(), store, base_model_name_or_path="another")

        assert not AdapterVersion.objects.exists()
        assert list(store.store.glob("[!.]*")) == []

    def test_the_same_files_again_are_refused_with_the_number_they_have(self, store: AdapterSettings) -> None:
        adapter = factories.make_adapter()
        register(adapter, store)

        with pytest.raises(AdapterError, match="version 1 already") as refused:
            register(adapter, store)

        assert refused.value.code == "adapter_version_exists"

    def test_two_tenants_may_have_the_same_artifact(self, store: AdapterSettings) -> None:
        first = register(factories.make_adapter(), store)
        second = register(factories.make_adapter(), store)

        assert first.digest == second.digest
        assert first.pk != second.pk

    def test_the_size_is_capped(self, store: AdapterSettings) -> None:
        small = AdapterSettings(store=store.store, imports=store.imports, max_bytes=100)

        with pytest.raises(AdapterError) as refused:
            register(factories.make_adapter(), small)

        assert refused.value.code == "adapter_too_big"

    def test_a_huge_configuration_is_refused_unread(self, store: AdapterSettings) -> None:
        files = {**adapter_files(), "adapter_config.json": io.BytesIO(b" " * (1 << 20) + b"{}")}
        large = AdapterSettings(store=store.store, imports=store.imports, max_bytes=1 << 22)

        with pytest.raises(AdapterError) as refused:
            register_version(
                adapter=factories.make_adapter(), source=Files(files), user=None, now=NOW, settings=large
            )

        assert refused.value.code == "adapter_config_invalid"

    def test_the_demo_adapter_fits_the_demo_base_and_not_a_wider_one(self, store: AdapterSettings) -> None:
        home = CHECKOUT / "inference" / "demo_model"
        pool = factories.make_pool(base_model="tenantry-demo", model=str(home / "base"))
        adapter = factories.make_adapter(factories.make_tenant(pool=pool))

        version = register_version(
            adapter=adapter,
            source=Folder(home / "adapters" / "acme-health"),
            user=None,
            now=NOW,
            settings=store,
        )

        assert "base model's layers" in version.checks[-1]


@pytest.mark.django_db(transaction=True)
def test_versions_that_are_registered_at_once_get_numbers_of_their_own(store: AdapterSettings) -> None:
    adapter = factories.make_adapter()

    def add(fill: int) -> None:
        try:
            register(adapter, store, fill=fill)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(6)))

    assert sorted(adapter.versions.values_list("number", flat=True)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.django_db
class TestAliases:
    def test_an_alias_is_made_and_later_pointed_elsewhere(self) -> None:
        version = factories.make_version()
        tenant = version.adapter.tenant

        made = set_alias(tenant=tenant, name="assistant", version=None)
        moved = set_alias(tenant=tenant, name="assistant", version=version)

        assert made.pk == moved.pk
        assert tenant.aliases.get().version == version

    def test_another_tenants_version_is_refused(self) -> None:
        foreign = factories.make_version()

        with pytest.raises(AdapterError) as refused:
            set_alias(tenant=factories.make_tenant(), name="assistant", version=foreign)

        assert refused.value.code == "alias_foreign_version"

    def test_a_pool_with_another_base_model_or_smaller_ranks_is_refused(self) -> None:
        version = factories.make_version(rank=16)
        other = factories.make_pool(base_model="another")
        small = factories.make_pool(max_lora_rank=8)
        codes = []

        for pool in (other, small):
            with pytest.raises(AdapterError) as refused:
                set_alias(tenant=version.adapter.tenant, name="a", version=version, pool=pool)
            codes.append(refused.value.code)

        assert codes == ["adapter_wrong_base", "adapter_rank_too_big"]

    @pytest.mark.parametrize("name", ["", "Upper", "with space", "-dash", "a" * 64, "a/b", "ü"])
    def test_names_that_no_client_could_send_safely_are_refused(self, name: str) -> None:
        with pytest.raises(ValidationError):
            set_alias(tenant=factories.make_tenant(), name=name, version=None)
