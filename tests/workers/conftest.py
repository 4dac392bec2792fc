import pytest
from django.conf import settings


@pytest.fixture
def db_url(transactional_db: None) -> str:  # noqa: ARG001 - it must exist first
    """The tests' database, for processes of their own: pytest-django named it after the configured one."""
    database = settings.DATABASES["default"]
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database)
