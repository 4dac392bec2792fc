"""The counter with real tokenizers: exact, with a margin, or by bytes, and never too low twice."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.snapshot import Pool
from gateway_hooks.gateway.body.bound import prompt_bound
from gateway_hooks.tokens.counter import CAREFUL_SECONDS, INLINE_BYTES, MAX_EXTRA, TokenCounter
from gateway_hooks.tokens.store import TokenizerStore
from tests.gateway_hooks.tokens import conversations, folders

POOL = folders.pool(folders.demo())
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200).filter(lambda text: "<|" not in text)


def counter(*pools: Pool, clock: Callable[[], float] = time.monotonic) -> TokenCounter:
    store = TokenizerStore(None)
    store.refresh(pools)
    return TokenCounter(store, clock=clock)


COUNTER = counter(POOL)


def count(
    fields: dict[str, Any],
    endpoint: str = "chat.completions",
    *,
    by: TokenCounter = COUNTER,
    pool: Pool = POOL,
) -> int:
    return asyncio.run(by.count(pool, endpoint, fields))


def user(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@given(text=TEXTS)
def test_the_demo_model_has_one_token_per_byte_and_three_around_a_message(text: str):
    assert count(user(text)) == len(text.encode()) + 3


@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_no_count_exceeds_what_the_bytes_allow(texts: list[str]):
    fields = {"messages": [{"role": "user", "content": text} for text in texts]}

    assert count(fields) <= prompt_bound(fields)


@pytest.mark.parametrize(
    ("endpoint", "fields", "tokens"),
    [
        ("completions", {"prompt": "hello"}, 5),
        ("completions", {"prompt": [1, 2, 3]}, 3),
        ("embeddings", {"input": "hello"}, 5),
        ("embeddings", {"input": [7]}, 1),
    ],
)
def test_a_plain_text_counts_as_itself_and_ids_as_they_are(
    endpoint: str, fields: dict[str, Any], tokens: int
):
    assert count(fields, endpoint) == tokens


@pytest.mark.parametrize("choices", [1, 8])
def test_the_prompt_counts_once_for_any_number_of_answers(choices: int):
    assert count({**user("hello"), "n": choices}) == count(user("hello"))


def test_what_is_translated_or_has_tools_gets_a_margin():
    plain = count(user("hello"))

    assert count({"input": "hello"}, "responses") == plain + 16 + 4
    assert count(user("hello"), "messages") == plain + 16 + 4
    assert count({**user("hello"), "tools": [conversations.TOOL]}) == plain + 16


def test_a_template_that_tells_the_time_gets_a_margin(tmp_path: Path):
    folder = folders.talkative(tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ strftime_now('%Y') }}")
    pool = folders.pool(folder)

    assert count(user("hello"), by=counter(pool), pool=pool) == 4 + 8


def test_a_long_prompt_is_counted_in_full_beside_the_event_loop():
    text = "word " * INLINE_BYTES

    assert count(user(text)) == len(text) + 3


def test_only_a_prompt_that_is_longer_counts_more_than_the_context():
    short = folders.pool(folders.demo(), max_model_len=40)
    by = counter(short)

    inexact = count({"input": "x" * 30}, "responses", by=by, pool=short)
    fits = count(user("x" * 37), by=by, pool=short)
    longer = count(user("x" * 38), by=by, pool=short)

    assert (inexact, fits, longer) == (40, 40, 41)


def test_a_text_that_cannot_fit_is_not_even_tokenized():
    short = folders.pool(folders.demo(), max_model_len=40)
    text = "x" * 1_000_000

    assert 40 < count({"prompt": text}, "completions", by=counter(short), pool=short) < len(text)


def test_without_a_tokenizer_the_bytes_count_and_never_exceed_the_context():
    unknown = folders.pool("somebody/model", max_model_len=200)
    by = counter(unknown)

    assert count(user("hello"), by=by, pool=unknown) == prompt_bound(user("hello"))
    assert count(user("x" * 500), by=by, pool=unknown) == 200


@pytest.mark.parametrize("text", ["\ud800", "x\udfff"])
def test_what_has_no_utf_8_counts_by_its_bytes(text: str):
    assert count(user(text)) == prompt_bound(user(text))


def test_what_the_template_refuses_counts_by_its_bytes(tmp_path: Path):
    picky = folders.talkative(tmp_path / "model")
    (picky / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    pool = folders.pool(picky)

    assert count(user("hello"), by=counter(pool), pool=pool) == prompt_bound(user("hello"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def short(by: TokenCounter, counted: int, by_tokens: int, *, counted_at: float) -> None:
    by.observed(
        POOL.id, "chat.completions", counted=counted, reported=counted + by_tokens, counted_at=counted_at
    )


def test_an_engine_that_reports_more_is_believed_from_then_on(caplog: pytest.LogCaptureFixture):
    clock = Clock()
    by = counter(POOL, clock=clock)
    counted = count(user("hello"), by=by)

    clock.now = 1.0
    short(by, counted, 7, counted_at=0.5)
    clock.now = 2.0
    short(by, counted, 1, counted_at=1.5)

    assert count(user("hello"), by=by) == prompt_bound(user("hello")) + 8
    assert by.undercounts == {POOL.id: 2}
    assert len(caplog.records) == 1
    assert "hello" not in caplog.text


def test_what_was_in_flight_together_is_learnt_from_once():
    clock = Clock()
    by = counter(POOL, clock=clock)
    counted = count(user("hello"), by=by)

    for now in range(1, 81):
        clock.now = float(now)
        short(by, counted, 100, counted_at=0.5)

    assert count(user("hello"), by=by) == prompt_bound(user("hello")) + 100


def test_the_correction_is_bounded_concerns_one_endpoint_and_ends():
    clock = Clock()
    by = counter(POOL, clock=clock)
    counted = count(user("hello"), by=by)
    for now in range(1, 50):
        clock.now = float(now)
        short(by, counted, 1000, counted_at=now - 0.5)

    careful = count(user("hello"), by=by)
    clock.now += CAREFUL_SECONDS + 1

    assert careful <= prompt_bound(user("hello")) + MAX_EXTRA
    assert count(user("hello"), by=by) == counted


def test_an_engine_that_reports_less_or_the_same_changes_nothing():
    by = counter(POOL)
    counted = count(user("hello"), by=by)

    short(by, counted, 0, counted_at=0.0)
    short(by, counted, 1 - counted, counted_at=0.0)

    assert count(user("hello"), by=by) == counted
    assert not by.undercounts


@pytest.mark.parametrize("fields", [*conversations.CHAT.values(), *conversations.WITH_TOOLS.values()])
def test_counting_changes_nothing_in_the_body(fields: dict[str, Any], tmp_path: Path):
    before = repr(fields)
    pool = folders.pool(folders.talkative(tmp_path / "model"))

    count(fields, by=counter(pool), pool=pool)

    assert repr(fields) == before
