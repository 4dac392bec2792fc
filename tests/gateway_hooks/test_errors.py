"""The page of errors says what the gateway says."""

import re
from pathlib import Path

from gateway_hooks.errors import KINDS, Code

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
ROW = re.compile(r"^\| `(\w+)` \| (\d{3}) \| \S.* \|$", re.MULTILINE)


def test_the_page_lists_every_code_once_with_its_status():
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))

    assert set(KINDS) == set(Code)
    assert sorted(rows) == sorted((code.value, str(kind.status)) for code, kind in KINDS.items())
