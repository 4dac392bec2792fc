"""The OpenAPI document, and what generated requests find behind it."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from tests import factories

ROOT = "/api/v1/"
NAMES = (
    *("tenants", "tiers", "apps", "keys", "adapters", "adapter-versions", "aliases", "pools", "node-rates"),
    *("workers", "gateways", "snapshots", "price-books", "rates", "requests", "periods"),
    *("raises", "token-issuers", "configurations", "budget-alerts", "dead-letters"),
)


def test_the_document_is_valid_and_made_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", validate=True, fail_on_warn=True)

    text = capsys.readouterr().out
    missing = [name for name in NAMES if f"{ROOT}{name}/:" not in text]
    assert not missing


@pytest.mark.django_db
def test_the_document_and_its_page_are_for_those_who_are_known(admin: APIClient) -> None:
    for path in ("/api/schema/", "/api/docs/"):
        assert admin.get(path).status_code == 200
        assert APIClient().get(path).status_code == 401


@pytest.fixture
def _test_connection(db: None) -> Iterator[None]:  # noqa: ARG001
    """Requests leave the test's connection open, as they do with Django's own test client."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def document(_test_connection: None) -> schemathesis.BaseSchema:
    """The document as served, with one row of most things behind it."""
    user = factories.make_user(superuser=True)
    token = Token.objects.create(user=user)
    version = factories.make_version()
    factories.make_key(factories.make_app(version.adapter.tenant))
    factories.make_prices()
    return schemathesis.openapi.from_wsgi(
        "/api/schema/?format=json",
        get_wsgi_application(),
        headers={"Authorization": f"Token {token.key}"},
    )


def test_nothing_that_is_asked_breaks_it(document: schemathesis.BaseSchema) -> None:
    headers = {"Authorization": f"Token {Token.objects.get().key}"}
    found = [result.ok() for result in document.get_all_operations()]
    broken: list[str] = []

    for operation in found:
        broken += _broken_answers(operation, headers)

    assert len(found) > 50
    assert not broken, "\n\n".join(broken)


def _broken_answers(operation: Any, headers: dict[str, str]) -> list[str]:
    """Answers to generated requests that are server errors, or errors without the API's form."""
    broken: list[str] = []

    @given(case=operation.as_strategy())
    @settings(
        max_examples=6,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case) -> None:
        response = case.call(headers=headers)
        failed = response.status_code >= 400
        if response.status_code >= 500 or (failed and not response.text.startswith('{"error":{"code":"')):
            broken.append(f"{case.as_curl_command()}\n{response.status_code} {response.text[:2000]}")

    ask()
    return broken
