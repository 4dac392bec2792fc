#!/usr/bin/env python
"""Tenantry's command line: ``python manage.py up`` runs the product, ``help`` lists the rest."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

NO_DATABASE = """\
There is no database. Run `make up` in another terminal, name its data folder in TENANTRY_DATA, or set
DATABASE_URL to a postgresql:// URL."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # Django's own words name a setting that nobody edits here.
        sys.exit(NO_DATABASE if "settings.DATABASES" in str(error) else f"Configuration: {error}")


if __name__ == "__main__":
    main()
