"""How templates write amounts."""

from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.core import wording

register = template.Library()


@register.filter
def money(value: Decimal, currency: str) -> SafeString:
    """Two decimals, the exact amount as tooltip."""
    return _amount(wording.money(value, currency))


@register.filter
def big(value: int, unit: str) -> SafeString:
    """A number shortened, the exact one as tooltip."""
    return _amount(wording.count(value, unit))


@register.filter
def gpu(nanoseconds: int) -> SafeString:
    return _amount(wording.seconds(nanoseconds))


def _amount(amount: wording.Amount) -> SafeString:
    return format_html('<span title="{}">{}</span>', amount.exact, amount)
