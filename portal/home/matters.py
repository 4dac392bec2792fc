"""One thing that needs a person."""

from dataclasses import dataclass
from typing import Literal

SHOWN = 4
"""So many of a kind are named; further ones are counted."""

Level = Literal["critical", "warning", "info"]


@dataclass(frozen=True)
class Matter:
    level: Level
    icon: str
    text: str
    detail: str
    link: str
    button: str
