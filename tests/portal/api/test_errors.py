"""Errors have one form and stable codes, whoever raised them."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from portal.tenants.models import Tenant
from tests import factories

NOWHERE = "00000000-0000-0000-0000-000000000000"

CASES: list[tuple[str, str, str, bytes, int, str]] = [
    ("get", "tenants/", "application/json", b"", 401, "not_authenticated"),
    ("get", "nothing/", "application/json", b"", 404, "not_found"),
    ("get", f"tenants/{NOWHERE}/", "application/json", b"", 404, "not_found"),
    ("get", "tenants/acme/", "application/json", b"", 404, "not_found"),
    ("get", "keys/a%00b/", "application/json", b"", 404, "not_found"),
    ("put", f"tenants/{NOWHERE}/", "application/json", b"{}", 405, "method_not_allowed"),
    ("post", "tenants/", "application/json", b"{not json", 400, "invalid_request"),
    ("post", "tenants/", "application/json", b"[]", 400, "invalid"),
    ("post", "tenants/", "text/csv", b"a,b", 415, "unsupported_media_type"),
    ("post", "tenants/", "application/json", b"{}", 400, "invalid"),
    ("get", "requests/?since=yesterday", "application/json", b"", 400, "invalid"),
    ("get", "requests/?cursor=zzz", "application/json", b"", 404, "not_found"),
    ("post", "adapter-versions/", "application/json", b"{}", 415, "unsupported_media_type"),
    ("post", "periods/2020-13/close/", "application/json", b"{}", 404, "not_found"),
]


@pytest.mark.parametrize(("method", "path", "kind", "body", "status", "code"), CASES)
def test_every_error_has_the_same_form(
    admin: APIClient, method: str, path: str, kind: str, body: bytes, status: int, code: str
) -> None:
    client = APIClient() if status == 401 else admin

    answer = client.generic(method.upper(), f"/api/v1/{path}", body, content_type=kind)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert set(answer.json()) == {"error"}
    assert set(error) <= {"code", "message", "fields"}


def tenant_body(**changes: Any) -> dict[str, Any]:
    body = {
        "name": "Acme",
        "slug": "acme",
        "tier": factories.make_tier().pk,
        "pool": factories.make_pool().pk,
    }
    return body | changes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "Not a slug"),
        ("name", ""),
        ("name", "a\x00b"),
        ("name", "x" * 121),
        ("tier", 10**30),
        ("pool", "first"),
        ("requests_per_minute", 0),
        ("requests_per_minute", 10**20),
        ("monthly_spend_limit", "1.0000001"),
        ("monthly_spend_limit", "NaN"),
        ("billing_timezone", "Mars/Base"),
        ("service_class", "golden"),
        ("request_per_minute", 5),
    ],
)
def test_a_wrong_value_is_told_with_its_field_and_nothing_is_made(
    admin: APIClient, field: str, value: Any
) -> None:
    answer = admin.post("/api/v1/tenants/", tenant_body(**{field: value}), format="json")

    assert answer.status_code == 400, answer.content
    assert list(answer.json()["error"]["fields"]) == [field]
    assert not Tenant.objects.exists()


def test_text_that_is_no_unicode_is_refused(admin: APIClient) -> None:
    body = json.dumps(tenant_body(name="\ud800"))

    answer = admin.generic("POST", "/api/v1/tenants/", body, content_type="application/json")

    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == ["name"]


def test_a_name_that_is_taken_is_told_with_its_field(admin: APIClient) -> None:
    taken = factories.make_tenant()

    answer = admin.post("/api/v1/tenants/", tenant_body(name=taken.name), format="json")

    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == ["name"]


def test_what_a_service_refuses_keeps_its_code(admin: APIClient) -> None:
    app = factories.make_app()

    body = {"app": str(app.pk), "expires_at": "2020-01-01T00:00:00Z"}
    answer = admin.post("/api/v1/keys/", body, format="json")

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "expiry_in_the_past"


def test_a_body_that_is_too_large_to_be_recognised_is_refused(admin: APIClient) -> None:
    body = json.dumps(tenant_body(region="x" * (5 << 20)))

    answer = admin.generic(
        "POST", "/api/v1/tenants/", body, content_type="application/json", headers={"Idempotency-Key": "big"}
    )

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
