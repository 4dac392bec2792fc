"""Roles as Django groups."""

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from portal.core.errors import PortalError
from portal.core.roles import ROLES, codenames


class RolesError(PortalError):
    """The table of roles names a permission that does not exist."""

    code = "role_permission_unknown"


@transaction.atomic
def sync_roles() -> None:
    """Make the groups hold exactly what the table says; other groups are left alone."""
    known = {
        (app, codename): pk
        for pk, app, codename in Permission.objects.values_list("pk", "content_type__app_label", "codename")
    }
    for role in ROLES:
        wanted = list(codenames(role))
        if missing := [f"{app}.{codename}" for app, codename in wanted if (app, codename) not in known]:
            message = f"{role}: no such permission: {', '.join(missing)}. Run the migrations first."
            raise RolesError(message)
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set([known[item] for item in wanted])
