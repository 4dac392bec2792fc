"""What LiteLLM would split at is written so that it does not, however the bytes come."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.litellm_adapter.lines import SafeLines

TEXTS = st.text(alphabet=st.sampled_from('ab"\\\u2028\u2029\x85é\u2027‧€'), max_size=30)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 120), max_size=12))
def test_no_line_splits_and_the_json_says_the_same(text: str, cuts: list[int]):
    raw = b"data: " + json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n\n"
    edges = sorted({0, *(cut for cut in cuts if cut < len(raw)), len(raw)})
    lines = SafeLines()

    fed = [lines.feed(raw[start:end]) for start, end in itertools.pairwise(edges)]
    safe = b"".join([*fed, lines.flush()]).decode()

    assert len(safe.splitlines()) == 2
    assert json.loads(safe[len("data: ") :]) == {"text": text}
    assert sum(map(len, fed)) >= len(raw) - 2


def test_bytes_that_hold_none_are_passed_on_as_they_are():
    lines = SafeLines()
    chunk = 'data: {"text":"hällo €"}\n\n'.encode()

    assert lines.feed(chunk) == chunk
    assert lines.flush() == b""
