"""What tests do with the REST API: find, make and change rows, and wait for what follows from them."""

from typing import Any

import httpx

from tests.services import wait_until

LEDGER_SECONDS = 60.0


def found(api: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    response = api.get(path, params={"limit": 500, **query})
    assert response.status_code == 200, response.text
    return list(response.json()["results"])


def made(api: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    response = api.post(path, json=body)
    assert response.status_code == 201, response.text
    return dict(response.json())


def changed(api: httpx.Client, path: str, **body: Any) -> None:
    response = api.patch(path, json=body)
    assert response.status_code == 200, response.text


def done(api: httpx.Client, path: str) -> dict[str, Any]:
    """An action that takes no more than its path."""
    response = api.post(path)
    assert response.is_success, response.text
    return dict(response.json())


def tenant_of(api: httpx.Client, slug: str) -> dict[str, Any]:
    return next(tenant for tenant in found(api, "/tenants/") if tenant["slug"] == slug)


def app_of(api: httpx.Client, tenant: dict[str, Any]) -> dict[str, Any]:
    return next(app for app in found(api, "/apps/") if app["tenant"] == tenant["id"])


def event_of(api: httpx.Client, request_id: str) -> dict[str, Any]:
    """What the gateway saw of the request, waited for."""
    return _waited(api, "/requests/", request_id)


def billed(api: httpx.Client, request_id: str) -> dict[str, Any]:
    """The request's ledger entry, waited for."""
    return _waited(api, "/ledger/", request_id)


def _waited(api: httpx.Client, path: str, request_id: str) -> dict[str, Any]:
    wait_until(
        lambda: bool(found(api, path, request_id=request_id)),
        seconds=LEDGER_SECONDS,
        what=f"{path} of {request_id}",
    )
    return found(api, path, request_id=request_id)[0]
