"""unfold's decorators with the types that it does not publish."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from unfold import decorators as unfold

_Method = TypeVar("_Method", bound=Callable[..., Any])


def display(**options: Any) -> Callable[[_Method], _Method]:
    """How a column or read-only field looks; see ``unfold.decorators.display``."""
    return cast("Callable[[_Method], _Method]", unfold.display(**options))


def action(**options: Any) -> Callable[[_Method], _Method]:
    """A button with a page of its own; see ``unfold.decorators.action``."""
    return cast("Callable[[_Method], _Method]", unfold.action(**options))
