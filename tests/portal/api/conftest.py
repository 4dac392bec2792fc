"""Callers of the API: somebody of each kind, with a token."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from tests import factories

Caller = Callable[..., APIClient]


def client_of(user: User, **options: Any) -> APIClient:
    token, _made = Token.objects.get_or_create(user=user)
    client = APIClient(**options)
    client.credentials(HTTP_AUTHORIZATION=f"Token {token.key}")
    return client


@pytest.fixture
def as_role(db: None) -> Caller:  # noqa: ARG001
    """A client of a new member of the role."""
    return lambda role: client_of(factories.make_user(role))


@pytest.fixture
def admin(db: None) -> APIClient:  # noqa: ARG001
    return client_of(factories.make_user(superuser=True))
