"""What a caller may do: Django's model permissions, for reading too. Without a permission nothing is open."""

from typing import TYPE_CHECKING

from rest_framework.permissions import DjangoModelPermissions
from rest_framework.request import Request

if TYPE_CHECKING:  # its module reads the settings, which name this one
    from rest_framework.views import APIView

_VIEW = "%(app_label)s.view_%(model_name)s"


class ModelPermissions(DjangoModelPermissions):
    """An action may name its own: ``action_permissions = {"revoke": ("tenants.change_apikey",)}``.

    A view without a model and without such names is closed to all but superusers.
    """

    perms_map = {
        **DjangoModelPermissions.perms_map,
        "GET": [_VIEW],
        "HEAD": [_VIEW],
        "OPTIONS": [_VIEW],
    }

    def has_permission(self, request: Request, view: "APIView") -> bool:
        user = request.user
        if not (user and user.is_authenticated and user.is_active):
            return False
        action = getattr(view, "action", None)
        own = getattr(view, "action_permissions", {}).get(action)
        if own is not None:
            return bool(user.has_perms(own))
        if action is None and hasattr(view, "action_map") and getattr(view, "queryset", None) is None:
            return True  # nothing is done: the view answers that it has no such method
        if getattr(view, "queryset", None) is None and not hasattr(view, "get_queryset"):
            return bool(user.is_superuser)
        return super().has_permission(request, view)
