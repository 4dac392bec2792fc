"""The pages of billing periods: reconciliation, close, exports."""

from typing import Any, get_args

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from portal.billing import closing
from portal.billing.errors import PeriodError
from portal.billing.exports.services import CONTENT_TYPES, FORMATS, Format, build_export
from portal.billing.models import BillingPeriod, PeriodState
from portal.billing.reconciliation import reconciliation
from portal.core import clock
from portal.core.admin import ReadOnlyAdmin
from portal.core.decorators import action, display
from portal.core.pages import Question, ask
from portal.core.redis import REDIS_AWAY

FORMAT_TITLES: dict[Format, str] = {
    "focus-csv": "FOCUS 1.2, CSV",
    "focus-parquet": "FOCUS 1.2, Parquet",
    "xlsx": "Workbook (xlsx)",
}


class AcceptForm(forms.Form):
    """The findings that stand against a close, each to be accepted by itself."""

    accept = forms.MultipleChoiceField(
        label="Close although", required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    def __init__(self, found: list[closing.Finding], data: Any = None) -> None:
        super().__init__(data)
        self.fields["accept"].choices = [  # type: ignore[attr-defined] # a MultipleChoiceField's
            (finding.code, finding.message) for finding in found if finding.weight == "accept"
        ]


@admin.register(BillingPeriod)
class BillingPeriodAdmin(ReadOnlyAdmin):
    list_display = (
        "month",
        "state_label",
        "requests_text",
        "charge_text",
        "cost_text",
        "closed_at",
        "closed_by",
    )
    list_select_related = ("closed_by",)
    search_fields = ("month",)
    fields = (("month", "state_label"), ("closed_at", "closed_by"))
    readonly_fields = ("state_label",)
    actions_detail = ("close",)
    change_form_before_template = "billing/reconciliation.html"

    @display(description="State", label={"Open": "info", "Closed": "success"})
    def state_label(self, obj: BillingPeriod) -> str:
        return str(PeriodState(obj.state).label)

    @display(description="Requests")
    def requests_text(self, obj: BillingPeriod) -> str:
        return f"{obj.totals['requests']:,}" if obj.totals else "open"

    @display(description="Charged")
    def charge_text(self, obj: BillingPeriod) -> str:
        return _amounts(obj.totals.get("charge_rounded", {}))

    @display(description="Workers cost")
    def cost_text(self, obj: BillingPeriod) -> str:
        return _amounts(obj.totals.get("bills", {}))

    def get_urls(self) -> list[URLPattern]:
        export = path(
            "<path:object_id>/export/<slug:chosen>/",
            self.admin_site.admin_view(self.export),
            name="billing_billingperiod_export",
        )
        return [export, *super().get_urls()]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        period = BillingPeriod.objects.filter(pk=object_id).first()
        context = dict(extra_context or {})
        if period is not None and self.has_view_permission(request, period):
            now = clock.now()
            context |= {
                "reconciliation": reconciliation(period, now=now),
                "exports": [
                    (title, reverse("admin:billing_billingperiod_export", args=[period.pk, chosen]))
                    for chosen, title in FORMAT_TITLES.items()
                ],
            }
        return super().changeform_view(request, object_id, form_url, context)

    def export(self, request: HttpRequest, object_id: str, chosen: str) -> HttpResponse:
        """The export as a download; with ``?metadata`` what describes it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        period = get_object_or_404(BillingPeriod, pk=object_id)
        if chosen not in get_args(Format):
            message = f"There is no format {chosen!r}: choose one of {', '.join(FORMATS)}."
            raise Http404(message)
        known: Format = next(name for name in FORMATS if name == chosen)
        built = build_export(period, known)
        if "metadata" in request.GET:
            return _download(built.metadata_name, built.metadata, "application/json")
        return _download(built.name, built.data, CONTENT_TYPES[known])

    def has_close_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("billing.change_billingperiod"):
            return False
        return (
            object_id is None or BillingPeriod.objects.filter(pk=object_id, state=PeriodState.OPEN).exists()
        )

    @action(
        description="Close the month",
        url_path="close",
        permissions=["close"],
        icon="lock",
        variant=ActionVariant.DANGER,
    )
    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        period = get_object_or_404(BillingPeriod, pk=object_id)
        if request.method == "POST":
            return self._close(request, period)
        return self._ask(request, period, AcceptForm(_acceptable(period)))

    def _close(self, request: HttpRequest, period: BillingPeriod) -> HttpResponse:
        try:
            closing.drain(clock.now())
        except REDIS_AWAY as error:
            messages.warning(request, f"Redis cannot be reached, nothing was taken in: {error}")
        form = AcceptForm(_acceptable(period), request.POST)
        accept = form.cleaned_data["accept"] if form.is_valid() else []
        try:
            user = request.user if isinstance(request.user, AbstractBaseUser) else None
            closed = closing.close_period(period.month, user=user, now=clock.now(), accept=accept)
        except PeriodError as error:
            for line in error.message.splitlines():
                messages.error(request, line)
            return self._ask(request, period, AcceptForm(_acceptable(period)))
        self.log_change(request, closed, f"Closed, accepting: {', '.join(accept) or 'nothing'}.")
        messages.success(request, f"{closed.month} is closed. {closed.totals['statement']}")
        return HttpResponseRedirect(reverse("admin:billing_billingperiod_change", args=[closed.pk]))

    def _ask(self, request: HttpRequest, period: BillingPeriod, form: AcceptForm) -> HttpResponse:
        now = clock.now()
        says = [
            f"All charges and costs of {period.month} are frozen for ever, in the database itself. "
            "There is no way back.",
            closing.statement(period, now=now),
            *(
                finding.message
                for finding in closing.all_findings(period, now=now)
                if finding.weight != "accept"
            ),
        ]
        question = Question(
            title=f"Close {period.month}?",
            button=f"Close {period.month} for ever",
            back=reverse("admin:billing_billingperiod_change", args=[period.pk]),
            says=says,
            form=form if _acceptable(period) else None,
            danger=True,
        )
        return ask(self, request, question)


def _acceptable(period: BillingPeriod) -> list[closing.Finding]:
    found = closing.all_findings(period, now=clock.now())
    return [finding for finding in found if finding.weight == "accept"]


def _amounts(amounts: dict[str, str]) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in amounts.items()) or "open"


def _download(name: str, data: bytes, content_type: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return HttpResponse(data, content_type=content_type, headers=headers)
