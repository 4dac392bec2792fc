"""Pages beside the usual ones: a form or a question that is asked once, before something is done.

They have addresses of their own and work without JavaScript. Only a POST changes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse


@dataclass(frozen=True)
class Question:
    """``says``: what will happen to whom, a sentence each. ``back``: the address to return to."""

    title: str
    button: str
    back: str
    says: Sequence[str] = ()
    form: forms.Form | None = None
    danger: bool = False
    back_label: str = "Back"


def ask(
    admin: "ModelAdmin[Any]", request: HttpRequest, question: Question, *, status: int = 200
) -> HttpResponse:
    """The page with the question; its button posts to the same address."""
    return show(admin, request, "core/question.html", question.title, {"question": question}, status=status)


@dataclass(frozen=True)
class Secret:
    """A secret's one appearance. ``lines``: label and value pairs of what else is worth knowing."""

    title: str
    secret: str
    back: str
    back_label: str
    says: Sequence[str] = ()
    lines: Sequence[tuple[str, str]] = field(default=())

    def __repr__(self) -> str:
        return f"Secret({self.title!r})"


def show_once(admin: "ModelAdmin[Any]", request: HttpRequest, secret: Secret) -> HttpResponse:
    """Answers the POST that made the secret, without a redirect: so it is stored nowhere on the way.

    No cookie, session or message carries it, and browsers are told to keep no copy of the page.
    """
    response = show(admin, request, "core/secret.html", secret.title, {"secret": secret})
    response["Cache-Control"] = "no-store"
    return response


def show(
    admin: "ModelAdmin[Any]",
    request: HttpRequest,
    template: str,
    title: str,
    content: dict[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    """A page of the console around ``content``, under the menu entry of ``admin``'s model."""
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "opts": admin.opts,
        "model_admin": admin,
        **content,
    }
    return TemplateResponse(request, template, context, status=status)
