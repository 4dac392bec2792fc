"""Each role opens its own pages, and no others."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from portal.core.roles import ROLES, codenames
from portal.core.services import sync_roles
from tests import factories


def console_for(role: str | None = None, *, superuser: bool = False) -> Client:
    client = Client()
    client.force_login(factories.make_user(role, superuser=superuser))
    return client


def pages() -> list[tuple[str, str]]:
    """(``app.model``, address of its list) of everything in the console."""
    models = sorted(model._meta.label_lower for model in admin.site._registry)
    return [(label, f"admin:{label.replace('.', '_')}_changelist") for label in models]


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_exactly_the_lists_that_the_table_gives_it(role: str) -> None:
    console = console_for(role)

    opened = {label for label, url in pages() if console.get(reverse(url)).status_code == 200}

    assert opened == {label for label in ROLES[role] if label in dict(pages())}


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_the_forms_for_adding_only_where_it_may_add(role: str) -> None:
    console = console_for(role)
    ours = [label for label, _ in pages() if label.split(".")[0] in {"tiers", "tenants", "adapters", "fleet"}]

    opened = {
        label
        for label in ours
        if console.get(reverse(f"admin:{label.replace('.', '_')}_add")).status_code == 200
    }

    may_add = {label for label in ours if "add" in ROLES[role].get(label, ())}
    assert opened == may_add - {"adapters.adapterversion"}  # made on its adapter's page


@pytest.mark.django_db
def test_the_groups_hold_exactly_the_table_again_after_somebody_changed_them() -> None:
    sync_roles()
    group = Group.objects.get(name="auditor")
    group.permissions.set(
        [*group.permissions.all()[:3], *Group.objects.get(name="finance").permissions.all()]
    )

    sync_roles()

    held = set(group.permissions.values_list("content_type__app_label", "codename"))
    assert held == set(codenames("auditor"))


def test_the_auditor_sees_what_any_role_sees_and_changes_nothing() -> None:
    seen_by_others = {label for role in ROLES for label in ROLES[role]}

    assert seen_by_others <= set(ROLES["auditor"])
    assert all(verbs == ("view",) for verbs in ROLES["auditor"].values())


@pytest.mark.parametrize("role", [role for role in ROLES if role != "finance"])
def test_nobody_but_finance_touches_money(role: str) -> None:
    money = {label: verbs for label, verbs in ROLES[role].items() if label.startswith("billing.")}

    assert all(verbs == ("view",) for verbs in money.values())


@pytest.mark.django_db
def test_a_user_without_a_role_opens_nothing() -> None:
    console = console_for()

    assert {console.get(reverse(url)).status_code for _, url in pages()} == {403}


@pytest.mark.django_db
def test_a_stranger_is_sent_to_the_login() -> None:
    answers: list[Any] = [Client().get(reverse(url)) for _, url in pages()]

    assert {answer.status_code for answer in answers} == {302}
    assert all(answer["Location"].startswith(reverse("admin:login")) for answer in answers)
