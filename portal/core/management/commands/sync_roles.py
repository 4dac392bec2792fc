"""``manage.py sync_roles``: the groups hold exactly what ``portal.core.roles`` says."""

from typing import Any

from django.core.management.base import BaseCommand

from portal.core.roles import ROLES
from portal.core.services import sync_roles


class Command(BaseCommand):
    help = "Bring the role groups and their permissions up to date."

    def handle(self, *_args: Any, **_options: Any) -> None:
        sync_roles()
        self.stdout.write(f"{len(ROLES)} roles are up to date: {', '.join(ROLES)}")
