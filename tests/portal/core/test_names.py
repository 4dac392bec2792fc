"""Names that a spreadsheet would take for a formula are refused where names are given."""

import pytest
from django.core.exceptions import ValidationError

from portal.adapters.services import create_adapter
from portal.core.names import validate_name
from portal.tenants.services import create_app, create_tenant
from tests import factories


@pytest.mark.parametrize("name", ["=1+1", "+49", "-x", "@sum", "\tx", "Acme\rInc", "a\x00b", "\x7f"])
def test_a_name_that_is_no_plain_text_in_a_spreadsheet_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        validate_name(name)

    assert refusal.value.code == "name_unsafe"


@pytest.mark.parametrize("name", ["Acme", "Ärzte & Co", "a-b=c", "3 + 4", "日本"])
def test_other_names_are_taken(name: str) -> None:
    validate_name(name)


@pytest.mark.django_db
def test_no_tenant_app_or_adapter_gets_such_a_name() -> None:
    tenant = factories.make_tenant()
    wrong = []

    for make in (
        lambda: create_tenant(name="=cmd", slug="cmd", tier=tenant.tier, pool=tenant.pool),
        lambda: create_app(tenant=tenant, name="@app"),
        lambda: create_adapter(tenant=tenant, name="-adapter"),
    ):
        with pytest.raises(ValidationError) as refusal:
            make()
        wrong.append(
            {name: [error.code for error in errors] for name, errors in refusal.value.error_dict.items()}
        )

    assert wrong == [{"name": ["name_unsafe"]}] * 3
