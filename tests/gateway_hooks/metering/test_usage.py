"""The engine's counts, from its bytes, however they are cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.metering.usage import Usage, UsageTap, usage_of

USAGE = {"prompt_tokens": 11, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 4}}
CONTENT = 'tricky \u2028 \u2029 \u0085 "usage": {"prompt_tokens": 999} [DONE] ünï 🎉'


def data(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


STREAM = b"".join(
    [
        data({"choices": [{"delta": {"content": CONTENT}}], "usage": None}),
        data({"choices": [{"delta": {"content": "x"}}]}),
        data({"choices": [], "usage": USAGE}),
        b"data: [DONE]\n\n",
    ]
)


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_a_streams_usage_is_found_under_any_cutting(cuts: list[int]):
    tap = UsageTap(stream=True)
    edges = [0, *sorted(cuts), len(STREAM)]

    for start, end in itertools.pairwise(edges):
        tap.feed(STREAM[start:end])

    assert (tap.usage, tap.complete) == (Usage(11, 4, 6), True)


@given(length=st.integers(0, len(STREAM) - len(b"[DONE]\n\n")))
def test_a_stream_that_breaks_off_is_not_complete(length: int):
    tap = UsageTap(stream=True)

    tap.feed(STREAM[:length])
    tap.end()

    assert not tap.complete


def test_the_end_of_a_responses_stream_carries_its_usage():
    tap = UsageTap(stream=True)
    usage = {"input_tokens": 11, "output_tokens": 6, "input_tokens_details": {"cached_tokens": 4}}

    tap.feed(b"event: response.completed\n")
    tap.feed(data({"type": "response.completed", "response": {"usage": usage}}))

    assert (tap.usage, tap.complete) == (Usage(11, 4, 6), True)


def test_a_plain_answer_is_read_when_it_is_whole():
    tap = UsageTap(stream=False)
    raw = json.dumps({"choices": [], "usage": USAGE}).encode()

    tap.feed(raw[:10])
    tap.feed(raw[10:])
    before = tap.usage
    tap.end()

    assert (before, tap.usage) == (None, Usage(11, 4, 6))


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"{}", b'{"usage":null}', b'{"usage":{}}', b'{"usage":{"prompt_tokens":"x"}}']
)
def test_what_says_no_usage_gives_none(raw: bytes):
    assert usage_of(raw) is None


def test_embeddings_have_no_completion():
    assert usage_of(b'{"usage":{"prompt_tokens":5,"total_tokens":5}}') == Usage(5, 0, 0)


def test_a_streams_whole_lines_can_be_taken_once_where_they_are_kept():
    tap, forgetful = UsageTap(stream=True, keep=True), UsageTap(stream=True)

    for each in (tap, forgetful):
        each.feed(b"data: {}\n\nda")

    assert tap.take() == b"data: {}\n\n"
    assert tap.take() == b""
    tap.feed(b"ta: [DONE]\n")
    assert tap.take() == b"data: [DONE]\n"
    assert (forgetful.keeps, forgetful.take()) == (False, b"")


def test_the_pieces_of_a_stream_are_counted_however_its_bytes_are_cut():
    named = b'event: response.output_text.delta\ndata: {"delta":"data: x"}\n\n'
    framed = b'event: response.created\ndata: {"type":"response.created"}\n\n'
    for text, pieces in ((b'data: {"choices":["data: y"]}\n\n' * 3, 3), (framed + named * 2, 2)):
        for cut in range(1, len(text)):
            tap = UsageTap(stream=True)
            for start in range(0, len(text), cut):
                tap.feed(text[start : start + cut])

            assert tap.events == pieces
